"""Check the header and the first frame of a FLAC file, and return the MD5 of its samples.

Input: an open file and its size. Output: a `ContainerReport`, or a `ContainerError`. Called by
`audio_utils.audio_formats`. libFLAC checks the checksum of every frame, but not the number of
frames.
Source: RFC 9639, sections 8.2 and 9.1.
"""

from typing import BinaryIO

from audio_utils.containers.declared_sizes import REMEDY, ContainerError, ContainerReport
from audio_utils.containers.mp3 import id3_tag_size

_STREAMINFO_BYTES = 34
_MD5 = slice(18, 34)
# By the code in a frame header. Other codes refer to STREAMINFO, or to a number that follows.
_FRAME_RATES = {
    1: 88_200,
    2: 176_400,
    3: 192_000,
    4: 8000,
    5: 16_000,
    6: 22_050,
    7: 24_000,
    8: 32_000,
    9: 44_100,
    10: 48_000,
    11: 96_000,
}


def check_flac(handle: BinaryIO, size: int) -> ContainerReport:
    """Return the MD5 in STREAMINFO, which libsndfile ignores; check its rate by a frame."""
    start = id3_tag_size(handle)
    handle.seek(start)
    info = handle.read(8 + _STREAMINFO_BYTES)[8:]
    if len(info) < _STREAMINFO_BYTES:
        raise ContainerError(f"is cut short: its FLAC header ends after {size:,} bytes; {REMEDY}")
    rate = int.from_bytes(info[10:13], "big") >> 4
    frame_rate = _read_frame_rate(handle, start + 4)
    if frame_rate not in (None, rate):
        raise ContainerError(
            f"is damaged: its header declares {rate:,} Hz, its first frame {frame_rate:,} Hz; "
            f"{REMEDY}"
        )
    return ContainerReport(md5=info[_MD5] if any(info[_MD5]) else b"")


def _read_frame_rate(handle: BinaryIO, position: int) -> int | None:
    """Return the sample rate in the first frame; None if it refers to the header."""
    is_last = False
    while not is_last:
        handle.seek(position)
        head = handle.read(4)
        if len(head) < 4:
            return None
        is_last = bool(head[0] & 0x80)
        position += 4 + int.from_bytes(head[1:], "big")
    handle.seek(position)
    frame = handle.read(3)
    has_sync = frame[:1] == b"\xff" and len(frame) == 3 and frame[1] & 0xFE == 0xF8
    return _FRAME_RATES.get(frame[2] & 0x0F) if has_sync else None
