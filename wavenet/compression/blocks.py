"""Blocks of samples, and the interface of what compresses them.

A file is compressed block by block. A block coder receives many blocks at once, because it computes
up to 64 streams in parallel; a stream is one channel of one block. Called by everything in
`wavenet.compression`: files are on one side of this interface, networks on the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Block:
    """Consecutive samples of a recording.

    Attributes:
        samples: (channels, samples) int32, within the signed range of `bits`.
        bits: per sample, 8 to 24; 8-bit WAV files are converted to signed numbers.
    """

    samples: NDArray[np.int32]
    bits: int

    @property
    def form(self) -> "BlockForm":
        """The shape and the bits."""
        channels, samples = self.samples.shape
        return BlockForm(channels, samples, self.bits)


@dataclass(frozen=True)
class BlockForm:
    """What a decoder knows of a block before it decodes it.

    Attributes:
        channels: at least 1.
        samples: per channel, at least 1.
        bits: per sample, 8 to 24.
    """

    channels: int
    samples: int
    bits: int


class BlockCoder(Protocol):
    """Compresses blocks without loss.

    Attributes:
        name: of the compressor, such as "lossless".
        sha256: of its weights, 64 hexadecimal digits.
        profile: of its arithmetic, such as "exact-1": both sides must compute the same numbers.
    """

    name: str
    sha256: str
    profile: str

    def encode(self, blocks: Sequence[Block]) -> list[bytes]:
        """Return one payload per block, from which `decode` computes the same samples.

        A payload may be longer than the samples, and has no check of its own.
        """
        ...

    def decode(
        self, payloads: Sequence[bytes], forms: Sequence[BlockForm]
    ) -> Sequence[NDArray[Any]]:
        """Return the samples of each payload, (channels, samples) integers.

        Raises:
            CompressedFileError: a payload is damaged. A damaged payload may also be decoded to
                other samples.
        """
        ...
