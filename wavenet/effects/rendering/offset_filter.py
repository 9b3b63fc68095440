"""A high-pass filter that removes the offset (DC) of a model.

    y[t] = a * y[t-1] + (1 + a) / 2 * (x[t] - x[t-1]),   a = exp(-2 pi f / rate),   f = 5 Hz

A model that saturates unevenly has an offset, also at silence if it has no high-pass filter of its
own. Input: blocks of its output, changed in place without allocating memory. Called by
`effect_chain`.
"""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from wavenet.engines.cpu.jit import compiled

CUTOFF_HZ = 5.0  # a sine of this frequency loses 3 dB; at 80 Hz it loses 0.02 dB
INPUT, OUTPUT = range(2)  # of the state: the last ones

OffsetState = NDArray[np.float64]


class OffsetFilter:
    """Filters blocks in place.

    Args:
        rate: Hz.
    """

    def __init__(self, rate: float):
        self._pole = math.exp(-2 * math.pi * CUTOFF_HZ / rate)

    def start(self, level: float) -> OffsetState:
        """Return the state after a long time at a level, whose output is 0."""
        return np.array([level, 0.0])

    def process(self, state: OffsetState, block: NDArray[np.float32]) -> None:
        """Filter a block (n,) in place."""
        _filter(block, self._pole, state)


def _process(block, pole, state):  # type: ignore[no-untyped-def]
    """Compute the formula above; written for the compiler."""
    gain = 0.5 * (1.0 + pole)
    last, y = state[INPUT], state[OUTPUT]
    for t in range(block.shape[0]):
        x = block[t]
        y = pole * y + gain * (x - last)
        last = x
        block[t] = y
    state[INPUT], state[OUTPUT] = last, y


_filter = compiled(_process, [Path(__file__)])
