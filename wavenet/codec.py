"""The alphabet: waveform <-> codes, by mu-law companding or, with 16 bits, as they are.

A waveform in [-1, 1] enters, classes 0 to 2**bits - 1 leave, and back. Called by everything that
touches audio: dataset, generation, scoring, the studio.

The convention, stored by name in every checkpoint (`CodecConfig`):
    law       "mu-law" for 4 to 10 bits, f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu);
              "linear" for 16 bits, f(x) = x, always rounded half up
    rounding  decides mu, how f becomes a code and back, and the silence code, which stands before
              the first sample of every clip, with n = 2**bits:

    rounding    mu     code                         decoded f           silence
    half-up     n - 1  floor((f + 1) / 2 mu + 0.5)  2 code / mu - 1     n / 2
    down        n - 1  floor((f + 1) / 2 mu)        2 code / mu - 1     n / 2 - 1
    down-256    256    floor((f + 1) / 2 * 255)     2 code / 256 - 1    128; 8 bits only

Models made here use "half-up"; the others are those of two other programs, whose models can be
imported, and codes of one convention are not those of another. "down" decodes to the lower end of
a class, so the slightest change can be a change of code. "down-256" does not undo itself: a
decoded waveform has codes one lower, and x = 0 has code 127, not the silence code.
"""

import math
from typing import Literal

import torch
from torch import Tensor

MIN_BITS = 4
MAX_BITS = 10
LINEAR_BITS = 16

# In steps: what lies so closely below an edge counts as on it, where rounding is down. A decoded
# waveform lies on the edges, but for what float32 rounds off, up to 4e-5 of a step at 10 bits.
EDGE = 2e-4

Rounding = Literal["half-up", "down", "down-256"]


def silence_code(bits: int, rounding: Rounding = "half-up") -> int:
    """Give the code that stands before the first sample: that of x = 0, but for "down-256"."""
    return (1 << (bits - 1)) - (rounding == "down")


def encode(waveform: Tensor, bits: int = 8, rounding: Rounding = "half-up") -> Tensor:
    """Compand, unless there are 16 bits, and quantise to classes.

    Args:
        waveform: (..., T), in [-1, 1].
        bits: 4 to 10, or 16.
        rounding: half-up for 16 bits; down-256 for 8 bits only.
    Returns:
        (..., T) int64, 0 to 2**bits - 1; silence maps to 2**(bits - 1), rounded down to one less.
    Raises:
        ValueError: bits out of range or not of this rounding, or a sample outside [-1, 1] or not
            finite.
    Source: van den Oord et al. 2016, section 2.2; ITU-T G.711; the table above.
    """
    largest, mu = _largest(bits, rounding)
    if waveform.numel() and not bool((waveform.abs() <= 1).all()):
        raise ValueError(
            f"a waveform must lie in [-1, 1], found {waveform.abs().max().item():g}; scale it first"
        )
    if bits == LINEAR_BITS:
        # in float64: float32 cannot tell some neighbours of 65,536 classes apart
        return ((waveform.to(torch.float64) + 1) / 2 * largest + 0.5).to(torch.int64)
    # in float64 where a class begins at the very values that `decode` gives
    x = waveform.to(torch.float32 if rounding == "half-up" else torch.float64)
    companded = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)
    offset = 0.5 if rounding == "half-up" else EDGE
    return ((companded + 1) / 2 * largest + offset).to(torch.int64)


def decode(codes: Tensor, bits: int = 8, rounding: Rounding = "half-up") -> Tensor:
    """Expand classes to waveform values: the middle of each class where rounding is half up.

    Args:
        codes: (..., T) integers, 0 to 2**bits - 1.
        bits: 4 to 10, or 16.
        rounding: as in `encode`.
    Returns:
        (..., T) float32 in [-1, 1].
    Raises:
        ValueError: bits out of range or not of this rounding, or a code outside the alphabet.
    Source: the table above.
    """
    largest, mu = _largest(bits, rounding)
    if codes.numel() and not bool(((codes >= 0) & (codes <= largest)).all()):
        raise ValueError(f"codes must lie in 0 to {largest}, found {codes.min()} to {codes.max()}")
    if bits == LINEAR_BITS:
        return (codes.to(torch.float64) * 2 / largest - 1).to(torch.float32)
    companded = codes.to(torch.float32) * 2 / mu - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu


def _largest(bits: int, rounding: Rounding) -> tuple[int, int]:
    """Give the largest code and mu."""
    if not MIN_BITS <= bits <= MAX_BITS and bits != LINEAR_BITS:
        raise ValueError(f"bits must be {MIN_BITS} to {MAX_BITS} or {LINEAR_BITS}, found {bits}")
    if bits == LINEAR_BITS and rounding != "half-up":
        raise ValueError(f"{LINEAR_BITS} bits are rounded half-up, found {rounding!r}")
    if bits != 8 and rounding == "down-256":
        raise ValueError(f"the rounding down-256 has 8 bits, found {bits}")
    largest = (1 << bits) - 1
    return largest, largest + (rounding == "down-256")
