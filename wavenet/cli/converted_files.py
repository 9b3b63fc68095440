"""Convert the recordings of a folder to files of another kind, one per recording with its labels.

Input: a folder, and a function that writes the converted file of a waveform. Output: a folder with
the same names, and their labels in `TABLE`, if the recordings have a table. Called by `wavenet
autoencoder` and `wavenet images`.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from wavenet.cli.options import create_folder, print_left_out
from wavenet.cli.output_paths import check_new_folder
from wavenet.errors import ConfigError, FolderError

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.recordings.audio_metadata import AudioListing

TABLE = "metadata.jsonl"


def convert_recordings(
    folder: Path,
    out: Path,
    read: "Callable[[Path], Tensor]",
    write: "Callable[[Path, Tensor], None]",
    overwrite: bool,
    quiet: bool,
) -> tuple[int, int]:
    """Write the converted file of every recording, and the table of their labels.

    A recording that cannot be read is reported.

    Args:
        folder: of the recordings; if it has a table, the recordings in it.
        out: a new folder, or one whose files may be replaced.
        read: returns the waveform (T,) of a recording; raises AudioError.
        write: writes the converted file of a waveform to a path NAME.wav.
        overwrite: whether existing files may be replaced.
        quiet: without a progress bar.
    Returns:
        The number of written files, and of recordings.
    Raises:
        ConfigError: two recordings would be written under one name, or `out` cannot be used or
            is in the folder of the recordings.
        DataError: the folder has no recordings, or its table is damaged.
        FolderError: the table cannot be written.
    """
    from audio_utils.errors import AudioError
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.recordings.audio_metadata import list_audio_files

    listing = list_audio_files(folder)
    names = _name_files(listing, folder)
    _check_outside(out, folder)
    check_new_folder(out, overwrite)
    print_left_out(listing.left_out, len(names))
    rows: dict[str, Mapping[str, str]] = {}
    with ProgressBar("recordings", len(names), quiet) as progress_bar:
        for file, name in zip(listing.files, names, strict=True):
            try:
                waveform = read(file.path)
            except AudioError as error:
                progress_bar.message(str(error))
            else:
                create_folder((out / name).parent)
                write(out / name, waveform)
                rows[name] = file.fields
            progress_bar.advance(1)
    if listing.table is not None and rows:
        _write_table(out / TABLE, rows, overwrite)
    return len(rows), len(names)


def check_distinct(names: list[str]) -> None:
    """Raise ConfigError if two files would be written under one name."""
    name, count = Counter(str(PurePosixPath(name)) for name in names).most_common(1)[0]
    if count > 1:
        raise ConfigError(
            f"{count} files would be written as {name}; rename them, or convert them separately"
        )


def _check_outside(out: Path, folder: Path) -> None:
    """Raise ConfigError if converted files would replace the recordings, or be taken for them."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(
            f"--out {out} is in {folder}, the folder of the recordings; choose another folder"
        )


def _name_files(listing: "AudioListing", folder: Path) -> list[str]:
    """Return the name NAME.wav of the converted file of every recording."""
    from wavenet.recordings.audio_metadata import relative_name

    paths = [PurePosixPath(relative_name(file.path, folder)) for file in listing.files]
    names = [str(path.with_suffix(".wav")) for path in paths]
    check_distinct(names)
    return names


def _write_table(path: Path, rows: Mapping[str, Mapping[str, str]], overwrite: bool) -> None:
    """Write the fields of files by their names, as JSON lines."""
    from audio_utils.atomic_files import atomic_file, os_error_reason

    lines = [json.dumps({"file_name": name, **fields}) for name, fields in rows.items()]
    try:
        with atomic_file(path, overwrite) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise FolderError(f"cannot write {path}: {os_error_reason(error)}") from None
