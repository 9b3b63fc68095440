"""Check a FLAC file: its header, the first frame, and the MD5 of the decoded samples.

Input: an open file and its size, then the decoded samples. Output: a `ContainerReport`, or a
`ContainerError`. Called by `audio_utils.audio_formats` and by `audio_utils.decoding`. libFLAC
checks the checksum of every frame, but not that all frames are there.
Source: RFC 9639, sections 8.2 and 9.1.
"""

import hashlib
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

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
_BITS = {"PCM_S8": 8, "PCM_16": 16, "PCM_24": 24}


def check_flac(handle: BinaryIO, size: int) -> ContainerReport:
    """Return the MD5 in STREAMINFO, which libsndfile ignores; compare its rate with a frame's."""
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


class SampleDigest:
    """Compute the MD5 of decoded samples, to be compared with the one in the header."""

    def __init__(self, file: soundfile.SoundFile, stored: bytes) -> None:
        self._stored = stored
        self._bits = _BITS.get(file.subtype, 0) if stored else 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def update(self, block: NDArray[np.float32]) -> None:
        """Add samples, (T, channels) in [-1, 1]: float32 stores 24 bits exactly."""
        if not self._bits:
            return
        scaled = block * np.float32(2 ** (self._bits - 1))
        if self._bits == 24:
            four = scaled.astype("<i4").view(np.uint8).reshape(-1, 4)
            three = np.empty((len(four), 3), np.uint8)
            # Column by column: a copy of four[:, :3] is ten times slower.
            for byte in range(3):
                three[:, byte] = four[:, byte]
            self._digest.update(three.tobytes())
        else:
            self._digest.update(scaled.astype("<i2" if self._bits == 16 else "i1").tobytes())

    def check(self) -> None:
        """Raise ContainerError if the samples are not those that were encoded."""
        if self._bits and self._digest.digest() != self._stored:
            raise ContainerError(
                "is damaged: the MD5 of its samples differs from the one in its FLAC header; "
                f"{REMEDY}"
            )
