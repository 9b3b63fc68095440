"""The public functions of compression: compress a recording, and restore it.

Input: arguments of any type. Output: a file, or an error of one sentence. Called by `studio_api`.
The docstrings of the inner functions are the documentation of the public API.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from wavenet.compression.file_task import FailedFile
from wavenet.errors import CompressedFileError
from wavenet.ui.compress.compressed_uploads import Note, compress_uploads, restore_uploads
from wavenet.ui.page_text import convert_user_errors
from wavenet.ui.server.uploads import upload_path
from wavenet.ui.turns import Turns

Function = Callable[..., dict[str, Any]]
KeepFile = Callable[[Path], dict[str, Any]]  # path -> its answer
Process = Callable[[Sequence[str], Path, Note], Sequence[Any]]


def make_compress(turns: Turns, keep_file: KeepFile) -> Function:
    """Return the function `compress`."""

    def compress(recording: gr.FileData) -> dict[str, Any]:
        """Compress a recording without loss, verify it, and return it as a .wnc file.

        Args:
            recording: a WAV or AIFF file with integer samples of 8, 16 or 24 bits, which is
                restored byte for byte, or a FLAC file, of which the samples are restored.
        Returns:
            The compressed file.
        """
        with convert_user_errors():
            return _process(compress_uploads, recording, turns, keep_file)

    return compress


def make_decompress(turns: Turns, keep_file: KeepFile) -> Function:
    """Return the function `decompress`."""

    def decompress(compressed: gr.FileData) -> dict[str, Any]:
        """Restore a recording from a .wnc file; a damaged file is refused.

        Args:
            compressed: a file that compress has returned, or that wavenet compress wrote.
        Returns:
            The original WAV or AIFF file; a WAV file if only the samples are stored.
        """
        with convert_user_errors():
            return _process(restore_uploads, compressed, turns, keep_file)

    return decompress


def _process(process: Process, upload: Any, turns: Turns, keep_file: KeepFile) -> dict[str, Any]:
    path = upload_path(upload)
    with tempfile.TemporaryDirectory() as folder:
        with turns.turn():
            (result,) = process([path], Path(folder), lambda share: None)
        if isinstance(result, FailedFile):
            raise CompressedFileError(result.error)
        return keep_file(Path(folder) / result.target)
