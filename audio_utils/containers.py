"""Tell whether an audio file is whole, from its bytes alone.

Enters: an open file. Leaves: nothing, or the words that say what is wrong with it. Caller:
audio_utils.decoding. It stands before libsndfile, which reads cut and lying files without a
complaint: a WAV with a wrong size, an Ogg stream without its end, half an MP3.
"""

import struct
from typing import BinaryIO

KNOWN = "WAV, FLAC, OGG or MP3"
_AGAIN = "get the file again or export it again"
_OGG_LAST_PAGE = 0x04
_PCM, _IEEE_FLOAT = 1, 3
# Bytes of a first MP3 frame that can hold the Xing or Info header, MPEG side information included.
_XING_SEARCH = 200
_ID3_HEADER = 10
# Half an hour in pages of 20 ms is 90,000; more is a file made to keep us busy.
_MAX_PARTS = 200_000


def find_fault(handle: BinaryIO, size: int) -> str | None:
    """Look for damage that a decoder would pass over.

    A cut FLAC needs no look here: its decoder and its frame count report it. An MP3 without the
    Xing or Info header declares no size, so that its loss cannot be seen.

    Args:
        handle: the file, binary, seekable; its position is changed.
        size: bytes in the file.
    Returns:
        None, or a clause that continues "<path> ...", without a full stop.
    """
    handle.seek(0)
    head = handle.read(12)
    if not head:
        return f"is empty; expected audio in {KNOWN}"
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _fault_in_wav(handle, size)
    if head[:4] == b"OggS":
        return _fault_in_ogg(handle, size)
    if head[:3] == b"ID3" or _is_mp3_frame(head):
        return _fault_in_mp3(handle, size)
    if head[:4] == b"fLaC":
        return None
    return _fault_of_stranger(head)


def _is_mp3_frame(head: bytes) -> bool:
    """Tell an MPEG audio frame from noise, and from AAC, whose layer bits are zero."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = head[1] & 0x18, head[1] & 0x06, head[2] & 0xF0, head[2] & 0x0C
    return version != 0x08 and layer != 0 and bitrate != 0xF0 and rate != 0x0C


def _fault_of_stranger(head: bytes) -> str:
    is_adts = head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0
    if head[4:8] == b"ftyp" or head[:4] == b"ADIF" or is_adts:
        return f"is AAC or MP4 (m4a), which is not read here; convert it to {KNOWN} first"
    return f"is not audio in a known format; expected {KNOWN}, so convert it first"


def _fault_in_wav(handle: BinaryIO, size: int) -> str | None:
    """Follow the chunks to the end; every size must be that of the bytes which are there."""
    handle.seek(4)
    end = 8 + int.from_bytes(handle.read(4), "little")
    # Some writers leave out the last pad byte, some count it.
    if end > size + 1:
        return (
            f"is cut short or its header is wrong: {end:,} bytes declared, {size:,} found; {_AGAIN}"
        )
    position, parts, data_bytes, block = 12, 0, None, 0
    while position + 8 <= end:
        parts += 1
        if parts > _MAX_PARTS:
            return f"has more than {_MAX_PARTS:,} parts in its header; export it again"
        handle.seek(position)
        name, length = struct.unpack("<4sI", handle.read(8))
        if position + 8 + length > min(end, size):
            return (
                f"is cut short or its header is wrong: a part declares {length:,} bytes and "
                f"{max(0, min(end, size) - position - 8):,} are left; {_AGAIN}"
            )
        if name == b"fmt " and length >= 16:
            block = _bytes_per_frame(handle.read(16))
        if name == b"data":
            data_bytes = length
        position += 8 + length + length % 2
    if data_bytes is None:
        return f"holds no sound: its WAV header has no data part; {_AGAIN}"
    if block and data_bytes % block:
        return f"ends inside a sample: {data_bytes:,} bytes in blocks of {block}; {_AGAIN}"
    return None


def _bytes_per_frame(fmt: bytes) -> int:
    """Return the block size of plain samples, 0 for packed kinds whose last block may be short."""
    kind, _, _, _, block, _ = struct.unpack("<HHIIHH", fmt)
    return block if kind in (_PCM, _IEEE_FLOAT) else 0


def _fault_in_ogg(handle: BinaryIO, size: int) -> str | None:
    """Follow the pages; the last one must be whole and say that it is the last."""
    position, pages, flags = 0, 0, 0
    while position < size:
        pages += 1
        if pages > _MAX_PARTS:
            return f"has more than {_MAX_PARTS:,} Ogg pages; cut it into parts"
        handle.seek(position)
        page = handle.read(27)
        table = handle.read(page[26]) if len(page) == 27 else b""
        if page[:4] != b"OggS" or len(page) < 27 or len(table) < page[26]:
            return f"is cut short or damaged: no whole Ogg page at byte {position:,}; {_AGAIN}"
        flags = page[5]
        position += 27 + len(table) + sum(table)
    if position > size or not flags & _OGG_LAST_PAGE:
        return f"is cut short: the last page of its Ogg stream is missing; {_AGAIN}"
    return None


def _fault_in_mp3(handle: BinaryIO, size: int) -> str | None:
    """Compare the size in the Xing or Info header, where there is one, with the bytes present."""
    start = _bytes_of_id3(handle)
    if start >= size:
        return (
            f"is cut short: its ID3 tag declares {start:,} bytes, the file has {size:,}; {_AGAIN}"
        )
    handle.seek(start)
    first = handle.read(_XING_SEARCH)
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0 or len(first) < at + 16:
        return None
    flags, frames, declared = struct.unpack(">III", first[at + 4 : at + 16])
    # Bits 0 and 1: the header holds the number of frames, the number of bytes.
    if flags & 3 == 3 and declared > size - start:
        found = f"{declared:,} bytes of sound declared, {size - start:,} found"
        return f"is cut short: {found} ({frames:,} frames declared); {_AGAIN}"
    return None


def _bytes_of_id3(handle: BinaryIO) -> int:
    handle.seek(0)
    head = handle.read(_ID3_HEADER)
    if head[:3] != b"ID3" or len(head) < _ID3_HEADER:
        return 0
    # Sizes in ID3v2 have seven bits a byte.
    length = sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
    )
    footer = _ID3_HEADER if head[5] & 0x10 else 0
    return _ID3_HEADER + length + footer
