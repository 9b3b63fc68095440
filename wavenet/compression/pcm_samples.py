"""Convert between arrays of integer samples and bytes (PCM).

Input and output: interleaved samples of 8, 16 or 24 bits, and arrays (channels, samples). Called by
the readers and writers of audio files, and for blocks that are stored raw.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

STORED_BITS = (8, 16, 24)


@dataclass(frozen=True)
class SampleFormat:
    """How the samples of a file are stored.

    Attributes:
        bits: 8, 16 or 24.
        byte_order: of a sample.
        is_unsigned: whether 128 is silence; only with 8 bits.
    """

    bits: int
    byte_order: Literal["little", "big"] = "little"
    is_unsigned: bool = False

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return self.bits // 8


def unpack_samples(data: bytes, channels: int, form: SampleFormat) -> NDArray[np.int32]:
    """Return the samples of bytes.

    Args:
        data: whole frames; a frame has one sample of each channel.
        channels: per frame.
        form: of the samples.
    Returns:
        (channels, samples) int32, signed.
    """
    order = "<" if form.byte_order == "little" else ">"
    values: NDArray[Any]
    if form.bits == 8:
        values = np.frombuffer(data, np.uint8 if form.is_unsigned else np.int8).astype(np.int32)
        values -= 128 if form.is_unsigned else 0
    elif form.bits == 16:
        values = np.frombuffer(data, f"{order}i2")
    else:
        three = np.frombuffer(data, np.uint8).reshape(-1, 3)
        four = np.zeros((len(three), 4), np.uint8)
        first = 1 if order == "<" else 0
        # Column by column: a copy of all three at once is ten times slower.
        for byte in range(3):
            four[:, first + byte] = three[:, byte]
        values = four.view(f"{order}i4")[:, 0] >> 8
    return np.ascontiguousarray(values.reshape(-1, channels).T, np.int32)


def pack_samples(samples: NDArray[Any], form: SampleFormat) -> bytes:
    """Return the bytes of samples; the inverse of `unpack_samples`.

    Args:
        samples: (channels, samples) integers within the signed range of the bits.
        form: of the bytes.
    """
    order = "<" if form.byte_order == "little" else ">"
    values = np.ascontiguousarray(samples.T).reshape(-1)
    if form.bits == 8:
        if form.is_unsigned:
            return (values + 128).astype(np.uint8).tobytes()
        return values.astype(np.int8).tobytes()
    if form.bits == 16:
        return values.astype(f"{order}i2").tobytes()
    four = values.astype(f"{order}i4").view(np.uint8).reshape(-1, 4)
    three = np.empty((len(four), 3), np.uint8)
    first = 0 if order == "<" else 1
    for byte in range(3):
        three[:, byte] = four[:, first + byte]
    return three.tobytes()


class PcmDigest:
    """Computes the MD5 of all samples of a recording, as FLAC defines it.

    The samples are interleaved, little-endian and signed.

    Args:
        bits: of the samples.
    """

    def __init__(self, bits: int):
        self._form = SampleFormat(bits)
        self._md5 = hashlib.md5(usedforsecurity=False)

    def update(self, samples: NDArray[Any]) -> None:
        """Add samples, (channels, samples)."""
        self._md5.update(pack_samples(samples, self._form))

    def digest(self) -> bytes:
        """Return the 16 bytes of the MD5."""
        return self._md5.digest()
