"""Oversampling by 2 or 4, so that a distortion makes fewer aliases.

Input: blocks (n,) at a rate; between `up` and `down` the caller computes at 2 or 4 times that
rate. Output: blocks (n,). A distortion makes harmonics above half the rate; they are folded to
frequencies that are no harmonics (aliases). At a higher rate they have their own place, and `down`
removes them.

The filters are half-band filters with linear phase: every second coefficient is 0, apart from the
middle one, so one of both phases is a delay. The first stage separates 0.45 of the rate from 0.55.
The second stage, between 2 and 4 times the rate, has more space and is short. All state is in an
`OversamplingState`. A network with dilations hears time in samples: at a higher rate its dilations
must be multiplied by the factor. For the rendering of effects.
Source: Kaiser 1974, Nonrecursive digital filter design using the I0-sinh window function.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]
FACTORS = (1, 2, 4)
STOP_DB = 100.0
# Coefficients, 4 k - 1. With 31 up and 35 down the latency of the second stage is a whole number.
_FIRST_STAGE = 127
_SECOND_STAGE = (31, 35)  # up, down


@dataclass(eq=False)
class OversamplingState:
    """Past samples of all filters; `up` and `down` change them in place.

    Attributes:
        up_past: one array for each stage, at the lower rate of the stage.
        down_past: the same, for both phases, at the lower rate: (2, samples).
    """

    up_past: list[Samples]
    down_past: list[Samples]


class Oversampler:
    """Conversion between a rate and 1, 2 or 4 times that rate.

    Args:
        factor: 1, 2 or 4.
    Attributes:
        latency: samples at the lower rate by which `down(up(x))` is late.
    """

    def __init__(self, factor: int):
        if factor not in FACTORS:
            raise ValueError(f"expected a factor of 1, 2 or 4, found {factor}")
        self.factor = factor
        stages = {1: 0, 2: 1, 4: 2}[factor]
        up = (_FIRST_STAGE, _SECOND_STAGE[0])[:stages]
        down = (_FIRST_STAGE, _SECOND_STAGE[1])[:stages]
        self._up = [half_band(length) for length in up]
        self._down = [half_band(length) for length in down]
        # of both filters of a stage, at its upper rate
        delays = [(a - 1) // 2 + (b - 1) // 2 for a, b in zip(up, down, strict=True)]
        self.latency = sum(delay // 2 ** (n + 1) for n, delay in enumerate(delays))

    def start(self) -> OversamplingState:
        """Return the state of silence."""
        up = [np.zeros(len(h) // 2) for h in self._up]
        down = [np.zeros((2, len(h) // 2 + 1)) for h in self._down]
        return OversamplingState(up, down)

    def up(self, state: OversamplingState, block: Samples) -> Samples:
        """Return a block (n,) at the higher rate, (factor n,)."""
        for n, coefficients in enumerate(self._up):
            block = _stretch(coefficients, state.up_past, n, block)
        return block

    def down(self, state: OversamplingState, block: Samples) -> Samples:
        """Return a block (factor n,) of the higher rate at the lower rate, (n,)."""
        if len(block) % self.factor:
            raise ValueError(f"expected a multiple of {self.factor} samples, found {len(block)}")
        for n, coefficients in reversed(list(enumerate(self._down))):
            block = _decimate(coefficients, state.down_past, n, block)
        return block


def half_band(length: int) -> Samples:
    """Return the coefficients of a half-band low-pass with a sum of 1.

    Args:
        length: 4 k - 1.
    """
    middle = length // 2
    beta = 0.1102 * (STOP_DB - 8.7)
    n = np.arange(length) - middle
    windowed = 0.5 * np.sinc(n / 2) * np.kaiser(length, beta)
    coefficients = np.asarray(windowed, np.float64)
    coefficients[n % 2 == 0] = 0.0
    # The odd ones sum to one half, so that both phases have the same gain.
    coefficients *= 0.5 / coefficients.sum()
    coefficients[middle] = 0.5
    return coefficients


def oversample(
    function: Callable[[Samples], Samples], signal: NDArray[np.floating], factor: int
) -> Samples:
    """Return a function of a whole signal, computed at a higher rate, without the latency.

    Args:
        function: maps (n,) to (n,) sample by sample.
        signal: (n,).
        factor: 1, 2 or 4.
    """
    oversampler = Oversampler(factor)
    state = oversampler.start()
    padded = np.concatenate([np.asarray(signal, np.float64), np.zeros(oversampler.latency)])
    late = oversampler.down(state, function(oversampler.up(state, padded)))
    return late[oversampler.latency :]


def _stretch(h: Samples, pasts: list[Samples], stage: int, block: Samples) -> Samples:
    """Return a block at twice the rate, by the two phases of a half-band filter."""
    past = pasts[stage]
    signal = np.concatenate([past, block])
    pasts[stage] = signal[len(signal) - len(past) :]
    output = np.empty(2 * len(block))
    if len(block):
        # Even outputs: the coefficients beside the middle. Odd outputs: the middle, a delay.
        output[0::2] = 2 * np.convolve(signal, h[0::2], "valid")
        start = len(past) - (len(h) // 2 - 1) // 2
        output[1::2] = 2 * h[len(h) // 2] * signal[start : start + len(block)]
    return output


def _decimate(h: Samples, pasts: list[Samples], stage: int, block: Samples) -> Samples:
    """Return a block at half the rate, by the two phases of a half-band filter."""
    past = pasts[stage]
    phases = np.concatenate([past, block.reshape(-1, 2).T], axis=1)
    pasts[stage] = phases[:, phases.shape[1] - past.shape[1] :]
    count = len(block) // 2
    if not count:
        return np.zeros(0)
    middle, taps = len(h) // 2, h[0::2]
    # y[m] = sum over j of h[j] x[2 m - j]: even j meet even samples, the middle an odd one.
    start = past.shape[1] - (len(taps) - 1)
    filtered = np.convolve(phases[0, start:], taps, "valid")
    place = past.shape[1] - (middle + 1) // 2
    output: Samples = filtered + h[middle] * phases[1, place : place + count]
    return output
