"""Levels of a recording of a pair: peak, RMS, DC, clipping, silence, gaps, noise.

Input: waveforms (T,) in [-1, 1]. Output: numbers. Called by `pair_measurement`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from audio_utils.levels import (
    BLOCK_SECONDS,
    FULL_SCALE,
    MIN_CLIPPED_RUN,
    SILENCE_DB,
    decibels,
    peak_of,
)
from wavenet.effects.pair_latency import Samples

FLAT_TOLERANCE = 2**-15  # between samples of a flat top: rounding of 16 bits
FLAT_STEP = 1e-3  # re the peak: a flat top begins with a step; the top of a sine does not
QUIET_DB = -70.0  # RMS of a block of the dry recording: the wet recording is then noise
TAIL_SECONDS = 0.1  # of the effect, before its noise is measured
MIN_QUIET_SECONDS = 0.2
LOUD_DB = -50.0  # RMS of a block of the dry recording that an effect answers
MIN_GAP = 16  # samples that are exactly 0


@dataclass(frozen=True)
class RecordingLevels:
    """Levels of one recording.

    Attributes:
        peak_db, rms_db: re full scale; RMS without DC.
        dc: mean of the samples.
        full_scale: share of the samples that are in runs at full scale.
        flat_tops: number of flat tops at the largest or the smallest value, below full scale.
        silent: share of the blocks of 10 ms that are silent (below -60 dB).
    """

    peak_db: float
    rms_db: float
    dc: float
    full_scale: float
    flat_tops: int
    silent: float

    @property
    def crest_db(self) -> float:
        """Peak re RMS."""
        return self.peak_db - self.rms_db


@dataclass(frozen=True)
class NoiseFloor:
    """Noise of the wet recording where the dry one is quiet.

    Attributes:
        rms_db: re full scale, without DC.
        seconds: length of the parts.
    """

    rms_db: float
    seconds: float


def measure_recording(samples: Samples, rate: int) -> RecordingLevels:
    """Return the levels of a recording (T,), T >= 1, finite."""
    dc = float(np.mean(samples))
    blocks = block_levels(samples, rate)
    return RecordingLevels(
        decibels(peak_of(samples.astype(np.float32))),
        decibels(float(np.std(samples))),
        dc,
        float(np.mean(find_full_scale(samples))),
        len(find_flat_tops(samples)),
        float(np.mean(blocks < SILENCE_DB)),
    )


def block_levels(samples: Samples, rate: int) -> Samples:
    """Return the RMS of blocks of 10 ms in dB; the last block may be shorter."""
    size = max(1, round(BLOCK_SECONDS * rate))
    starts = np.arange(0, len(samples), size)
    powers = np.add.reduceat(np.square(samples), starts)
    counts = np.diff(np.append(starts, len(samples)))
    levels: Samples = 10 * np.log10(np.maximum(powers / counts, 1e-20))
    return levels


def find_full_scale(samples: Samples) -> NDArray[np.bool_]:
    """Return which samples are in runs of `MIN_CLIPPED_RUN` or more at full scale."""
    found = np.zeros(len(samples), bool)
    for start, end in find_runs(np.abs(samples) >= FULL_SCALE, MIN_CLIPPED_RUN):
        found[start:end] = True
    return found


def find_flat_tops(samples: Samples) -> list[int]:
    """Return the starts of runs at the largest or smallest value that begin with a step.

    Runs at full scale are not counted: they are those of `find_full_scale`.
    """
    places = []
    for signed in (samples, -samples):
        top = float(signed.max())
        if top >= FULL_SCALE or top <= 0:
            continue
        for start, end in find_runs(signed >= top - FLAT_TOLERANCE, MIN_CLIPPED_RUN):
            before = signed[start - 1] if start else top
            after = signed[end] if end < len(signed) else top
            if top - max(before, after) > FLAT_STEP * top:
                places.append(start)
    return sorted(places)


def find_runs(mask: NDArray[np.bool_], shortest: int) -> list[tuple[int, int]]:
    """Return (start, end) of the runs of true values with at least `shortest` of them."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    pairs = edges.reshape(-1, 2)
    return [(int(a), int(b)) for a, b in pairs if b - a >= shortest]


def find_gaps(dry: Samples, wet: Samples, rate: int) -> list[tuple[int, int]]:
    """Return (start, end) of exact zeros in the wet recording while the dry one is loud.

    Args:
        dry, wet: (T,), aligned.
        rate: Hz.
    """
    size = max(1, round(BLOCK_SECONDS * rate))
    loud = block_levels(dry, rate) > LOUD_DB
    gaps = []
    for start, end in find_runs(wet == 0, MIN_GAP):
        first, last = start // size, min((end - 1) // size, len(loud) - 1)
        if loud[first : last + 1].any() and np.any(wet[:start]) and np.any(wet[end:]):
            gaps.append((start, end))
    return gaps


def find_quiet_parts(dry: Samples, rate: int) -> list[tuple[int, int]]:
    """Return (start, end) of the quiet parts of the dry recording, without the tails of effects."""
    size = max(1, round(BLOCK_SECONDS * rate))
    quiet = block_levels(dry, rate) < QUIET_DB
    tail = round(TAIL_SECONDS / BLOCK_SECONDS)
    parts = find_runs(quiet, round(MIN_QUIET_SECONDS / BLOCK_SECONDS))
    # The start of a recording has no sound before it.
    return [(start * size + tail * size * bool(start), end * size) for start, end in parts]


def measure_noise(dry: Samples, wet: Samples, rate: int) -> NoiseFloor | None:
    """Return the noise of the wet recording; None if the dry one has no quiet part.

    Args:
        dry, wet: (T,), aligned.
        rate: Hz.
    """
    parts = [wet[start:end] for start, end in find_quiet_parts(dry, rate)]
    parts = [part - np.mean(part) for part in parts if len(part)]
    if not parts:
        return None
    quiet = np.concatenate(parts)
    return NoiseFloor(decibels(float(np.sqrt(np.mean(quiet**2)))), len(quiet) / rate)
