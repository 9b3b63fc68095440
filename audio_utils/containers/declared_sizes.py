"""Compare the sizes that a header declares with the bytes of the file.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by the
modules of the containers.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

REMEDY = "download the file again or export it again"
# Half a million elements take less than a second; more is probably a malicious file.
MAX_ELEMENTS = 500_000
# "TAG" and 125 bytes.
_ID3V1_BYTES = 128
_BLOCK_BYTES = 65_536


class ContainerError(Exception):
    """An error of a container: a clause that continues "<path> ...", without a full stop."""


@dataclass(frozen=True)
class ContainerReport:
    """What the bytes of a complete container declare.

    Attributes:
        notes: phrases about unusual properties, such as "its header declares no length".
        frames: number that the decoder must find; None if the container does not declare it.
        md5: of the decoded samples; empty if the container does not declare it.
    """

    notes: tuple[str, ...] = ()
    frames: int | None = None
    md5: bytes = b""


@dataclass(frozen=True)
class FileChunk:
    """A chunk of a file: its name, and where its payload is. The file may end earlier."""

    name: bytes
    start: int
    length: int

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True)
class ChunkLayout:
    """How chunks are written.

    Attributes:
        header: name and length.
        counted: bytes of the header that the length includes.
        alignment: chunks begin at a multiple of it.
    """

    header: struct.Struct
    counted: int = 0
    alignment: int = 2


def list_chunks(
    handle: BinaryIO, size: int, position: int, layout: ChunkLayout, declared_end: int | None = None
) -> list[FileChunk]:
    """Return the chunks from a position on, until no chunk can begin.

    Args:
        handle, size: the file, and its bytes.
        position: of the first chunk.
        layout: how they are written.
        declared_end: their end according to the header; bytes after a chunk there are not a chunk.
    Raises:
        ContainerError: there are too many chunks.
    """
    chunks: list[FileChunk] = []
    while (chunk := _read_chunk(handle, size, position, layout)) is not None:
        chunks.append(chunk)
        if len(chunks) > MAX_ELEMENTS:
            raise ContainerError(f"has more than {MAX_ELEMENTS:,} chunks; export it again")
        position = chunk.end + -chunk.end % layout.alignment
        if declared_end is not None and chunk.end <= declared_end <= position:
            break
        # Some writers omit the pad byte.
        if _read_chunk(handle, size, position, layout) is None:
            position = chunk.end
    return chunks


def _read_chunk(
    handle: BinaryIO, size: int, position: int, layout: ChunkLayout
) -> FileChunk | None:
    if position + layout.header.size > size:
        return None
    handle.seek(position)
    name, length = layout.header.unpack(handle.read(layout.header.size))
    if not all(0x20 <= byte < 0x7F for byte in name[:4]) or length < layout.counted:
        return None
    return FileChunk(name, position + layout.header.size, length - layout.counted)


def check_sound_bytes(
    size: int, declared_end: int, sound: FileChunk, block: int, *, is_open: bool
) -> tuple[int, list[str]]:
    """Return the number of bytes of audio in the file, and notes on a wrong header.

    Args:
        size: bytes in the file.
        declared_end: size of the whole file, according to its header.
        sound: the payload with the samples.
        block: bytes per frame; 0 for compressed audio.
        is_open: the declared length is a placeholder, as in a file written to a pipe.
    Raises:
        ContainerError: the file is cut short, or the header contradicts itself.
    """
    available = max(0, size - sound.start)
    length, notes = sound.length, []
    if is_open and (declared_end <= size or is_placeholder(declared_end)):
        length = available
        notes.append(
            "its header declares no length, as in a file written to a pipe; it was read to its "
            f"end, {available:,} bytes of audio"
        )
    elif length > available:
        # The whole size is correct, so nothing was cut off: only this length is wrong.
        if declared_end != size:
            raise ContainerError(
                f"is cut short or its header is wrong: {length:,} bytes of audio declared, "
                f"{available:,} found; {REMEDY}"
            )
        notes.append(
            f"its header declares {length:,} bytes of audio, but it has {available:,}; all of them "
            "were read"
        )
        length = available
    elif not length and available > 1:
        raise ContainerError(
            f"declares no samples, but {available:,} bytes follow: the recording was not closed "
            "properly; repair it in an audio editor or record it again"
        )
    if block and length % block:
        # The bytes up to the end may include a pad byte, which is not audio.
        if length == sound.length or length % block != 1 or length % 2:
            raise ContainerError(
                f"ends inside a frame: {length:,} bytes of audio in frames of {block} bytes; "
                f"{REMEDY}"
            )
        length -= 1
    return length, notes


def is_placeholder(length: int) -> bool:
    """Return whether a 32-bit length stands for "unknown", as ffmpeg, SoX and arecord write it."""
    return length == 0 or abs(length - 2**31) <= 0x1100 or length >= 0xFFFF_FF00


def check_tail(
    handle: BinaryIO, size: int, declared_end: int, chunks: list[FileChunk], layout: ChunkLayout
) -> list[str]:
    """Return notes on the bytes after the last chunk.

    Raises:
        ContainerError: these bytes belong to the container, so that its header is wrong.
    """
    end = chunks[-1].end
    padded = end + -end % layout.alignment
    if end > size and abs(declared_end - size) <= 1:
        raise ContainerError(
            f"is cut short or its header is wrong: a chunk declares {chunks[-1].length:,} bytes "
            f"but only {size - chunks[-1].start:,} are left; {REMEDY}"
        )
    if padded < size and not end <= declared_end <= padded:
        raise ContainerError(
            f"is cut short or its header is wrong: {size - end:,} bytes after the audio are not "
            f"chunks; {REMEDY}"
        )
    if padded < size:
        return list(describe_trailing_bytes(handle, padded, size))
    if abs(declared_end - size) <= 1:
        return []
    return [
        f"its header declares {declared_end:,} bytes in all, but it has {size:,}; the audio is "
        "complete"
    ]


def describe_trailing_bytes(handle: BinaryIO, position: int, size: int) -> Iterator[str]:
    """Yield a note on bytes after the audio, unless they are zeros or a known tag."""
    handle.seek(position)
    is_tag = handle.read(_ID3V1_BYTES).startswith((b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3"))
    handle.seek(position)
    if not is_tag and any(any(block) for block in iter(lambda: handle.read(_BLOCK_BYTES), b"")):
        count = size - position
        yield (
            f"{count:,} {'byte' if count == 1 else 'bytes'} after the end of its audio "
            f"{'was' if count == 1 else 'were'} not read"
        )
