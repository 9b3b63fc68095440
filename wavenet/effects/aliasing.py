"""Aliases of a distortion: energy at frequencies that are no harmonics of the input.

Input: a function of waveforms. Output: levels in dB. The input is a sine with an odd number of
periods in a power of 2 of samples: then no alias of a harmonic below that number falls on another
harmonic, and every component is in one bin of the transform. For measures of effects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from wavenet.effects.pair_latency import Samples

DEFAULT_FREQUENCIES = (500.0, 1000.0, 2000.0, 3000.0, 4000.0, 6000.0, 8000.0, 10_000.0)
_SAMPLES = 1 << 15
_SETTLE = 1 << 12  # samples before and after them, for filters that look at both
_FLOOR = 1e-20


@dataclass(frozen=True)
class AliasLevel:
    """Aliases of one sine.

    Attributes:
        frequency: Hz, of the sine.
        level_db: energy of all that is no harmonic and no DC, re the energy of the harmonics.
    """

    frequency: float
    level_db: float


def measure_aliases(
    function: Callable[[Samples], Samples],
    rate: int,
    frequencies: Sequence[float] = DEFAULT_FREQUENCIES,
    amplitude: float = 1.0,
    highest: float | None = None,
) -> list[AliasLevel]:
    """Return the level of the aliases for sines of several frequencies.

    Args:
        function: maps a waveform (T,) to one of the same length; it starts from silence.
        rate: Hz.
        frequencies: Hz; each is moved to the nearest odd number of periods.
        amplitude: of the sines.
        highest: Hz; components above it are not counted, as they cannot be heard. None: all.
    """
    return [_measure_sine(function, rate, hz, amplitude, highest) for hz in frequencies]


def _measure_sine(
    function: Callable[[Samples], Samples],
    rate: int,
    frequency: float,
    amplitude: float,
    highest: float | None,
) -> AliasLevel:
    periods = max(1, 2 * int(frequency * _SAMPLES / rate / 2) + 1)
    phase = 2 * np.pi * periods / _SAMPLES * np.arange(2 * _SETTLE + _SAMPLES)
    output = function(amplitude * np.sin(phase))[_SETTLE : _SETTLE + _SAMPLES]
    powers = np.abs(fft.rfft(output)) ** 2
    powers[0] = 0
    if highest is not None:
        powers[int(highest * _SAMPLES / rate) + 1 :] = 0
    harmonics = float(powers[periods::periods].sum())
    aliases = float(powers.sum()) - harmonics
    ratio = max(aliases, _FLOOR * harmonics) / max(harmonics, 1e-300)
    return AliasLevel(periods * rate / _SAMPLES, 10 * float(np.log10(max(ratio, _FLOOR))))
