"""The alphabet: waveform <-> codes, by mu-law companding or, with 16 bits, as they are.

A waveform in [-1, 1] enters, classes 0 to 2**bits - 1 leave, and back. Called by everything that
touches audio: dataset, generation, scoring, the studio.

The convention, stored by name in every checkpoint (`CodecConfig`):
    law       "mu-law" for 4 to 10 bits, mu = 2**bits - 1:
              f(x) = sign(x) ln(1 + mu |x|) / ln(1 + mu);  "linear" for 16 bits: f(x) = x
    rounding  "half-up": code = floor((f + 1) / 2 * mu + 0.5), decoded as f = 2 code / mu - 1
    silence   x = 0 has code 2**(bits - 1)
Other programs use mu = 256, truncation or another silence code; their codes are not these codes.
"""

import math

import torch
from torch import Tensor

MIN_BITS = 4
MAX_BITS = 10
LINEAR_BITS = 16


def silence_code(bits: int) -> int:
    """Give the code of x = 0."""
    return 1 << (bits - 1)


def encode(waveform: Tensor, bits: int = 8) -> Tensor:
    """Compand, unless there are 16 bits, and quantise to classes.

    Args:
        waveform: (..., T), in [-1, 1].
        bits: 4 to 10, or 16.
    Returns:
        (..., T) int64, 0 to 2**bits - 1; silence maps to 2**(bits - 1).
    Raises:
        ValueError: bits out of range, or a sample outside [-1, 1] or not finite.
    Source: van den Oord et al. 2016, section 2.2; ITU-T G.711.
    """
    mu = _largest(bits)
    if waveform.numel() and not bool((waveform.abs() <= 1).all()):
        raise ValueError(
            f"a waveform must lie in [-1, 1], found {waveform.abs().max().item():g}; scale it first"
        )
    if bits == LINEAR_BITS:
        # in float64: float32 cannot tell some neighbours of 65,536 classes apart
        return ((waveform.to(torch.float64) + 1) / 2 * mu + 0.5).to(torch.int64)
    x = waveform.to(torch.float32)
    companded = x.sign() * torch.log1p(mu * x.abs()) / math.log1p(mu)
    return ((companded + 1) / 2 * mu + 0.5).to(torch.int64)


def decode(codes: Tensor, bits: int = 8) -> Tensor:
    """Expand classes to the waveform value in the middle of each class.

    Args:
        codes: (..., T) integers, 0 to 2**bits - 1.
        bits: 4 to 10, or 16.
    Returns:
        (..., T) float32 in [-1, 1].
    Raises:
        ValueError: bits out of range, or a code outside the alphabet.
    Source: the inverse of `encode`.
    """
    mu = _largest(bits)
    if codes.numel() and not bool(((codes >= 0) & (codes <= mu)).all()):
        raise ValueError(f"codes must lie in 0 to {mu}, found {codes.min()} to {codes.max()}")
    if bits == LINEAR_BITS:
        return (codes.to(torch.float64) * 2 / mu - 1).to(torch.float32)
    companded = codes.to(torch.float32) * 2 / mu - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log1p(mu)) / mu


def _largest(bits: int) -> int:
    if not MIN_BITS <= bits <= MAX_BITS and bits != LINEAR_BITS:
        raise ValueError(f"bits must be {MIN_BITS} to {MAX_BITS} or {LINEAR_BITS}, found {bits}")
    return (1 << bits) - 1
