"""The null test: what is left when one waveform is subtracted from another.

Input: two waveforms of one length. Output: their difference, its level, and the gain of the second
one. With `is_scaled`, the gain is that of the smallest difference, so only what a volume control
cannot do is left:

    difference = first - a second,    a = <first, second> / <second, second>

Called by the studio.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class NullTest:
    """The difference of two waveforms.

    Attributes:
        difference: (channels, T).
        gain: of the second waveform.
        level_db: energy of the difference re that of the first waveform; -inf if they are equal,
            NaN if the first is silent.
    """

    difference: Rows
    gain: float
    level_db: float

    @property
    def is_silent(self) -> bool:
        """Whether nothing is left."""
        return self.level_db == -math.inf


def subtract(first: Rows, second: Rows, is_scaled: bool) -> NullTest:
    """Return the null test of two waveforms.

    Args:
        first: (channels, T).
        second: the same shape, or one channel, which is subtracted from all.
        is_scaled: whether the second is scaled for the smallest difference.
    Raises:
        ValueError: the lengths differ.
    """
    a, b = np.broadcast_arrays(np.asarray(first, np.float64), np.asarray(second, np.float64))
    power = float(np.sum(b**2))
    gain = 1.0
    if is_scaled:
        gain = float(np.sum(a * b)) / power if power else 0.0
    difference = a - gain * b
    left, whole = float(np.sum(difference**2)), float(np.sum(a**2))
    if not whole:
        level = math.nan
    else:
        level = 10 * math.log10(left / whole) if left else -math.inf
    return NullTest(difference.astype(np.float32), gain, level)
