"""Check from the bytes of an audio file that its container is complete.

Input: an open file. Output: None, or a description of the error. Called by `audio_utils.decoding`
before libsndfile, which reads truncated and inconsistent files without an error: a WAV with a
wrong size, an Ogg stream without its end, half an MP3.
"""

import struct
from typing import BinaryIO

READABLE_FORMATS = "WAV, FLAC, OGG or MP3"
_REMEDY = "download the file again or export it again"
_OGG_END_OF_STREAM = 0x04
_PCM, _IEEE_FLOAT = 1, 3
# Bytes at the start of the first MP3 frame, side information included, in which the Xing or Info
# header is found.
_XING_SEARCH_BYTES = 200
_ID3_HEADER_BYTES = 10
# Chunks or pages. Half an hour in pages of 20 ms has 90,000; more is probably a malicious file.
_MAX_ELEMENTS = 200_000


def find_container_error(handle: BinaryIO, size: int) -> str | None:
    """Return an error of the container that a decoder would ignore.

    A truncated FLAC is not checked here: its decoder and its frame count report it. An MP3 without
    the Xing or Info header declares no size, so that its truncation cannot be detected.

    Args:
        handle: the file, binary, seekable; its position is changed.
        size: bytes in the file.
    Returns:
        None, or a clause that continues "<path> ...", without a full stop.
    """
    handle.seek(0)
    head = handle.read(12)
    if not head:
        return f"is empty; expected audio in {READABLE_FORMATS}"
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        return _find_wav_error(handle, size)
    if head[:4] == b"OggS":
        return _find_ogg_error(handle, size)
    if head[:3] == b"ID3" or _is_mp3_frame(head):
        return _find_mp3_error(handle, size)
    if head[:4] == b"fLaC":
        return None
    return _unknown_format_error(head)


def _is_mp3_frame(head: bytes) -> bool:
    """Return whether an MPEG audio frame begins here, and not AAC, whose layer bits are zero."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = head[1] & 0x18, head[1] & 0x06, head[2] & 0xF0, head[2] & 0x0C
    return version != 0x08 and layer != 0 and bitrate != 0xF0 and rate != 0x0C


def _unknown_format_error(head: bytes) -> str:
    is_adts = head[0] == 0xFF and len(head) > 1 and head[1] & 0xF6 == 0xF0
    if head[4:8] == b"ftyp" or head[:4] == b"ADIF" or is_adts:
        return (
            f"is AAC or MP4 (m4a), which is not supported; convert it to {READABLE_FORMATS} first"
        )
    return f"is not audio in a known format; expected {READABLE_FORMATS}, so convert it first"


def _find_wav_error(handle: BinaryIO, size: int) -> str | None:
    """Check that the declared size of every chunk matches the bytes of the file."""
    handle.seek(4)
    end = 8 + int.from_bytes(handle.read(4), "little")
    # Some writers omit the last pad byte, others count it.
    if end > size + 1:
        return (
            f"is cut short or its header is wrong: {end:,} bytes declared, {size:,} found; "
            f"{_REMEDY}"
        )
    position, chunks, data_bytes, block = 12, 0, None, 0
    while position + 8 <= end:
        chunks += 1
        if chunks > _MAX_ELEMENTS:
            return f"has more than {_MAX_ELEMENTS:,} chunks; export it again"
        handle.seek(position)
        name, length = struct.unpack("<4sI", handle.read(8))
        if position + 8 + length > min(end, size):
            return (
                f"is cut short or its header is wrong: a chunk declares {length:,} bytes and "
                f"{max(0, min(end, size) - position - 8):,} are left; {_REMEDY}"
            )
        if name == b"fmt " and length >= 16:
            block = _wav_block_size(handle.read(16))
        if name == b"data":
            data_bytes = length
        position += 8 + length + length % 2
    if data_bytes is None:
        return f"has no audio: its WAV header has no data chunk; {_REMEDY}"
    if block and data_bytes % block:
        return (
            f"ends inside a frame: {data_bytes:,} bytes of audio in frames of {block} bytes; "
            f"{_REMEDY}"
        )
    return None


def _wav_block_size(fmt: bytes) -> int:
    """Return bytes per frame of PCM or float; 0 for compressed formats.

    The last block of compressed audio may be shorter.
    """
    format_tag, _, _, _, block, _ = struct.unpack("<HHIIHH", fmt)
    return block if format_tag in (_PCM, _IEEE_FLOAT) else 0


def _find_ogg_error(handle: BinaryIO, size: int) -> str | None:
    """Check that every page is complete, and that the last one has the end-of-stream flag."""
    position, pages, flags = 0, 0, 0
    while position < size:
        pages += 1
        if pages > _MAX_ELEMENTS:
            return f"has more than {_MAX_ELEMENTS:,} Ogg pages; split it into shorter files"
        handle.seek(position)
        page = handle.read(27)
        table = handle.read(page[26]) if len(page) == 27 else b""
        if page[:4] != b"OggS" or len(page) < 27 or len(table) < page[26]:
            return f"is cut short or damaged: no complete Ogg page at byte {position:,}; {_REMEDY}"
        flags = page[5]
        position += 27 + len(table) + sum(table)
    if position > size or not flags & _OGG_END_OF_STREAM:
        return f"is cut short: the last page of its Ogg stream is missing; {_REMEDY}"
    return None


def _find_mp3_error(handle: BinaryIO, size: int) -> str | None:
    """Compare the size in the Xing or Info header, if present, with the bytes of the file."""
    start = _id3_tag_size(handle)
    if start >= size:
        return (
            f"is cut short: its ID3 tag declares {start:,} bytes, the file has {size:,}; {_REMEDY}"
        )
    handle.seek(start)
    first = handle.read(_XING_SEARCH_BYTES)
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0 or len(first) < at + 16:
        return None
    flags, frames, declared = struct.unpack(">III", first[at + 4 : at + 16])
    # Bits 0 and 1: the header contains the number of frames, the number of bytes.
    if flags & 3 == 3 and declared > size - start:
        found = f"{declared:,} bytes of audio declared, {size - start:,} found"
        return f"is cut short: {found} ({frames:,} frames declared); {_REMEDY}"
    return None


def _id3_tag_size(handle: BinaryIO) -> int:
    handle.seek(0)
    head = handle.read(_ID3_HEADER_BYTES)
    if head[:3] != b"ID3" or len(head) < _ID3_HEADER_BYTES:
        return 0
    # Sizes in ID3v2 have seven bits per byte.
    length = sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
    )
    footer = _ID3_HEADER_BYTES if head[5] & 0x10 else 0
    return _ID3_HEADER_BYTES + length + footer
