"""The format of compressed files (.wnc): records with checksums.

Input and output: streams, which may be pipes, and the records in them. Memory does not depend on
what a file declares: every length has a limit. Called by `compress_files`, `decode_files` and
`recover_blocks`. The format is described in docs/reference/compressed-format.md.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from wavenet.compression.blocks import BlockForm
from wavenet.compression.compressed_header import (
    MAX_SAMPLES,
    CompressedHeader,
    deflate,
    inflate,
    pack_header,
    unpack_header,
)
from wavenet.compression.pcm_container import MAGIC, standard_wav_header
from wavenet.compression.pcm_source import PART_BYTES
from wavenet.errors import CompressedFileError

SUFFIX = ".wnc"
HEADER, CONTAINER, BLOCK, END = b"H", b"C", b"B", b"E"
_MD5_BYTES = 16
_MAX_HEADER_RECORD = 4096
# of a record that this version does not know and may skip
_MAX_OPTIONAL_RECORD = 1 << 20
# Index, number of samples and mode of a block; what deflate adds to data that it cannot compress.
_RECORD_MARGIN = 1024
_HEAD_BYTES = 16  # kind, length and index of a block


@dataclass(frozen=True)
class ContainerPart:
    """Some bytes around the samples."""

    data: bytes


@dataclass(frozen=True)
class StoredBlock:
    """A block as it is stored.

    Attributes:
        index: of the block, from 0.
        form: of its samples.
        is_coded: whether a coder encoded it; otherwise the data are the samples.
        data: without checksums.
    """

    index: int
    form: BlockForm
    is_coded: bool
    data: bytes


@dataclass(frozen=True)
class FileEnd:
    """The last record.

    Attributes:
        samples: per channel, in all blocks.
        blocks: number of blocks.
        pcm_md5: of all samples, as `PcmDigest`.
        container_crc: CRC-32 of all stored bytes around the samples; None if there are none.
    """

    samples: int
    blocks: int
    pcm_md5: bytes
    container_crc: int | None


Record = ContainerPart | StoredBlock | FileEnd


class ReadableStream(Protocol):
    """What is needed of a file, a pipe or a memory map."""

    def read(self, size: int, /) -> bytes: ...


class CompressedWriter:
    """Writes a compressed file, record by record.

    Attributes:
        size: bytes written so far.
        blocks: number of blocks written so far.
        samples: per channel, in these blocks.

    Args:
        stream: receives the file.
        header: of the file.
    """

    def __init__(self, stream: BinaryIO, header: CompressedHeader):
        self.size, self.blocks, self.samples = 0, 0, 0
        self._stream, self._header = stream, header
        self._start_crc = zlib.crc32(MAGIC)
        self._container_crc: int | None = None
        self._write(MAGIC)
        self._start_crc = self._write_record(HEADER, pack_header(header))

    def write_container(self, part: bytes) -> None:
        """Append bytes around the samples: before the first block, or after the last one."""
        self._container_crc = zlib.crc32(part, self._container_crc or 0)
        self._write_record(CONTAINER, deflate(part, container_dictionary(self._header)))

    def write_block(self, samples: int, data: bytes, is_coded: bool) -> None:
        """Append a block.

        Args:
            samples: per channel.
            data: its payload, or its samples.
            is_coded: which of both.
        """
        head = encode_number(self.blocks) + encode_number(samples) + bytes([is_coded])
        self._write_record(BLOCK, head + data)
        self.blocks += 1
        self.samples += samples

    def finish(self, pcm_md5: bytes) -> None:
        """Append the last record; `pcm_md5` as in `FileEnd`."""
        counts = encode_number(self.samples) + encode_number(self.blocks)
        crc = self._container_crc
        self._write_record(END, counts + pcm_md5 + (b"" if crc is None else pack_crc(crc)))

    def _write_record(self, kind: bytes, payload: bytes) -> int:
        """Write a record and return its checksum."""
        record = kind + encode_number(len(payload)) + payload
        crc = zlib.crc32(record, self._start_crc)
        self._write(record + pack_crc(crc))
        return crc

    def _write(self, data: bytes) -> None:
        self._stream.write(data)
        self.size += len(data)


class CompressedReader:
    """Reads a compressed file, record by record.

    Attributes:
        header: of the file.
        header_crc: with which the checksums of the other records start.
        name: for messages.

    Args:
        stream: at the start of the file.
        name: for messages.
        magic: the first bytes, if they were read already.
    Raises:
        CompressedFileError: this is no compressed file, or its header is damaged.
    """

    def __init__(self, stream: ReadableStream, name: str, magic: bytes = b""):
        self.name = name
        self._stream = stream
        magic = magic or read_up_to(stream, len(MAGIC))
        if magic[:-1] != MAGIC[:-1]:
            raise CompressedFileError(
                f"{name} is no compressed file: expected one that `wavenet compress` wrote"
            )
        if magic != MAGIC:
            raise CompressedFileError(
                f"{name} has the format version {magic[-1]}, this program reads version "
                f"{MAGIC[-1]}; use a newer program"
            )
        kind, payload, self.header_crc = read_record(stream, name, zlib.crc32(MAGIC), None)
        if kind != HEADER:
            raise CompressedFileError(f"{name} is damaged: it does not begin with a header")
        self.header = unpack_header(payload, name)

    def records(self) -> Iterator[Record]:
        """Yield all records in their order, up to and including the last one.

        Raises:
            CompressedFileError: a record is damaged, missing, repeated or in a wrong place.
        """
        blocks = samples = 0
        is_last = has_after = False
        while True:
            record = self.read()
            if isinstance(record, StoredBlock):
                if record.index != blocks or is_last or has_after:
                    raise self._error(f"block {record.index} follows block {blocks - 1}")
                blocks += 1
                samples += record.form.samples
                is_last = record.form.samples < self.header.block_samples
            elif isinstance(record, ContainerPart):
                if self.header.container == "none":
                    raise self._error("it declares no container, but has one")
                has_after = blocks > 0 or self.header.container == "plain_wav"
            if isinstance(record, FileEnd):
                self._check_end(record, blocks, samples)
                yield record
                return
            if record is not None:
                yield record

    def read(self) -> Record | None:
        """Read the next record; None for one that may be skipped.

        Raises:
            CompressedFileError: it is damaged.
        """
        kind, payload, _ = read_record(self._stream, self.name, self.header_crc, self.header)
        record = parse_record(kind, payload, self.header)
        if record is None and not kind.islower():
            raise self._error(f"a record of kind {kind!r} is not valid")
        return record

    def next_part(self) -> "CompressedReader | None":
        """Return the reader of the file that was joined to this one; None at the end.

        Raises:
            CompressedFileError: other bytes follow.
        """
        magic = read_up_to(self._stream, len(MAGIC))
        if magic and magic[:-1] != MAGIC[:-1]:
            raise self._error("it has further bytes after its end")
        return CompressedReader(self._stream, self.name, magic) if magic else None

    def _check_end(self, end: FileEnd, blocks: int, samples: int) -> None:
        """Compare the counts of the last record with what was read."""
        if (end.blocks, end.samples) != (blocks, samples):
            raise self._error(
                f"{end.blocks:,} blocks of {end.samples:,} samples are declared, {blocks:,} of "
                f"{samples:,} found"
            )
        if self.header.samples not in (None, samples):
            raise self._error(f"{self.header.samples:,} samples are declared, {samples:,} found")

    def _error(self, what: str) -> CompressedFileError:
        return CompressedFileError(f"{self.name} is damaged: {what}")


def container_dictionary(header: CompressedHeader) -> bytes:
    """Return the preset dictionary of the bytes around the samples."""
    return usual_header(header) if header.container == "wav" else b""


def usual_header(header: CompressedHeader) -> bytes:
    """Return the usual header of a WAV file with the samples of a compressed file."""
    rate, channels, bits = header.sample_rate, header.channels, header.bits
    size = None if header.samples is None else header.samples * channels * bits // 8
    return standard_wav_header(rate, channels, bits, size)


def parse_record(kind: bytes, payload: bytes, header: CompressedHeader) -> Record | None:
    """Return the content of a record after the header; None if it is not valid or not known."""
    if kind == BLOCK:
        return _parse_block(payload, header)
    if kind == CONTAINER:
        part = inflate(payload, PART_BYTES, container_dictionary(header))
        return None if part is None else ContainerPart(part)
    if kind == END:
        return _parse_end(payload)
    return None


def _parse_block(payload: bytes, header: CompressedHeader) -> StoredBlock | None:
    head = parse_numbers(payload, 2)
    if head is None:
        return None
    (index, samples), start = head
    mode, data = payload[start : start + 1], payload[start + 1 :]
    raw_bytes = samples * header.channels * header.bits // 8
    if not 1 <= samples <= header.block_samples or mode not in (b"\0", b"\1"):
        return None
    if mode == b"\0" and len(data) != raw_bytes:
        return None
    form = BlockForm(header.channels, samples, header.bits)
    return StoredBlock(index, form, mode == b"\1", data)


def _parse_end(payload: bytes) -> FileEnd | None:
    counts = parse_numbers(payload, 2)
    if counts is None:
        return None
    (samples, blocks), start = counts
    digest, crc = payload[start : start + _MD5_BYTES], payload[start + _MD5_BYTES :]
    if samples > MAX_SAMPLES or len(digest) < _MD5_BYTES or len(crc) not in (0, 4):
        return None
    return FileEnd(samples, blocks, digest, int.from_bytes(crc, "little") if crc else None)


def read_record(
    stream: ReadableStream, name: str, start_crc: int, header: CompressedHeader | None
) -> tuple[bytes, bytes, int]:
    """Read a record and check it.

    Args:
        stream: at its start.
        name: of the file, for messages.
        start_crc: with which its checksum starts.
        header: of the file; None if this is the record of the header.
    Returns:
        Its kind, its payload and its checksum.
    Raises:
        CompressedFileError: it is damaged or cut short.
    """
    kind = read_up_to(stream, 1)
    digits = bytearray()
    while len(digits) < 4 and (digit := read_up_to(stream, 1)):
        digits += digit
        if digit < b"\x80":
            break
    length = parse_numbers(bytes(digits), 1)
    if not kind or not digits or (length is None and digits[-1] >= 0x80 and len(digits) < 4):
        raise _cut_error(name)
    if length is None or length[0][0] > max_record_bytes(kind, header):
        raise CompressedFileError(f"{name} is damaged: a record has a wrong length")
    payload = read_up_to(stream, length[0][0])
    stored = read_up_to(stream, 4)
    if len(stored) < 4:
        raise _cut_error(name)
    crc = zlib.crc32(payload, zlib.crc32(kind + digits, start_crc))
    if crc != int.from_bytes(stored, "little"):
        raise CompressedFileError(f"{name} is damaged: a checksum is wrong")
    return kind, payload, crc


def skip_to_block(stream: BinaryIO, reader: CompressedReader, index: int) -> None:
    """Move to the record of a block, or to the last record of the file.

    Raises:
        CompressedFileError: the file is cut short, or the length of a record is not possible.
    """
    while True:
        position = stream.tell()
        head = stream.read(_HEAD_BYTES)
        kind, length = head[:1], parse_numbers(head[1:], 1)
        if length is None or length[0][0] > max_record_bytes(kind, reader.header):
            raise CompressedFileError(f"{reader.name} is cut short or damaged")
        found = parse_numbers(head[1 + length[1] :], 1)
        is_earlier = kind == BLOCK and found is not None and found[0][0] < index
        if (kind == BLOCK and not is_earlier) or kind == END:
            stream.seek(position)
            return
        stream.seek(position + 1 + length[1] + length[0][0] + 4)


def max_record_bytes(kind: bytes, header: CompressedHeader | None) -> int:
    """Return the longest payload of a record; -1 for an unknown kind."""
    if header is None:
        return _MAX_HEADER_RECORD if kind == HEADER else -1
    block_bytes = header.block_samples * header.channels * header.bits // 8
    limits = {CONTAINER: PART_BYTES, BLOCK: block_bytes, END: 0}
    if kind in limits:
        return limits[kind] + _RECORD_MARGIN
    return _MAX_OPTIONAL_RECORD if kind.islower() else -1


def _cut_error(name: str) -> CompressedFileError:
    return CompressedFileError(f"{name} is cut short; download or copy it again")


def read_up_to(stream: ReadableStream, size: int) -> bytes:
    """Return so many bytes of a stream; fewer only at its end."""
    parts = []
    while size > 0 and (part := stream.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def pack_crc(crc: int) -> bytes:
    """Return the 4 bytes of a checksum."""
    return crc.to_bytes(4, "little")


def encode_number(value: int) -> bytes:
    """Return a number of at least 0 as unsigned LEB128: 7 bits per byte, the lowest first."""
    digits = bytearray()
    while value >= 0x80:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


def parse_numbers(data: bytes, count: int) -> tuple[list[int], int] | None:
    """Read numbers in LEB128 at the start of some bytes.

    Returns:
        The numbers and the bytes that they use; None if one is cut short, longer than 63 bits, or
        longer than necessary.
    """
    values, position = [], 0
    for _ in range(count):
        value = shift = 0
        while True:
            if position == len(data) or shift > 56:
                return None
            digit = data[position]
            position += 1
            value |= (digit & 0x7F) << shift
            if digit < 0x80:
                break
            shift += 7
        if digit == 0 and shift:
            return None
        values.append(value)
    return values, position
