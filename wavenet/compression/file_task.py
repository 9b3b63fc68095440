"""A file to compress or to decompress, and the result if that fails.

Called by `compress_files`, `decode_files` and their callers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from audio_utils.atomic_files import os_error_reason


@dataclass(frozen=True)
class FileTask:
    """One file to compress or to decompress.

    Attributes:
        source: a file, or a stream at its start.
        target: the file to create, or an open stream; None: the source is only checked.
        source_name, target_name: for messages and results.
    """

    source: Path | BinaryIO
    target: Path | BinaryIO | None
    source_name: str
    target_name: str


@dataclass(frozen=True)
class FailedFile:
    """A file that could not be processed.

    Attributes:
        source: its name.
        error: one sentence.
    """

    source: str
    error: str


def describe_error(error: BaseException, name: str) -> str:
    """Return one sentence for an error; those of the system name no file."""
    if isinstance(error, OSError):
        return f"{name} cannot be read: {os_error_reason(error)}"
    return str(error)
