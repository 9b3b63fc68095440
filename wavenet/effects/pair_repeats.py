"""Repeated parts of the dry recording, which must give the same wet recording twice.

Input: a pair. Output: the parts, and the error between the wet copies, the best that any model of
this pair can reach. The parts are found by the autocorrelation of the dry recording with all
frequencies at one level, whose peak for a repeat is narrow, and then compared sample by sample. So
the layout of a file of test signals need not be known. Called by `pair_measurement`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from wavenet.effects.pair_latency import Samples
from wavenet.effects.pair_levels import find_runs

MAX_SEARCH_SECONDS = 600.0
MIN_SHIFT_SECONDS = 0.5
MIN_REPEAT_SECONDS = 0.5
SETTLE_SECONDS = (
    0.05  # after the start of a part, where the effect still depends on what was before
)
EQUAL_ESR = 1e-4  # of a block of the dry recording and its copy
QUIET = 1e-3  # re the RMS of the recording: such blocks are not compared
MAX_CANDIDATES = 8
_BLOCK_SECONDS = 0.05


@dataclass(frozen=True)
class RepeatedPart:
    """A part of the dry recording that occurs twice.

    Attributes:
        start, again: samples, of both copies.
        samples: length.
    """

    start: int
    again: int
    samples: int


@dataclass(frozen=True)
class RepeatError:
    """Difference between the wet copies of a part.

    Attributes:
        part: in the dry recording.
        esr: energy of the difference re the mean energy of both copies.
    """

    part: RepeatedPart
    esr: float


def find_repeats(dry: Samples, rate: int) -> list[RepeatedPart]:
    """Return the repeated parts of a recording, the longest first.

    Args:
        dry: (T,), finite; only the first `MAX_SEARCH_SECONDS` are searched.
        rate: Hz.
    """
    dry = dry[: int(MAX_SEARCH_SECONDS * rate)]
    parts: list[RepeatedPart] = []
    for shift in _likely_shifts(dry, rate):
        parts += _equal_parts(dry, rate, shift)
    parts.sort(key=lambda part: -part.samples)
    kept: list[RepeatedPart] = []
    for part in parts:
        # Three copies have three shifts: each part counts once.
        if all(abs(part.start - k.start) >= k.samples for k in kept):
            kept.append(part)
    return kept


def compare_repeats(
    wet: Samples, parts: list[RepeatedPart], lag: int, rate: int
) -> list[RepeatError]:
    """Return the difference of the wet copies of each part; parts that the wet lacks are left out.

    Args:
        wet: (T,), finite.
        parts: of the dry recording.
        lag: samples, of the wet recording.
        rate: Hz.
    """
    errors = []
    for part in parts:
        first, second = wet_copies(wet, part, lag, rate)
        energy = 0.5 * float(np.sum(first**2) + np.sum(second**2))
        if len(first) and energy > 0:
            errors.append(RepeatError(part, float(np.sum((first - second) ** 2)) / energy))
    return errors


def wet_copies(wet: Samples, part: RepeatedPart, lag: int, rate: int) -> tuple[Samples, Samples]:
    """Return both wet copies of a part, of equal length, without the settling of the effect."""
    settle = round(SETTLE_SECONDS * rate)
    starts = [max(0, place + lag + settle) for place in (part.start, part.again)]
    length = min(part.samples - settle, len(wet) - max(starts))
    first, second = (wet[start : start + max(0, length)] for start in starts)
    return first, second


def _likely_shifts(dry: Samples, rate: int) -> list[int]:
    """Return the shifts with the highest peaks of the whitened autocorrelation."""
    size = fft.next_fast_len(2 * len(dry), real=True)
    spectrum = np.abs(fft.rfft(dry, size))
    floor = 1e-6 * spectrum.max(initial=0)
    if floor == 0:
        return []
    # The square root of the power: repeats of quiet high frequencies count as well as loud ones.
    curve = fft.irfft(spectrum / np.sqrt(np.maximum(spectrum, floor)), size)
    first = int(MIN_SHIFT_SECONDS * rate)
    curve = curve[first : len(dry) - int(MIN_REPEAT_SECONDS * rate)]
    threshold = 8 * float(np.sqrt(np.mean(curve**2))) if len(curve) else 0.0
    shifts: list[int] = []
    high = np.flatnonzero(curve > threshold)
    for place in high[np.argsort(-curve[high])]:
        shift = int(place) + first
        if len(shifts) >= MAX_CANDIDATES:
            break
        if all(abs(shift - other) > 0.01 * rate for other in shifts):
            shifts.append(shift)
    return shifts


def _equal_parts(dry: Samples, rate: int, shift: int) -> list[RepeatedPart]:
    """Return the parts that are equal to the recording a shift later."""
    size = round(_BLOCK_SECONDS * rate)
    count = (len(dry) - shift) // size
    first = dry[: count * size].reshape(count, size)
    second = dry[shift : shift + count * size].reshape(count, size)
    energy = np.sum(first**2, axis=1)
    difference = np.sum((first - second) ** 2, axis=1)
    quiet = QUIET**2 * size * float(np.mean(dry**2))
    both_quiet = (energy < quiet) & (np.sum(second**2, axis=1) < quiet)
    equal = (difference <= EQUAL_ESR * energy) | both_quiet
    found = []
    for start, end in find_runs(equal, round(MIN_REPEAT_SECONDS / _BLOCK_SECONDS)):
        if (~both_quiet[start:end]).sum() >= MIN_REPEAT_SECONDS / _BLOCK_SECONDS / 2:
            found.append(RepeatedPart(start * size, start * size + shift, (end - start) * size))
    return found
