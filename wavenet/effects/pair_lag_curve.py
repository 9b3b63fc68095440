"""Latency of a pair over time: dropped samples and clocks of different speed.

Input: two waveforms and their lag. Output: a lag per window. The phases of a window are compared
with those of the part of the recordings that is most coherent, so that an effect that delays
frequencies differently has the lag 0 everywhere. The weights of the frequencies are the square
roots of the coherence and of the power. Called by `pair_measurement`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from wavenet.effects.pair_latency import (
    CorrelationLag,
    Samples,
    align,
    read_peak,
    unit_phases,
)

WINDOW_SECONDS = 0.4  # about
MAX_WINDOWS = 600
# Smaller ones are not told from windows of low frequencies only, whose lags vary by 1 or 2 samples.
MIN_JUMP = 2.5  # samples between two windows
MAX_RIVAL = 0.6  # of the peak: the correlation at the lag of the window before
QUIET = 0.03  # of the RMS of a recording: windows below it are left out
_PARTS = 8  # of the recordings, of which the most coherent is the reference
_MIN_PART = 6  # windows

Spectra = NDArray[np.complex64]


@dataclass(frozen=True, eq=False)
class LagCurve:
    """Lags of windows over time.

    Attributes:
        starts: samples, of the windows in the dry recording in which a lag was found and
            is not ambiguous.
        lags: samples, relative to their median.
        misses: number of windows with sound in which no lag was found.
        jumps: (sample of the first window after a jump, change of the lag in samples).
        slope: change of the lag in samples per sample, without the jumps.
    """

    starts: NDArray[np.int64]
    lags: Samples
    misses: int
    jumps: tuple[tuple[int, float], ...]
    slope: float

    @property
    def drift(self) -> float:
        """Change of the lag from the first to the last window, samples, without jumps."""
        return self.slope * float(self.starts[-1] - self.starts[0]) if len(self.starts) else 0.0


def measure_lag_curve(dry: Samples, wet: Samples, rate: int, lag: int) -> LagCurve:
    """Return the lags of windows, their jumps and their slope.

    Args:
        dry, wet: (T,), finite.
        rate: Hz.
        lag: samples, of the whole recordings; windows may differ from it by a third of a window.
    """
    dry_part, wet_part = align(dry, wet, lag)
    window = 1 << round(np.log2(WINDOW_SECONDS * rate))
    starts = _loud_windows(dry_part, window)
    spectra = _window_spectra(dry_part, wet_part, starts, window)
    reference = np.conj(_best_reference(spectra))
    kept: list[int] = []
    lags: list[float] = []
    misses = 0
    for start, (first, second) in zip(starts, spectra, strict=True):
        cross = np.conj(first) * second
        phases = unit_phases(cross) * np.sqrt(np.abs(cross)) * reference
        found = read_peak(phases, 2 * window)
        if not found.is_found or abs(found.lag) >= window / 3:
            misses += 1
        elif not _is_ambiguous(phases, window, found, lags[-1] if lags else 0.0):
            kept.append(int(start) + max(0, -lag))
            lags.append(found.lag)
    places, values = np.array(kept, np.int64), np.array(lags, float)
    values = values - np.median(values) if len(values) else values
    jumps = _find_jumps(values)
    flat = values.copy()
    for index, size in jumps:
        flat[index:] -= size
    named = tuple((int(places[index]), size) for index, size in jumps)
    return LagCurve(places, values, misses, named, _median_slope(places, flat))


def _is_ambiguous(
    phases: NDArray[np.complex128], window: int, found: CorrelationLag, before: float
) -> bool:
    """Return whether the lag of the window before fits nearly as well, as with low notes only."""
    if abs(found.lag - before) < MIN_JUMP / 2:
        return False
    curve = np.abs(fft.irfft(phases, 2 * window))
    near = np.arange(round(before) - 1, round(before) + 2) % len(curve)
    return bool(curve[near].max() > MAX_RIVAL * curve.max())


def _loud_windows(samples: Samples, window: int) -> NDArray[np.int64]:
    """Return the starts of at most `MAX_WINDOWS` windows that are not quiet."""
    count = len(samples) // window
    if not count:
        return np.zeros(0, np.int64)
    powers = np.mean(samples[: count * window].reshape(count, window) ** 2, axis=1)
    loud = np.flatnonzero(powers > QUIET**2 * powers.mean())
    return (loud[:: max(1, -(-len(loud) // MAX_WINDOWS))] * window).astype(np.int64)


def _window_spectra(
    first: Samples, second: Samples, starts: NDArray[np.int64], window: int
) -> Spectra:
    """Return the spectra (windows, 2, bins) of both signals, with zeros behind every window."""
    spectra = np.empty((len(starts), 2, window + 1), np.complex64)
    taper = np.hanning(window)
    for n, start in enumerate(starts):
        part = slice(int(start), int(start) + window)
        spectra[n] = fft.rfft(np.stack([first[part], second[part]]) * taper, 2 * window)
    return spectra


def _best_reference(spectra: Spectra) -> NDArray[np.complex128]:
    """Return the phases of the most coherent part, weighted by the coherence."""
    count = max(1, min(_PARTS, len(spectra) // _MIN_PART))
    best, best_coherence = np.zeros(spectra.shape[-1], np.complex128), -1.0
    for part in np.array_split(spectra, count):
        if not len(part):
            continue
        cross = np.einsum("nf,nf->f", np.conj(part[:, 0]), part[:, 1]).astype(np.complex128)
        powers = np.einsum("ncf,ncf->cf", np.abs(part), np.abs(part)).astype(np.float64)
        floor = 1e-20 * powers.max(axis=1).prod()
        coherence = np.abs(cross) ** 2 / np.maximum(powers.prod(axis=0), max(floor, 1e-300))
        if coherence.mean() > best_coherence:
            best, best_coherence = unit_phases(cross) * np.sqrt(coherence), float(coherence.mean())
    return best


def _find_jumps(lags: Samples) -> tuple[tuple[int, float], ...]:
    """Return the changes between neighbouring lags that last: (index, samples)."""
    jumps: list[tuple[int, float]] = []
    for n in range(2, len(lags) - 1):
        change = float(np.median(lags[n : n + 3]) - np.median(lags[max(0, n - 3) : n]))
        step = lags[n] - lags[n - 1]
        is_same = abs(step - change) < MIN_JUMP and (not jumps or n > jumps[-1][0] + 2)
        if abs(step) >= MIN_JUMP and abs(change) >= MIN_JUMP and is_same:
            jumps.append((n, float(np.round(change))))
    return tuple(jumps)


def _median_slope(places: NDArray[np.int64], lags: Samples) -> float:
    """Return the slope between the medians of the first and of the last third."""
    third = len(lags) // 3
    if third < 2:
        return 0.0
    distance = float(np.mean(places[-third:]) - np.mean(places[:third]))
    return float(np.median(lags[-third:]) - np.median(lags[:third])) / distance
