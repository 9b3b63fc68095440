"""Thresholds of window means for a number of false alarms an hour, from clean recordings.

All window lengths share one rate: each has the same number of blocks above its threshold, chosen
so that an alarm of any length is as frequent as requested. Rates too low to be counted are
extrapolated: the means beyond a high threshold are nearly exponential, so each further factor e of
the rate adds the same number of bits.

Recordings on which a model was trained surprise it less than others. If they are used, held-out
ones correct that: all thresholds are raised by one factor, until as many of their blocks are above
a threshold of the highest rate as of the others. A few recordings suffice for this one number.

Input: the excess of clean recordings, one after the other. Output: `TailThresholds`. Called by
`calibration` and by the measurement of other detectors.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.detection.window_means import WINDOW_SECONDS, block_maxima
from wavenet.errors import DataError

MAX_RATE = 1800.0  # false alarms an hour, one every two seconds
MIN_ALARMS = 10  # a rate that is counted from fewer alarms would be inexact
MIN_SECONDS = 60.0  # of clean sound
TAIL_BLOCKS = 50  # the largest block maxima, from which the extrapolation is fitted
MIN_THRESHOLD = 0.01  # bits per sample
MAX_FACTOR = 4.0  # by which held-out recordings may raise the thresholds


@dataclass(frozen=True)
class TailThresholds:
    """Thresholds of each window length, by the rate of false alarms.

    Attributes:
        hours: of clean sound.
        recordings: number of clean recordings.
        rates: (R,), false alarms an hour, the highest first.
        thresholds: (lengths, R), bits per sample.
        scales: (lengths,), bits per factor e of the rate, below the lowest rate.
    """

    hours: float
    recordings: int
    rates: tuple[float, ...]
    thresholds: tuple[tuple[float, ...], ...]
    scales: tuple[float, ...]


def measure_thresholds(
    excesses: Iterable[Tensor],
    sample_rate: int,
    seconds: Sequence[float] = WINDOW_SECONDS,
    held_out: Iterable[Tensor] = (),
) -> TailThresholds:
    """Measure the thresholds on clean recordings; an hour of sound needs 2 MB of memory.

    Args:
        excesses: (T,) of each recording.
        sample_rate: Hz.
        seconds: window lengths.
        held_out: (T,) of recordings on which the model was not trained, if it was trained on the
            others.
    Raises:
        DataError: there is less than a minute of sound, or it is all the same.
    """
    clean = _measure_blocks(excesses, sample_rate, seconds)
    if 3600 * clean.hours < MIN_SECONDS:
        raise DataError(
            f"the calibration needs {MIN_SECONDS:g} s of clean sound or more, found "
            f"{3600 * clean.hours:.1f} s"
        )
    ordered = clean.rows[clean.rows[:, 0] > -math.inf].sort(0, descending=True).values
    steps = _choose_steps(clean.rows, ordered, clean.hours)
    others = _measure_blocks(held_out, sample_rate, seconds)
    factor = _find_factor(clean, others, ordered[steps[0][1]])
    thresholds = tuple(
        tuple(max(MIN_THRESHOLD, factor * float(ordered[count, n])) for _, count in steps)
        for n in range(len(seconds))
    )
    rates = tuple(rate for rate, _ in steps)
    scales = tuple(factor * scale for scale in _fit_scales(ordered))
    return TailThresholds(clean.hours, clean.recordings, rates, thresholds, scales)


@dataclass(frozen=True)
class _Blocks:
    """The maxima of recordings: rows (N, lengths), with a row of -infinity after each recording."""

    rows: Tensor
    hours: float
    recordings: int


def _measure_blocks(
    excesses: Iterable[Tensor], sample_rate: int, seconds: Sequence[float]
) -> _Blocks:
    border = torch.full((1, len(seconds)), -math.inf)
    parts, samples, recordings = [border], 0, 0
    for excess in excesses:
        parts += [block_maxima(excess, sample_rate, seconds), border]
        samples, recordings = samples + excess.numel(), recordings + 1
    return _Blocks(torch.cat(parts), samples / sample_rate / 3600, recordings)


def _find_factor(clean: _Blocks, held_out: _Blocks, thresholds: Tensor) -> float:
    """Return the smallest factor, 1 to `MAX_FACTOR`, that makes alarms as rare as in `clean`.

    Blocks above a threshold are counted, not alarms, because very low thresholds join all blocks.
    """
    if not held_out.recordings:
        return 1.0
    share = _alarm_share(clean.rows, thresholds)
    for factor in torch.arange(1.0, MAX_FACTOR, 0.01).tolist():
        if _alarm_share(held_out.rows, factor * thresholds) <= share:
            return float(factor)
    return MAX_FACTOR


def _alarm_share(rows: Tensor, thresholds: Tensor) -> float:
    """Return the fraction of blocks in which any length exceeds its threshold."""
    return float((rows > thresholds).any(1).sum() / rows[:, 0].isfinite().sum())


def _choose_steps(rows: Tensor, ordered: Tensor, hours: float) -> list[tuple[float, int]]:
    """Return rates, the highest first, each with the number of blocks above every threshold."""
    steps: list[tuple[float, int]] = []
    for halvings in itertools.count():
        alarms = math.floor(MAX_RATE * hours / 2**halvings)
        if alarms < MIN_ALARMS:
            break
        count = _find_count(rows, ordered, alarms)
        rate = count_alarms(rows, ordered[count]) / hours
        if rate > 0 and (not steps or rate < steps[-1][0]):
            steps.append((rate, count))
    if not steps:
        raise DataError("the clean recordings are all alike, so nothing can be calibrated on them")
    return steps


def _find_count(rows: Tensor, ordered: Tensor, alarms: int) -> int:
    """Return the largest number of blocks above each threshold that makes at most these alarms."""
    low, high = 0, min(alarms, len(ordered) - 1)
    while low < high:
        middle = (low + high + 1) // 2
        if count_alarms(rows, ordered[middle]) <= alarms:
            low = middle
        else:
            high = middle - 1
    return low


def count_alarms(maxima: Tensor, thresholds: Tensor) -> int:
    """Count the runs of blocks in which the mean of any length exceeds its threshold.

    Args:
        maxima: (N, lengths); thresholds: (lengths,).
    """
    is_alarm = torch.nn.functional.pad((maxima > thresholds).any(1), (1, 0))
    return int((is_alarm[1:] & ~is_alarm[:-1]).sum())


def _fit_scales(ordered: Tensor) -> tuple[float, ...]:
    """Return the mean excess of the largest maxima (N, lengths) over the next one.

    Source: the maximum-likelihood estimate of an exponential distribution.
    """
    tail = min(TAIL_BLOCKS, len(ordered) - 1)
    return tuple((ordered[:tail] - ordered[tail]).mean(0).tolist())


def interpolate_threshold(
    rates: Sequence[float], thresholds: Sequence[float], scale: float, rate: float
) -> float:
    """Return the threshold of one window length for a rate, linear in the log of the rate.

    Args:
        rates: the highest first; thresholds: of these.
        scale: bits per factor e of the rate, below the lowest rate.
        rate: above 0; above the highest, the threshold is that of the highest.
    """
    if rate <= rates[-1]:
        return thresholds[-1] + scale * math.log(rates[-1] / rate)
    if rate >= rates[0]:
        return thresholds[0]
    n = next(n for n, known in enumerate(rates) if known <= rate)
    part = math.log(rates[n - 1] / rate) / math.log(rates[n - 1] / rates[n])
    return thresholds[n - 1] + part * (thresholds[n] - thresholds[n - 1])
