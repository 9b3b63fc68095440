"""A limiter that protects ears: no sample of the output is ever beyond its ceiling.

    needed[t] = min(1, ceiling / max over channels of |x[t]|)
    gain[t] = min(needed[t], gain[t-1] + (1 - gain[t-1]) * (1 - exp(-1 / (release * rate))))
    y[t] = clip(gain[t] * x[t], -ceiling, ceiling)

The gain falls at once and rises slowly, so the bound holds for every input without any delay; the
price is that the first half wave of a sudden peak is flattened. Samples that are not finite become
0. The gain starts at 0, so that sound fades in. Called by `live_effect`.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.engines.cpu.jit import compiled

RELEASE_SECONDS = 0.1
GAIN, LOWEST, INVALID = range(3)  # of the state


class OutputLimiter:
    """Limits blocks in place, without allocating memory.

    Args:
        ceiling: largest magnitude of the output, above 0, at most 1.
        rate: Hz.
        is_smooth: whether the gain is reduced; otherwise samples are only cut off.
    """

    def __init__(self, ceiling: float, rate: float, is_smooth: bool = True):
        # as float32, so that the bound is one number
        self.ceiling = float(np.nextafter(np.float32(ceiling), np.float32(0)))
        self._rise = 1 - math.exp(-1 / (RELEASE_SECONDS * rate))
        self._is_smooth = is_smooth
        self._state = np.array([0.0, 1.0, 0.0])

    @property
    def invalid_samples(self) -> int:
        """Samples so far that were not finite."""
        return int(self._state[INVALID])

    def process(self, block: NDArray[np.float32]) -> None:
        """Limit a block (channels, n) in place."""
        _limit(block, self.ceiling, self._rise, self._is_smooth, self._state)

    def take_lowest_gain(self) -> float:
        """Return the lowest gain since the last call, after the fade at the start."""
        lowest = float(self._state[LOWEST])
        self._state[LOWEST] = 1.0
        return lowest


def _process(block, ceiling, rise, is_smooth, state):  # type: ignore[no-untyped-def]
    """Compute the formulas above; written for the compiler."""
    gain = state[GAIN]
    for t in range(block.shape[1]):
        peak = 0.0
        for c in range(block.shape[0]):
            magnitude = abs(block[c, t])
            if not magnitude <= 3e38:
                block[c, t] = 0.0
                state[INVALID] += 1.0
            elif magnitude > peak:
                peak = magnitude
        gain += (1.0 - gain) * rise
        if is_smooth and gain * peak > ceiling:
            gain = ceiling / peak
        if peak > ceiling and gain < state[LOWEST]:
            state[LOWEST] = gain
        for c in range(block.shape[0]):
            y = gain * block[c, t]
            block[c, t] = min(ceiling, max(-ceiling, y))
    state[GAIN] = gain


_limit = compiled(_process, [Path(__file__)])
