"""What an effect does to a sine: its transfer curve, and harmonics by frequency and level.

Input: a function of waveforms, such as `EffectChain.render`. Output: points of a curve, and a table
of distortions. The sines have a whole number of periods in a power of 2 of samples, so every
harmonic is in one bin of the transform. The total harmonic distortion (THD) of a sine with the
harmonics A_1, A_2, ... is sqrt(A_2^2 + A_3^2 + ...) / A_1; there are none above half the rate.
`aliasing` measures what is between the harmonics. Called by the studio.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import fft

from wavenet.effects.pair_latency import Samples

CURVE_HZ = 100.0
CURVE_POINTS = 400
FREQUENCIES = (82.0, 165.0, 330.0, 660.0, 1320.0, 2640.0, 5280.0)
LEVELS_DB = (-36.0, -24.0, -12.0, 0.0)  # peak, re full scale
_SAMPLES = 1 << 13
_SETTLE_SECONDS = 0.25  # before what is measured: models remember so much, and filters settle
_AFTER = 1 << 10  # samples after it, for filters that look ahead

Effect = Callable[[Samples], Samples]


@dataclass(frozen=True, eq=False)
class TransferCurve:
    """One period of the output against the input.

    Attributes:
        frequency: Hz, of the sine.
        inputs, outputs: (points,) each.
    """

    frequency: float
    inputs: Samples
    outputs: Samples


@dataclass(frozen=True)
class Distortion:
    """The harmonics of one sine.

    Attributes:
        frequency: Hz, of the sine.
        level_db: peak of the sine, re full scale.
        output_db: peak of the fundamental of the output, re full scale; -inf without any.
        thd: total harmonic distortion, 0 to infinity; NaN if there is no fundamental.
    """

    frequency: float
    level_db: float
    output_db: float
    thd: float


def measure_transfer(effect: Effect, rate: int, peak: float = 1.0) -> TransferCurve:
    """Return output against input for one period of a slow sine.

    An effect without memory makes a line; filters and a delay of phase make a loop.

    Args:
        effect: maps a waveform (T,) to one of the same length, and starts from silence.
        rate: Hz.
        peak: of the sine.
    """
    period = round(rate / CURVE_HZ)
    settle = -(-round(_SETTLE_SECONDS * rate) // period) * period
    sine = peak * np.sin(2 * np.pi / period * np.arange(settle + 2 * period + _AFTER))
    output = effect(sine)
    chosen = settle + np.linspace(0, period, min(CURVE_POINTS, period), endpoint=False).astype(int)
    return TransferCurve(rate / period, sine[chosen], np.asarray(output, np.float64)[chosen])


def measure_distortion(
    effect: Effect,
    rate: int,
    frequencies: Sequence[float] = FREQUENCIES,
    levels_db: Sequence[float] = LEVELS_DB,
) -> list[Distortion]:
    """Return the distortion of sines of all frequencies and levels, frequency by frequency.

    Args:
        effect: as in `measure_transfer`.
        rate: Hz.
        frequencies: Hz; each is moved to the nearest whole number of periods. Those from a quarter
            of the rate on are left out, as they have no harmonics below half of it.
        levels_db: peaks, re full scale.
    """
    usable = [hertz for hertz in frequencies if hertz < rate / 4]
    return [_measure_sine(effect, rate, hertz, level) for hertz in usable for level in levels_db]


def _measure_sine(effect: Effect, rate: int, frequency: float, level_db: float) -> Distortion:
    periods = max(1, round(frequency * _SAMPLES / rate))
    settle = round(_SETTLE_SECONDS * rate)
    steps = np.arange(settle + _SAMPLES + _AFTER)
    sine = 10 ** (level_db / 20) * np.sin(2 * np.pi * periods / _SAMPLES * steps)
    output = np.asarray(effect(sine), np.float64)[settle : settle + _SAMPLES]
    amplitudes = np.abs(fft.rfft(output))[periods::periods] * (2 / _SAMPLES)
    fundamental = float(amplitudes[0])
    harmonics = math.sqrt(float(np.sum(amplitudes[1:] ** 2)))
    output_db = 20 * math.log10(fundamental) if fundamental else -math.inf
    thd = harmonics / fundamental if fundamental else math.nan
    return Distortion(periods * rate / _SAMPLES, level_db, output_db, thd)
