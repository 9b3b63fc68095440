"""Find the blocks of a damaged compressed file that are still whole.

Input: a file on a disk and its header, which must be whole. Output: its records in their order,
with a lost block for each that is damaged. Called by `decode_files`.
"""

import io
import mmap
import re
from collections.abc import Iterator
from typing import BinaryIO

from audio_utils.errors import AudioError
from wavenet.compression.block_windows import BlockToDecode
from wavenet.compression.blocks import BlockForm
from wavenet.compression.compressed_file import (
    BLOCK,
    CONTAINER,
    END,
    CompressedReader,
    ContainerPart,
    FileEnd,
    Record,
    StoredBlock,
    max_record_bytes,
    parse_numbers,
    parse_record,
    read_record,
)
from wavenet.compression.pcm_container import MAGIC, MAX_BYTES_BEFORE, HashedStream, read_layout
from wavenet.errors import CompressedFileError

_KINDS = re.compile(b"[" + BLOCK + CONTAINER + END + b"]|" + re.escape(MAGIC))
# Bytes that are checked, relative to the file: a malicious file could have a possible record at
# each of its bytes.
_MAX_WORK = 64
_MIN_WORK = 1 << 26
# of silence in their place: a malicious file could declare an unlimited number
MAX_LOST_BLOCKS = 4096
_HEADER_WORK = 4096  # bytes that are checked to find the header of another file
_HEAD_BYTES = 32  # kind, length, index, samples and mode of a block


class RecoveredRecords:
    """The records of a damaged file that are whole.

    Attributes:
        has_container: whether the bytes before the samples are whole.
        notes: sentences about damage that is not in a block.

    Args:
        handle: the file, after its header.
        reader: of the file, which read its header.
    Raises:
        CompressedFileError: the file is on no disk, has lost too much, or consists of several
            files that were joined.
    """

    def __init__(self, handle: BinaryIO, reader: CompressedReader):
        self.notes: list[str] = []
        self._reader, self._header = reader, reader.header
        try:
            start = handle.tell()
            self._map = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            raise CompressedFileError(
                f"{reader.name} cannot be recovered from a pipe; save it as a file first"
            ) from None
        self._work = max(_MIN_WORK, _MAX_WORK * len(self._map))
        # positions of the records, in the order of the file
        self._before: list[int] = []
        self._blocks: dict[int, int] = {}
        self._after: list[int] = []
        self._end: FileEnd | None = None
        self._scan(start)
        self.has_container = self._check_container()
        self._describe()

    def records(self) -> Iterator[Record | BlockToDecode]:
        """Yield the records; a lost block is one without stored data."""
        for position in self._before if self.has_container else ():
            yield self._require(position)
        step = self._header.block_samples
        total = self._total_samples()
        for index in range(self._count_blocks(total)):
            if index in self._blocks:
                yield self._require(self._blocks[index])
                continue
            samples = step if total is None else min(step, total - index * step)
            form = BlockForm(self._header.channels, samples, self._header.bits)
            yield BlockToDecode(index, form, None, self._header.coder, self._reader.name)
        for position in self._after if self.has_container else ():
            yield self._require(position)
        if self._end is not None:
            yield self._end

    def _total_samples(self) -> int | None:
        if self._header.samples is not None:
            return self._header.samples
        return None if self._end is None else self._end.samples

    def _count_blocks(self, total: int | None) -> int:
        found = max(self._blocks, default=-1) + 1
        if total is None:
            return found
        return min(-(-total // self._header.block_samples), found + MAX_LOST_BLOCKS)

    def _describe(self) -> None:
        """Check the number of lost blocks, and write the notes."""
        if max(self._blocks, default=-1) >= len(self._blocks) + MAX_LOST_BLOCKS:
            raise CompressedFileError(
                f"{self._reader.name} has lost more than {MAX_LOST_BLOCKS:,} blocks; it cannot be "
                "recovered"
            )
        if not self.has_container and self._header.container != "none":
            self.notes.append("the bytes around the samples are damaged, so they are left out")
        if self._end is None:
            self.notes.append("its end is missing, so the samples could not be compared")
        if self._end is None and self._header.samples is None:
            self.notes.append("its length is not known, so lost samples at its end are not counted")

    def _scan(self, position: int) -> None:
        """Find the whole records from a position on."""
        is_damaged = False
        while position < len(self._map) and self._end is None:
            self._check_single(position)
            is_possible = self._is_possible(position)
            record, after = self._read(position) if is_possible else (None, position)
            if record is None:
                is_damaged = True
                after = self._find_next(position + 1)
            elif isinstance(record, FileEnd):
                self._end = record
            elif isinstance(record, StoredBlock):
                self._blocks.setdefault(record.index, position)
            elif not self._blocks and not is_damaged and self._header.container != "plain_wav":
                self._before.append(position)
            else:
                self._after.append(position)
            position = after
        self._check_single(position)
        if self._end is not None and position < len(self._map):
            self.notes.append("the bytes after its end are left out")

    def _check_single(self, position: int) -> None:
        """Raise CompressedFileError if another file begins at a position."""
        if self._work <= 0 or self._map[position : position + len(MAGIC)] != MAGIC:
            return
        self._map.seek(position)
        self._work -= _HEADER_WORK
        try:
            CompressedReader(self._map, "")
        except CompressedFileError:
            return
        raise CompressedFileError(
            f"{self._reader.name} consists of joined files, which cannot be recovered together; "
            f"separate them with `head -c {position}` and `tail -c +{position + 1}`"
        )

    def _check_container(self) -> bool:
        """Return whether the bytes before the samples are a whole header of the original."""
        if self._header.container == "plain_wav":
            return True
        before = bytearray()
        for position in self._before:
            part = self._require(position)
            before += part.data if isinstance(part, ContainerPart) else b""
            if len(before) > MAX_BYTES_BEFORE:
                return False
        stream = HashedStream(io.BytesIO(before))
        try:
            layout = read_layout(stream, self._reader.name)
        except AudioError:
            return False
        return layout is not None and layout.kind == self._header.container

    def _find_next(self, position: int) -> int:
        """Return the position of the next byte at which a record may begin."""
        found = _KINDS.search(self._map, position)
        return found.start() if found else len(self._map)

    def _read(self, position: int) -> tuple[Record | None, int]:
        """Return the record at a position, or None; and the position after it."""
        self._map.seek(position)
        try:
            kind, payload, _ = read_record(
                self._map, self._reader.name, self._reader.header_crc, self._header
            )
        except CompressedFileError:
            return None, position
        record = parse_record(kind, payload, self._header)
        return record, self._map.tell()

    def _is_possible(self, position: int) -> bool:
        """Return whether a record may be at a position, by its first bytes."""
        head = self._map[position : position + _HEAD_BYTES]
        kind, length = head[:1], parse_numbers(head[1:5], 1)
        if length is None or not 0 <= length[0][0] <= max_record_bytes(kind, self._header):
            return False
        size = length[0][0]
        if position + size > len(self._map):
            return False
        if kind == BLOCK:
            numbers = parse_numbers(head[1 + length[1] :], 2)
            if numbers is None or not 1 <= numbers[0][1] <= self._header.block_samples:
                return False
            samples, step = self._header.samples, self._header.block_samples
            if samples is not None and numbers[0][0] * step >= samples:
                return False
        self._work -= size
        return self._work > 0

    def _require(self, position: int) -> Record:
        record, _ = self._read(position)
        if record is None:
            raise CompressedFileError(f"{self._reader.name} has changed while it was read")
        return record
