"""`wavenet import`: a model of another program -> a checkpoint folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import OverwriteOption, make_folder, say
from wavenet.errors import ConditionError, ConfigError

if TYPE_CHECKING:
    from wavenet.importing.imported_model import Imported

LAYOUTS = ("r9y9", "vincentherrmann")


def import_(
    layout: Annotated[str, typer.Argument(help="Whose files these are: r9y9 or vincentherrmann.")],
    file: Annotated[Path, typer.Argument(help="The checkpoint, a PyTorch file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the checkpoint to be made.")],
    trusted: Annotated[
        bool, typer.Option("--trusted", help="You trust the origin of the file, a pickle.")
    ] = False,
    hparams: Annotated[
        Path | None, typer.Option(help="r9y9: the model's hparams.json or preset.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="vincentherrmann: in Hz; the file does not tell.")
    ] = None,
    layers_per_cycle: Annotated[
        int | None, typer.Option(help="vincentherrmann, for a state_dict: 10 if left out.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(help="r9y9: mel frames (.npy) to stretch to one a sample.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Turn somebody else's weights into a checkpoint and print its folder.

    With --frames, what their upsampling network makes of them is written beside the weights, for
    `wavenet generate --frames mel=FILE.npy`.
    """
    check_out(out, overwrite)
    imported = read(layout, file, out.name, trusted, hparams, sample_rate, layers_per_cycle)
    from audio_utils.files import atomic_file
    from wavenet.importing.imported_model import save, stretch
    from wavenet.model.features import read_array

    stretched = None if frames is None else stretch(imported, read_array(frames))
    make_folder(out)
    save(imported, out, file)
    typer.echo(str(out))
    if stretched is None or frames is None:
        return
    import numpy as np

    path = out / f"{frames.stem}.upsampled.npy"
    try:
        with atomic_file(path) as temporary:
            np.save(temporary, stretched.numpy())
    except OSError as error:
        raise ConditionError(f"{path} cannot be written: {error.strerror}") from None
    typer.echo(str(path))
    seconds = stretched.shape[0] / imported.config.audio.sample_rate
    say(f"{seconds:.2f} s of frames; wavenet generate --checkpoint {out} --frames mel={path}")


def check_out(out: Path, overwrite: bool) -> None:
    """See that the folder is new or empty, or may be written over.

    Raises:
        ConditionError: it is not.
    """
    try:
        taken = out.exists() and (not out.is_dir() or any(out.iterdir()))
    except OSError as error:
        raise ConditionError(f"{out} cannot be read: {error.strerror}") from None
    if taken and not (overwrite and out.is_dir()):
        raise ConditionError(f"{out} exists already; choose another --out or add --overwrite")


def read(
    layout: str,
    file: Path,
    name: str,
    trusted: bool,
    hparams: Path | None,
    sample_rate: int | None,
    layers_per_cycle: int | None,
) -> "Imported":
    """Read a file of a layout, with the settings that this layout needs.

    Raises:
        ConfigError: no such layout, or a setting is missing or of another layout.
        CheckpointError: the file cannot be used.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"the layout {layout!r} is not known; choose {' or '.join(LAYOUTS)}")
    if layout == "r9y9":
        if hparams is None:
            raise ConfigError(
                "an r9y9 file does not tell its settings; give --hparams hparams.json"
            )
        if sample_rate is not None or layers_per_cycle is not None:
            raise ConfigError(
                "--sample-rate and --layers-per-cycle are for vincentherrmann; hparams tell both"
            )
        from wavenet.importing import r9y9

        return r9y9.read(file, hparams, name, trusted)
    if hparams is not None:
        raise ConfigError("--hparams is for r9y9; a vincentherrmann file has none")
    if sample_rate is None:
        raise ConfigError("a vincentherrmann file does not tell its rate; give --sample-rate in Hz")
    from wavenet.importing import vincentherrmann

    return vincentherrmann.read(file, name, trusted, sample_rate, layers_per_cycle)
