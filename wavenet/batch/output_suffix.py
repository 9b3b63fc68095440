"""The suffix of an output file: that of the format in which the clips are written.

Input: a name of a manifest or of a template. Output: the name with this suffix, or an error of one
sentence. Called by `tasks`, and by the command for its template.
"""

from pathlib import PurePosixPath

from audio_utils.audio_formats import AUDIO_SUFFIXES, FFMPEG_SUFFIXES
from audio_utils.io import WRITTEN_SUFFIXES
from wavenet.errors import ConditionError

_SUFFIXES = {*AUDIO_SUFFIXES, *FFMPEG_SUFFIXES}


def find_other_suffix(name: str, file_format: str) -> str | None:
    """Return the suffix of a name if it is that of another audio format, or None."""
    suffix = PurePosixPath(name).suffix.lower()
    return suffix if suffix in _SUFFIXES and suffix != f".{file_format}" else None


def check_suffix(name: str, file_format: str, what: str) -> None:
    """Check that a name does not end in the suffix of another audio format.

    Args:
        what: the name, for the message.
    Raises:
        ConditionError: it does.
    """
    suffix = find_other_suffix(name, file_format)
    if suffix is not None:
        use = f"use --format {suffix[1:]} or" if suffix in WRITTEN_SUFFIXES else "use"
        raise ConditionError(
            f"{what} {name[:200]!r} ends in {suffix}, but --format is {file_format}; {use} another "
            "name"
        )


def add_suffix(name: str, file_format: str) -> str:
    """Return a name that ends in the suffix of a format; a suffix in capitals is kept."""
    suffix = f".{file_format}"
    return name if name.lower().endswith(suffix) else name + suffix


def replace_suffix(name: str, file_format: str) -> str:
    """Return a name with the suffix of a format in place of that of another audio format."""
    other = find_other_suffix(name, file_format)
    return add_suffix(name if other is None else name[: -len(other)], file_format)
