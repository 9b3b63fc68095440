"""Compress recordings without loss, and restore them.

Input: paths or bytes of audio files and of compressed files. Output: files or bytes. Called through
`wavenet.compress`, `wavenet.decompress` and `wavenet.verify`.
"""

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, overload

from wavenet.compression.compress_files import (
    BLOCK_SECONDS,
    CompressedFile,
    CompressionSettings,
    compress_files,
)
from wavenet.compression.compressor_folder import DEFAULT, load_block_coder, load_compressor
from wavenet.compression.decode_files import (
    DecodedFile,
    OutputFormat,
    decompress_files,
    verify_files,
)
from wavenet.compression.file_task import FailedFile, FileTask
from wavenet.errors import CompressedFileError, ConfigError
from wavenet.interface.argument_checks import check_flags, check_path, check_seconds

FileOrBytes = str | os.PathLike[str] | bytes
_FORMATS: tuple[OutputFormat, ...] = ("original", "wav", "flac")
_MEMORY = "the bytes"  # name of a source or a target without a file


@overload
def compress(
    source: FileOrBytes,
    out: None = None,
    *,
    block_seconds: float = BLOCK_SECONDS,
    verify: bool = True,
    keep_metadata: bool = True,
    adaptive: bool = True,
    compressor: str | os.PathLike[str] = DEFAULT,
    overwrite: bool = False,
) -> bytes: ...
@overload
def compress(
    source: FileOrBytes,
    out: str | os.PathLike[str],
    *,
    block_seconds: float = BLOCK_SECONDS,
    verify: bool = True,
    keep_metadata: bool = True,
    adaptive: bool = True,
    compressor: str | os.PathLike[str] = DEFAULT,
    overwrite: bool = False,
) -> CompressedFile: ...
def compress(
    source: FileOrBytes,
    out: str | os.PathLike[str] | None = None,
    *,
    block_seconds: float = BLOCK_SECONDS,
    verify: bool = True,
    keep_metadata: bool = True,
    adaptive: bool = True,
    compressor: str | os.PathLike[str] = DEFAULT,
    overwrite: bool = False,
) -> bytes | CompressedFile:
    """Compress an audio file without loss.

    Args:
        source: path or bytes of a WAV or AIFF file with integer samples of 8, 16 or 24 bits, or of
            a FLAC file.
        out: the file to write, usually NAME.wnc; None: the compressed bytes are returned.
        block_seconds: length of a block, above 0, at most 10.
        verify: decode the result and compare it with the source.
        keep_metadata: keep the bytes around the samples, so that the same file is restored.
        adaptive: False: use the network alone, without adaptive predictors.
        compressor: name or folder of the compressor; it must be installed also where the file is
            decompressed.
        overwrite: replace an existing file.
    Returns:
        The compressed bytes, or the sizes of the new file.
    Raises:
        CompressedFileError: the source cannot be compressed, or the file cannot be written.
        CheckpointError: there is no such compressor.
        ConfigError: an argument is invalid.
    """
    check_flags(
        verify=verify, keep_metadata=keep_metadata, adaptive=adaptive, overwrite=overwrite
    )
    check_seconds("block_seconds", block_seconds)
    settings = CompressionSettings(
        block_seconds, verify, keep_metadata=keep_metadata, overwrite=overwrite
    )
    coder = load_compressor(check_path("compressor", compressor), adaptive)
    with _make_task(source, out) as task:
        (result,) = compress_files([task], coder, settings)
        if isinstance(result, FailedFile):
            raise CompressedFileError(result.error)
        return result if out is not None else _read_target(task)


@overload
def decompress(
    source: FileOrBytes,
    out: None = None,
    *,
    output_format: OutputFormat = "original",
    recover: bool = False,
    overwrite: bool = False,
) -> bytes: ...
@overload
def decompress(
    source: FileOrBytes,
    out: str | os.PathLike[str],
    *,
    output_format: OutputFormat = "original",
    recover: bool = False,
    overwrite: bool = False,
) -> DecodedFile: ...
def decompress(
    source: FileOrBytes,
    out: str | os.PathLike[str] | None = None,
    *,
    output_format: OutputFormat = "original",
    recover: bool = False,
    overwrite: bool = False,
) -> bytes | DecodedFile:
    """Restore a recording from a compressed file.

    Args:
        source: path or bytes of a compressed file.
        out: the file to write; None: the bytes of the restored file are returned.
        output_format: "original": the same file, or WAV if only its samples were stored; "wav";
            "flac", which needs `out`.
        recover: replace damaged blocks by silence; `damaged` of the result lists them.
        overwrite: replace an existing file.
    Returns:
        The restored bytes, or the properties of the new file.
    Raises:
        CompressedFileError: the source is damaged, or the file cannot be written.
        ConfigError: an argument is invalid.
    """
    check_flags(recover=recover, overwrite=overwrite)
    if output_format not in _FORMATS:
        raise ConfigError(
            f"output_format must be {', '.join(_FORMATS)}, found {output_format!r:.100}"
        )
    with _make_task(source, out) as task:
        results = decompress_files([task], load_block_coder, output_format, recover, overwrite)
        result = _check_result(results[0])
        return result if out is not None else _read_target(task)


def verify(source: FileOrBytes) -> DecodedFile:
    """Decode a compressed file and compare it with its checksums, without writing anything.

    Args:
        source: path or bytes of a compressed file.
    Returns:
        The properties of the recording.
    Raises:
        CompressedFileError: it is damaged.
    """
    with _make_task(source, None) as task:
        return _check_result(verify_files([task], load_block_coder)[0])


@contextlib.contextmanager
def _make_task(source: FileOrBytes, out: str | os.PathLike[str] | None) -> Iterator[FileTask]:
    """Yield the task of a source and a target; without a path, the target is in memory."""
    target = io.BytesIO() if out is None else Path(check_path("out", out))
    target_name = _MEMORY if out is None else str(target)
    if not isinstance(source, bytes):
        path = Path(check_path("source", source))
        yield FileTask(path, target, str(path), target_name)
        return
    # on a disk, because damaged files and FLAC are not read from memory
    with tempfile.TemporaryFile() as copy:
        copy.write(source)
        copy.seek(0)
        yield FileTask(copy, target, _MEMORY, target_name)


def _read_target(task: FileTask) -> bytes:
    target: Path | BinaryIO | None = task.target
    assert isinstance(target, io.BytesIO)
    return target.getvalue()


def _check_result(result: DecodedFile | FailedFile) -> DecodedFile:
    if isinstance(result, FailedFile):
        raise CompressedFileError(result.error)
    return result
