"""Outputs that appear complete or not at all: files, and streams that cannot be undone.

Input: a path, or a stream such as stdout. Output: a `PendingOutput` with a stream to write to.
Called by `compress_files` and `decode_files`.
"""

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.errors import CompressedFileError


class PendingOutput:
    """An output that is written, perhaps read again, and then committed or aborted.

    Attributes:
        stream: to write to; seekable unless it is the target itself.
        path: of the temporary file; None if the target is a stream.

    Args:
        target: a file to create, or an open stream.
        name: of the target, for messages.
        overwrite: whether an existing file may be replaced.
        waits: whether a stream receives the data only when they are committed; until then they
            are in a temporary file.
    Raises:
        CompressedFileError: the file exists or cannot be created.
    """

    def __init__(self, target: Path | BinaryIO, name: str, overwrite: bool, waits: bool):
        self.path: Path | None = None
        self._name, self._target = name, target
        self._stack = contextlib.ExitStack()
        try:
            if isinstance(target, Path):
                self.path = self._stack.enter_context(atomic_file(target, overwrite))
                self.stream: BinaryIO = self._stack.enter_context(self.path.open("w+b"))
            elif waits:
                copy = tempfile.TemporaryFile()  # noqa: SIM115
                self.stream = self._stack.enter_context(copy)
            else:
                self.stream = target
        except OSError as error:
            self.abort(error)
            raise self.error(error) from error

    def error(self, error: OSError) -> CompressedFileError:
        """Return the error for a failed operation on the file."""
        return CompressedFileError(f"cannot write {self._name}: {os_error_reason(error)}")

    def commit(self) -> None:
        """Make the output appear.

        Raises:
            CompressedFileError: it cannot be written, or such a file was created meanwhile.
        """
        try:
            self.stream.flush()
            if not isinstance(self._target, Path) and self.stream is not self._target:
                self.stream.seek(0)
                shutil.copyfileobj(self.stream, self._target, 1 << 20)
                self._target.flush()
            self._stack.close()
        except OSError as error:
            self.abort(error)
            raise self.error(error) from error

    def abort(self, error: BaseException) -> None:
        """Remove what was written to a file."""
        with contextlib.suppress(OSError):
            self._stack.__exit__(type(error), error, error.__traceback__)
