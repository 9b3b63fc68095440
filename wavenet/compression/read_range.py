"""Decode a part of a compressed file without the samples before it.

Input: a seekable compressed file, and a range of samples. Output: these samples. Blocks before the
range are skipped by their lengths, so their checksums are not compared, and neither is the MD5 of
the whole file; the checksums of the blocks that are decoded are. Called by programs that play or
show a part of a long recording.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_utils.decoding import open_regular_file
from wavenet.compression.block_windows import (
    WINDOW_STREAMS,
    BlockToDecode,
    FindCoder,
    decode_blocks,
)
from wavenet.compression.compressed_file import (
    CompressedReader,
    FileEnd,
    StoredBlock,
    skip_to_block,
)
from wavenet.errors import CompressedFileError, ConfigError


def read_range(path: Path, start: int, stop: int, find_coder: FindCoder) -> NDArray[np.int32]:
    """Return the samples of a range, fewer if the file ends before it does.

    Args:
        path: of a compressed file.
        start, stop: first sample, and the one after the last.
        find_coder: returns a coder by the SHA-256 of its weights, or raises CompressedFileError.
    Returns:
        (channels, samples) int32.
    Raises:
        AudioError, CompressedFileError: the file cannot be read, or a block of the range is
            damaged.
        ConfigError: the range is not valid.
    """
    if not 0 <= start <= stop:
        raise ConfigError(f"a range must have 0 <= start <= stop, found {start} to {stop}")
    with open_regular_file(path, "a compressed file (.wnc)") as handle:
        reader = CompressedReader(handle, str(path))
        step = reader.header.block_samples
        first = start // step
        parts = [np.zeros((reader.header.channels, 0), np.int32)]
        if start < stop:
            skip_to_block(handle, reader, first)
            parts += _decode_until(reader, stop, find_coder)
    samples = np.concatenate(parts, axis=1)
    return samples[:, start - first * step : stop - first * step]


def _decode_until(
    reader: CompressedReader, stop: int, find_coder: FindCoder
) -> list[NDArray[np.int32]]:
    """Decode blocks until a sample, in windows."""
    header, parts = reader.header, []
    window: list[BlockToDecode] = []
    is_open = True
    while is_open:
        record = reader.read()
        if isinstance(record, StoredBlock):
            coded = BlockToDecode(record.index, record.form, record, header.coder, reader.name)
            window.append(coded)
            is_open = record.index * header.block_samples + record.form.samples < stop
        if isinstance(record, FileEnd):
            is_open = False
            if reader.next_part() is not None:
                raise CompressedFileError(
                    f"{reader.name} consists of joined files; a range is read only of single ones"
                )
        if not is_open or len(window) * header.channels >= WINDOW_STREAMS:
            for result in decode_blocks(find_coder, window):
                if isinstance(result, CompressedFileError):
                    raise result
                parts.append(result)
            window.clear()
    return parts
