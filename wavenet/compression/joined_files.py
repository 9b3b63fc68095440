"""Compressed files that were joined: one after the other in one file, each with its own header.

Input: a compressed file on a disk. Output: a header for all of its parts, and their number. Called
by `decode_files`, which decodes the parts one after the other and compares their checksums.
"""

import zlib
from contextlib import suppress
from typing import Any, BinaryIO

from numpy.typing import NDArray

from wavenet.compression.compressed_file import CompressedReader, FileEnd, skip_to_block
from wavenet.compression.compressed_header import MAX_SAMPLES, CompressedHeader
from wavenet.compression.pcm_samples import PcmDigest
from wavenet.errors import CompressedFileError


def read_joined_header(stream: BinaryIO, name: str) -> tuple[CompressedHeader, int]:
    """Return a header for a file, and the number of its parts; only lengths are read.

    A single file has its own header. That of several has all samples, and no container. Parts
    behind damage are not counted. The position of the stream does not change.

    Args:
        stream: at the start of the file, seekable.
        name: of the file, for messages.
    Raises:
        CompressedFileError: this is no compressed file, or its header is damaged.
    """
    start = stream.tell()
    try:
        reader: CompressedReader | None = CompressedReader(stream, name)
        assert reader is not None
        header, parts, samples = reader.header, 0, 0
        # whoever decodes the file reports the damage
        with suppress(CompressedFileError):
            while reader is not None:
                parts += 1
                skip_to_block(stream, reader, MAX_SAMPLES)
                end = reader.read()
                samples += end.samples if isinstance(end, FileEnd) else 0
                reader = reader.next_part()
    finally:
        stream.seek(start)
    if parts > 1:
        changes = {"container": "none", "file_name": None, "samples": samples}
        header = header.model_copy(update=changes)
    return header, parts


def check_same_form(first: CompressedHeader, other: CompressedHeader, name: str) -> None:
    """Raise CompressedFileError if two parts cannot be one recording.

    Args:
        first, other: their headers.
        name: of the file that contains both.
    """
    forms = [(part.sample_rate, part.channels, part.bits) for part in (first, other)]
    if forms[0] != forms[1]:
        texts = (f"{rate:,} Hz, channels {n}, {bits} bits" for rate, n, bits in forms)
        raise CompressedFileError(
            f"{name} consists of joined files of different recordings ({' and '.join(texts)}); "
            "decompress them one by one before they are joined"
        )


class CheckedPart:
    """Compares the samples of a part, and the bytes around them, with its checksums.

    Attributes:
        end: the last record; None until it was read, or if it is missing.

    Args:
        header: of the part.
    """

    def __init__(self, header: CompressedHeader):
        self.end: FileEnd | None = None
        self._digest = PcmDigest(header.bits)
        self._container_crc: int | None = None
        self._blocks = 0

    @property
    def is_complete(self) -> bool:
        """Whether all blocks were received."""
        return self.end is not None and self._blocks == self.end.blocks

    def receive(self, samples: NDArray[Any]) -> None:
        """Receive a block, (channels, samples)."""
        self._digest.update(samples)
        self._blocks += 1

    def receive_container(self, data: bytes) -> None:
        """Receive bytes around the samples."""
        self._container_crc = zlib.crc32(data, self._container_crc or 0)

    def problems(self) -> tuple[str, str]:
        """Return what is wrong with the samples, and with the bytes around them; "" if nothing."""
        if self.end is None:
            return "", ""
        samples = self.end.pcm_md5 == self._digest.digest()
        container = self.end.container_crc == self._container_crc
        return (
            "" if samples else "its samples differ from those that were compressed",
            "" if container else "the bytes around its samples differ from those of the original",
        )
