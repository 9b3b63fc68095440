"""Check before long work that the files of a command can be written.

Input: the value of --out, and the names of the files that the command will write. Output: their
paths, or one sentence. The checks create nothing. Another process may still create such a file
later: the files are written with `replace` false, so that its file is kept, and an audio file is
then written under the next free name by `write_to_free_name`. So a process that is killed leaves
no file, and no work is lost. Called by all commands that write files for the user.
"""

import itertools
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from audio_utils.atomic_files import is_writable
from audio_utils.file_names import MAX_NAME_BYTES, find_long_part, shorten_name
from wavenet.disk_space import audio_bytes, check_free_space
from wavenet.errors import ConfigError, FolderError

# A name that this program chose, with a number; the numbers in names of the user are kept.
_NUMBERED = re.compile(r"(.*_(?:seed|beams)[0-9]+)_[0-9]+")
_NUMBER_BYTES = 8


def plan_output_paths(out: Path | None, names: list[str], overwrite: bool) -> list[Path]:
    """Return the audio files to write, after checking that they can be written.

    In a folder, a name that is in use gets a number, unless it may be replaced.

    Args:
        out: a file, a folder, or None for the current folder.
        names: file names without suffix, one per clip, used if `out` is a folder.
        overwrite: whether existing files may be replaced.
    Raises:
        ConfigError: the file `out` exists, is no audio file by its name, or is one file for several
            clips; or a file cannot be written.
    """
    if out is not None and out.suffix and not os.path.isdir(out):
        if len(names) > 1:
            raise ConfigError(
                f"--count {len(names)} needs a folder for --out; found the file {out}"
            )
        paths = [out]
        _check_suffix(out)
    else:
        paths = [(out or Path()) / f"{name}.wav" for name in names]
        if not overwrite:
            paths = [_number_if_taken(path) for path in paths]
    check_outputs(paths, overwrite)
    return paths


def _number_if_taken(path: Path) -> Path:
    """Return the path, or the first of name_2.wav, name_3.wav, .. that does not exist."""
    return _next_free_name(path) if os.path.lexists(path) else path


def _next_free_name(path: Path) -> Path:
    """Return the first of name_2.wav, name_3.wav, .. that does not exist.

    Args:
        path: name.wav, or the same with a number.
    """
    longest = MAX_NAME_BYTES - len(path.suffix) - _NUMBER_BYTES
    numbered = _NUMBERED.fullmatch(path.stem)
    stem = shorten_name(numbered[1] if numbered else path.stem, longest)
    names = (path.with_name(f"{stem}_{n}{path.suffix}") for n in itertools.count(2))
    return next(name for name in names if not os.path.lexists(name))


def write_to_free_name(path: Path, write: Callable[[Path], object]) -> Path:
    """Write an audio file under its planned name, or under the next number if that was taken.

    Args:
        path: the planned file.
        write: writes a new file to a path; raises AudioError.
    Returns:
        The file that was written.
    Raises:
        AudioError: the file cannot be written.
    """
    from audio_utils.errors import AudioError

    while True:
        try:
            write(path)
        except AudioError as error:
            if not isinstance(error.__cause__, FileExistsError):
                raise
            path = _next_free_name(path)
        else:
            return path


def check_written_name(out: Path | None, planned: Path, written: Path) -> None:
    """Check that a clip has the name that --out gives; in a folder it may have another number.

    Raises:
        FolderError: another process created a file of this name, so the clip has another one.
    """
    if planned == out and written != planned:
        raise FolderError(
            f"{planned} was created by another process in the meantime, so the clip is in {written}"
        )


def check_outputs(paths: Iterable[Path], overwrite: bool, option: str = "--out") -> None:
    """Check that files can be created, or replaced.

    Args:
        paths: the files to write.
        overwrite: whether existing files may be replaced.
        option: the option that chooses another path.
    Raises:
        ConfigError: a file cannot be created or replaced.
    """
    folders = set()
    for path in paths:
        long_part = find_long_part(path)
        if long_part is not None:
            raise ConfigError(
                f"the name {long_part[:40]}.. is longer than {MAX_NAME_BYTES} bytes, the limit of "
                f"file systems; choose a shorter one with {option}"
            )
        folders.add(path.parent)
        if os.path.isdir(path):
            raise ConfigError(f"{path} is a folder; choose another name with {option}")
        if os.path.lexists(path) and not overwrite:
            raise ConfigError(f"{path} exists already; choose another {option} or add --overwrite")
        if os.path.exists(path) and not os.path.isfile(path):
            raise ConfigError(f"{path} is a device or a pipe; choose another {option}")
    for folder in folders:
        if not is_writable(folder):
            raise ConfigError(
                f"the folder {folder} cannot be written; choose another with {option}"
            )


def check_output_folder(
    folder: Path | None, names: Iterable[str], overwrite: bool, option: str = "--out"
) -> None:
    """Check that files of these names can be written to a folder; do nothing if it is None.

    Raises:
        ConfigError: as `check_outputs`.
    """
    if folder is not None:
        check_outputs([folder / name for name in names], overwrite, option)


def check_new_folder(folder: Path, overwrite: bool, option: str = "--out") -> None:
    """Check that a folder is new or empty, or that its files may be overwritten.

    Raises:
        ConfigError: it has files that must not be overwritten, or it is not a folder.
    """
    try:
        is_taken = os.path.lexists(folder) and (not os.path.isdir(folder) or os.listdir(folder))
    except OSError as error:
        raise ConfigError(f"cannot read {folder}: {error.strerror}") from None
    if is_taken and not (overwrite and os.path.isdir(folder)):
        raise ConfigError(f"{folder} exists already; choose another {option} or add --overwrite")


def check_space(paths: Sequence[Path], samples: int) -> None:
    """Check that a disk has space for audio files, each with this number of samples.

    Raises:
        FolderError: it has too little space.
    """
    needed = sum(audio_bytes(path.suffix, samples) for path in paths)
    check_free_space(paths[0].parent, needed, "the clips")


def _check_suffix(path: Path) -> None:
    from audio_utils.errors import AudioError
    from audio_utils.io import check_format

    try:
        check_format(path, None)
    except AudioError as error:
        text = str(error).rstrip(".")
        raise ConfigError(f"{text}; to name a folder, create it first") from None
