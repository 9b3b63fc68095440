"""Check that an Ogg file is complete: checksum, number and flags of every page.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by
`audio_utils.audio_formats`.
Source: RFC 3533.
"""

import struct
import zlib
from typing import BinaryIO

from audio_utils.containers.declared_sizes import (
    MAX_ELEMENTS,
    REMEDY,
    ContainerError,
    ContainerReport,
    describe_trailing_bytes,
)

_CAPTURE = b"OggS"
# Capture pattern, version, flags, granule position, serial number, page number, checksum, segments.
_HEADER = struct.Struct("<4sBBqIIIB")
_FIRST_PAGE, _LAST_PAGE = 0x02, 0x04
_CHECKSUM = slice(22, 26)
_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check_ogg(handle: BinaryIO, size: int) -> ContainerReport:
    """Check every page of an Ogg file.

    A file may have several streams, in parallel (multiplexed) or in sequence (chained); libsndfile
    reads the first one.
    """
    position, pages, streams = 0, 0, 0
    next_numbers: dict[int, int] = {}  # of the streams that have not ended
    while position < size:
        page = _read_page(handle, position)
        if page is None:
            # Tags may follow the last page.
            if next_numbers or not streams:
                raise ContainerError(
                    f"is cut short or damaged: no complete Ogg page at byte {position:,}; {REMEDY}"
                )
            break
        pages += 1
        if pages > MAX_ELEMENTS:
            raise ContainerError(f"has more than {MAX_ELEMENTS:,} Ogg pages; split it")
        _, _, flags, _, serial, number, checksum, _ = _HEADER.unpack_from(page)
        if checksum != page_checksum(page):
            raise ContainerError(
                f"is damaged: the Ogg page at byte {position:,} has a wrong checksum; {REMEDY}"
            )
        if flags & _FIRST_PAGE:
            streams += 1
        elif number != next_numbers.get(serial):
            raise ContainerError(
                f"is damaged: an Ogg page before byte {position:,} is missing; {REMEDY}"
            )
        next_numbers[serial] = (number + 1) & 0xFFFF_FFFF
        if flags & _LAST_PAGE:
            del next_numbers[serial]
        position += len(page)
    if next_numbers:
        raise ContainerError(f"is cut short: the last page of its Ogg stream is missing; {REMEDY}")
    notes = [f"it has {streams} streams; the first was read"] if streams > 1 else []
    return ContainerReport((*notes, *describe_trailing_bytes(handle, position, size)))


def _read_page(handle: BinaryIO, position: int) -> bytes | None:
    """Return a complete page, or None."""
    handle.seek(position)
    header = handle.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:4] != _CAPTURE:
        return None
    table = handle.read(header[-1])
    body = handle.read(sum(table))
    is_complete = len(table) == header[-1] and len(body) == sum(table)
    return header + table + body if is_complete else None


def page_checksum(page: bytes) -> int:
    """Return the CRC-32 of a page: polynomial 0x04C11DB7, not reflected, start 0.

    zlib computes the reflected one: therefore the bits of each byte and of the result are reversed.
    """
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    reflected = zlib.crc32(blank.translate(_REVERSED_BITS), 0xFFFF_FFFF) ^ 0xFFFF_FFFF
    return int.from_bytes(reflected.to_bytes(4, "little").translate(_REVERSED_BITS), "big")
