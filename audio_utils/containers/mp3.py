"""Check that an MP3 file is complete: every frame, and the size in its Xing or Info header.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by
`audio_utils.audio_formats`. A frame has no checksum of its samples, so a changed bit inside it is
not detected; nor is a file cut between two frames, if it declares no size.
"""

import struct
from typing import BinaryIO

from audio_utils.containers.declared_sizes import (
    MAX_ELEMENTS,
    REMEDY,
    ContainerError,
    ContainerReport,
)

# Bytes at the start of the first MP3 frame, side information included, in which the Xing or Info
# header is found.
_XING_SEARCH_BYTES = 256
_ID3_HEADER_BYTES = 10
# From "Xing" or "Info" to the checksum of everything before it, if LAME wrote the header.
_LAME_CRC_OFFSET = 154
_ID3V1_BYTES = 128
# Synchronisation, version, layer and sample rate.
_SAME_IN_ALL_FRAMES = 0xFFFE_0C00
# kbit/s by (is MPEG 1, layer)
_BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8000),
}


def is_mp3_frame(head: bytes) -> bool:
    """Return whether an MPEG audio frame begins here, and not AAC, whose layer bits are zero."""
    if len(head) < 3 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer, bitrate, rate = head[1] & 0x18, head[1] & 0x06, head[2] & 0xF0, head[2] & 0x0C
    return version != 0x08 and layer != 0 and bitrate != 0xF0 and rate != 0x0C


def check_mp3(handle: BinaryIO, size: int) -> ContainerReport:
    """Follow the frames to the end of the file, and compare their size with the declared one."""
    start = id3_tag_size(handle)
    if start >= size:
        raise ContainerError(
            f"is cut short: its ID3 tag declares {start:,} bytes, the file has {size:,}; {REMEDY}"
        )
    handle.seek(start)
    first = handle.read(_XING_SEARCH_BYTES)
    declared, notes = _check_declared_size(first, size - start)
    if not is_mp3_frame(first) or not first[2] & 0xF0:
        # Padding before the first frame, or frames of free length: the decoder finds them.
        return ContainerReport(notes)
    end, frames, frame_samples = _follow_frames(handle, start, size)
    if end <= size - 4 and not _is_tag_or_padding(handle, end):
        raise ContainerError(f"is damaged: no MP3 frame at byte {end:,}; {REMEDY}")
    is_cut = end != size and end > size - 4
    if declared is None:
        cut = "its last MP3 frame is not complete, so the end may be missing"
        return ContainerReport((cut,) * is_cut, frames * frame_samples)
    if is_cut:
        raise ContainerError(f"is cut short: its last MP3 frame is not complete; {REMEDY}")
    # One frame is the header. libsndfile would read only the declared ones.
    if frames - 1 > declared + 1:
        raise ContainerError(
            f"has {frames - 1:,} MP3 frames, but its header declares {declared:,}, as if files "
            "were joined; convert it to WAV or FLAC"
        )
    return ContainerReport(notes)


def id3_tag_size(handle: BinaryIO, position: int = 0) -> int:
    """Return the bytes of an ID3v2 tag at a position, 0 if there is none."""
    handle.seek(position)
    head = handle.read(_ID3_HEADER_BYTES)
    if head[:3] != b"ID3" or len(head) < _ID3_HEADER_BYTES:
        return 0
    # Sizes in ID3v2 have seven bits per byte.
    length = sum(
        (byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True)
    )
    footer = _ID3_HEADER_BYTES if head[5] & 0x10 else 0
    return _ID3_HEADER_BYTES + length + footer


def _check_declared_size(first: bytes, available: int) -> tuple[int | None, tuple[str, ...]]:
    """Compare the Xing or Info header with the file; return its number of frames, and notes."""
    at = max(first.find(b"Xing"), first.find(b"Info"))
    if at < 0 or len(first) < at + 16:
        return None, ()
    flags, frames, declared = struct.unpack(">III", first[at + 4 : at + 16])
    # Bits 0 and 1: the header contains the number of frames, the number of bytes.
    if flags & 3 == 3 and declared > available:
        raise ContainerError(
            f"is cut short: {declared:,} bytes of audio declared, {available:,} found "
            f"({frames:,} frames declared); {REMEDY}"
        )
    count = frames if flags & 1 else None
    crc_at = at + _LAME_CRC_OFFSET
    if first[at + 120 : at + 124] != b"LAME" or len(first) < crc_at + 2:
        return count, ()
    if crc16(first[:crc_at]) == int.from_bytes(first[crc_at : crc_at + 2], "big"):
        return count, ()
    return count, ("its LAME header is damaged, so its length may be wrong",)


def crc16(data: bytes) -> int:
    """Return the CRC-16 of LAME: polynomial 0x8005, reflected, start 0."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def _follow_frames(handle: BinaryIO, position: int, size: int) -> tuple[int, int, int]:
    """Return where the frames end, the number of complete ones, and the samples of each.

    The end lies beyond the file if the last frame is not complete.
    """
    handle.seek(position)
    same = struct.unpack(">I", handle.read(4))[0] & _SAME_IN_ALL_FRAMES
    sizes, samples = _frame_sizes(same)
    frames = 0
    while position <= size - 4:
        handle.seek(position)
        (header,) = struct.unpack(">I", handle.read(4))
        if header & _SAME_IN_ALL_FRAMES == same:
            length = sizes[header >> 9 & 0x7F]
            frames += bool(length) and position + length <= size
        else:
            # Joined files have a tag between two frames.
            length = id3_tag_size(handle, position)
        if not length:
            break
        position += length
        if frames > MAX_ELEMENTS:
            raise ContainerError(f"has more than {MAX_ELEMENTS:,} MP3 frames; split it")
    return position, frames, samples


def _frame_sizes(header: int) -> tuple[list[int], int]:
    """Return sizes by the 7 bits of bit rate, sample rate, padding (0: invalid), and samples."""
    version, layer = header >> 19 & 3, 4 - (header >> 17 & 3)
    is_mpeg1 = version == 3
    slot, samples = (4, 384) if layer == 1 else (1, 1152 if is_mpeg1 or layer == 2 else 576)
    sizes = [0] * 128
    for index in range(128):
        bit_rate, rate, padding = index >> 3, index >> 1 & 3, index & 1
        if 1 <= bit_rate <= 14 and rate < 3:
            bits = _BIT_RATES[is_mpeg1, layer][bit_rate - 1] * 1000 * samples
            sizes[index] = (bits // 8 // slot // _SAMPLE_RATES[version][rate] + padding) * slot
    return sizes, samples


def _is_tag_or_padding(handle: BinaryIO, position: int) -> bool:
    handle.seek(position)
    rest = handle.read(_ID3V1_BYTES)
    return rest.startswith((b"TAG", b"APETAGEX", b"LYRICSBEGIN")) or not any(rest)
