"""`wavenet effects export`: a trained effect at one setting of its knobs -> a `.nam` file.

Input: the folder of an effect. Output: a file and its path on stdout. Called by `effects_command`.
"""

from pathlib import Path
from typing import Annotated

import typer

from wavenet.cli.options import OverwriteOption, SetOption, parse_assignments, print_message
from wavenet.cli.output_paths import check_outputs
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.terminal import print_line


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a trained effect, or its name.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .nam file.")],
    setting: SetOption = None,
    name: Annotated[str | None, typer.Option(help="Name of the capture.")] = None,
    modeled_by: Annotated[str | None, typer.Option(help="Who made the capture.")] = None,
    gear_make: Annotated[str | None, typer.Option(help="Maker of the device.")] = None,
    gear_model: Annotated[str | None, typer.Option(help="Model of the device.")] = None,
    gear_type: Annotated[
        str | None,
        typer.Option(help="amp, pedal, pedal_amp, amp_cab, amp_pedal_cab, preamp or studio."),
    ] = None,
    tone_type: Annotated[
        str | None, typer.Option(help="clean, overdrive, crunch, hi_gain or fuzz.")
    ] = None,
    input_level_dbu: Annotated[
        float | None, typer.Option(help="Level at the device for 0 dBFS of the dry recording, dBu.")
    ] = None,
    output_level_dbu: Annotated[
        float | None, typer.Option(help="The same for the wet recording.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a trained effect as a .nam file for Neural Amp Modeler and other players.

    A file has no knobs: --set gain=0.5 chooses their setting, the default is that of the effect.
    A capture belongs to who made it, and the name of a device to its maker.
    """
    from wavenet.checkpoint_folders import resolve_checkpoint
    from wavenet.effects.nam_file import SUFFIX, write_nam
    from wavenet.effects.training.nam_export import CaptureDescription, export_nam
    from wavenet.effects.training.trained_effect import load_effect_folder
    from wavenet.effects.training.training_results import load_results
    from wavenet.user_input.typed_numbers import parse_number

    if out.suffix.lower() != SUFFIX:
        raise ConfigError(f"--out: expected a name that ends with {SUFFIX}, found {out}")
    check_outputs([out], overwrite)
    description = make_config(
        CaptureDescription,
        "the options",
        name=name,
        modeled_by=modeled_by,
        gear_make=gear_make,
        gear_model=gear_model,
        gear_type=gear_type,
        tone_type=tone_type,
        input_level_dbu=input_level_dbu,
        output_level_dbu=output_level_dbu,
    )
    assigned = parse_assignments("--set", setting, "gain=0.5")
    values = {knob: parse_number(text, f"--set {knob}") for knob, text in assigned.items()}
    effect = load_effect_folder(folder)
    results = load_results(resolve_checkpoint(folder))
    model = export_nam(effect, values, description, results)
    write_nam(model, out, overwrite)
    chosen = ", ".join(f"{k}={v:g}" for k, v in effect.complete_setting(values).items())
    if chosen:
        print_message(f"setting: {chosen}")
    print_line(out)
