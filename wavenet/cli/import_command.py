"""`wavenet import`: a model of another program -> a checkpoint folder.

Input: options of the command line. Output: a checkpoint folder, and its path on stdout. Called by
`main`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import OverwriteOption, create_folder, folder_name, print_message
from wavenet.cli.output_paths import check_new_folder, check_outputs
from wavenet.errors import ConfigError, FolderError
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from wavenet.importing.imported_model import ImportedModel

PROGRAMS = ("r9y9", "vincentherrmann")


def import_(
    program: Annotated[
        str, typer.Argument(help="Program that wrote the file: r9y9 or vincentherrmann.")
    ],
    file: Annotated[Path, typer.Argument(help="Checkpoint of that program, a PyTorch file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Checkpoint folder to create.")],
    trusted: Annotated[
        bool,
        typer.Option(
            "--trusted", help="Confirm that the file, a pickle, comes from a trusted source."
        ),
    ] = False,
    hparams: Annotated[
        Path | None, typer.Option(help="r9y9: hparams.json or preset of the model.")
    ] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="vincentherrmann: sample rate in Hz; the file has none.")
    ] = None,
    layers_per_cycle: Annotated[
        int | None,
        typer.Option(help="vincentherrmann, for a state_dict: layers per cycle; by default 10."),
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(help="r9y9: mel frames (.npy) to upsample to the sample rate.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Convert the weights of another program to a checkpoint and print its folder.

    With --frames, the output of the original upsampling network is written beside the weights, for
    `wavenet generate --frames mel=FILE.npy`.
    """
    check_new_folder(out, overwrite)
    path = None if frames is None else out / f"{frames.stem}.upsampled.npy"
    check_outputs([out / "config.json", *([path] if path else [])], overwrite)
    imported = import_file(
        program, file, folder_name(out), trusted, hparams, sample_rate, layers_per_cycle
    )
    from audio_utils.atomic_files import atomic_file, os_error_reason
    from wavenet.importing.imported_model import save_checkpoint, upsample_frames
    from wavenet.model.frame_features import read_array

    upsampled = None if frames is None else upsample_frames(imported, read_array(frames))
    create_folder(out)
    save_checkpoint(imported, out, file, overwrite)
    print_line(out)
    if upsampled is None or path is None:
        return
    import numpy as np

    try:
        with atomic_file(path, overwrite) as temporary:
            np.save(temporary, upsampled.numpy())
    except OSError as error:
        raise FolderError(f"cannot write {path}: {os_error_reason(error)}") from None
    print_line(path)
    seconds = upsampled.shape[0] / imported.config.audio.sample_rate
    print_message(
        f"{seconds:.2f} s of frames; wavenet generate --checkpoint {out} --frames mel={path}"
    )


def import_file(
    program: str,
    file: Path,
    name: str,
    trusted: bool,
    hparams: Path | None,
    sample_rate: int | None,
    layers_per_cycle: int | None,
) -> "ImportedModel":
    """Import a file with the settings that the files of its program require.

    Args:
        program: one of `PROGRAMS`.
        file: the checkpoint of the other program.
        name: name of the new checkpoint.
        trusted: whether the user trusts the origin of the file.
        hparams: settings file, for r9y9 only.
        sample_rate: Hz, for vincentherrmann only.
        layers_per_cycle: for vincentherrmann only.
    Raises:
        ConfigError: the program is unknown, or a setting is missing or is for the other one.
        CheckpointError: the file cannot be imported.
    """
    if program not in PROGRAMS:
        raise ConfigError(f"unknown program {program!r}; expected {' or '.join(PROGRAMS)}")
    if program == "r9y9":
        if hparams is None:
            raise ConfigError("an r9y9 file has no settings; add --hparams hparams.json")
        if sample_rate is not None or layers_per_cycle is not None:
            raise ConfigError(
                "--sample-rate and --layers-per-cycle are for vincentherrmann only; the hparams of "
                "an r9y9 model contain both"
            )
        from wavenet.importing import r9y9

        return r9y9.import_model(file, hparams, name, trusted)
    if hparams is not None:
        raise ConfigError("--hparams is for r9y9 only; a vincentherrmann file has no hparams")
    if sample_rate is None:
        raise ConfigError("a vincentherrmann file has no sample rate; add --sample-rate in Hz")
    from wavenet.importing import vincentherrmann

    return vincentherrmann.import_model(file, name, trusted, sample_rate, layers_per_cycle)
