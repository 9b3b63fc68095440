"""Audio files assembled byte by byte, and the check of a read error."""

import struct

import numpy as np
import pytest

from audio_utils.errors import AudioError
from audio_utils.io import read

RATE = 16_000
SUFFIXES = [".wav", ".flac", ".ogg", ".mp3"]


def wav_bytes(
    frames=b"\x00\x10" * 100, kind=1, channels=1, rate=RATE, bits=16, data=None, riff=None
):
    """Assemble a WAV file; `data` and `riff` are the declared sizes."""
    block = channels * bits // 8 & 0xFFFF
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * block & 0xFFFFFFFF, block, bits)
    data = len(frames) if data is None else data
    riff = 36 + len(frames) if riff is None else riff
    head = b"RIFF" + struct.pack("<I", riff) + b"WAVEfmt " + struct.pack("<I", 16) + fmt
    return head + b"data" + struct.pack("<I", data) + frames


def float_wav(values):
    return wav_bytes(np.asarray(values, "<f4").tobytes(), kind=3, bits=32)


def assert_read_error(path, words, **options):
    """Check that reading raises AudioError with one sentence that names the file."""
    with pytest.raises(AudioError, match=words) as caught:
        read(path, **options)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert text.endswith(".")
