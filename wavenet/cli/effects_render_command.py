"""`wavenet effects render`: a recording through an amplifier or effect.

Input: an audio file and a model. Output: the path of the new file on stdout, or JSON. Called by
`effects_command`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.effects_options import (
    ChainOptions,
    ModelOption,
    WetFileOptions,
    load_model,
)
from wavenet.cli.option_groups import expand_option_groups
from wavenet.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_written_name, plan_output_paths, write_to_free_name
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.effects.nam_model import NamModel
    from wavenet.effects.rendering.chain_settings import ChainSettings
    from wavenet.effects.rendering.render_file import FileSettings, RenderedFile


@expand_option_groups
def render(
    source: Annotated[Path, typer.Argument(metavar="DI", help="A dry recording.")],
    model: ModelOption,
    chain: ChainOptions,
    files: WetFileOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write, or a folder; default: this folder."),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Play a dry recording through a model of an amplifier or effect, into a new file.

    The file has the length, the rate and the alignment of the recording: latencies are removed. A
    recording at another rate is resampled to that of the model and back. Every channel is filtered
    separately.
    """
    path = plan_output_paths(out, [f"{source.stem}_{model.stem}"], overwrite)[0]
    file_settings = files.settings(path.suffix, overwrite)
    _, loaded = load_model(model, chain)
    settings = chain.settings(files.rate_policy.value)
    found: list[RenderedFile] = []

    def write(target: Path) -> None:
        found[:] = [_render(source, target, loaded, settings, files.ir, file_settings, quiet)]

    create_folder(path.parent)
    written = write_to_free_name(path, write)
    check_written_name(out, path, written)
    for sentence in found[0].sentences():
        print_message(f"{source}: {sentence}")
    if json_:
        print_json(describe_rendering(written, found[0]))
    else:
        print_line(written)


def _render(
    source: Path,
    target: Path,
    model: "NamModel",
    settings: "ChainSettings",
    ir: Path | None,
    files: "FileSettings",
    quiet: bool,
) -> "RenderedFile":
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.effects.rendering.render_file import measure_seconds, render_file

    with ProgressBar("seconds", round(measure_seconds(source)), quiet) as bar:
        rendered = render_file(source, target, model, settings, ir, files, bar)
    assert rendered is not None  # nothing stops it but Ctrl-C
    return rendered


def describe_rendering(path: Path, rendered: "RenderedFile") -> dict[str, Any]:
    """Return the JSON document of a rendered file."""
    return {
        "file": str(path),
        **vars(rendered),
        "times_real_time": rendered.seconds / max(rendered.elapsed, 1e-9),
        "warnings": rendered.sentences(),
    }
