"""Latency between a dry and a wet recording: by clicks and by correlation.

Input: two waveforms (T,) at one rate, of any lengths. Output: lags in samples; wet[n + lag] belongs
to dry[n]. Called by `pair_measurement`
and `pair_lag_curve`.

The correlation divides the cross-spectrum S(f) by its magnitude, so that only phases count (PHAT),
and weights each frequency by the coherence there, so that noise counts little. High frequencies
count as much as low ones; they arrive first, so the peak is near the first response of a filter.
The peak of a plain correlation is later, by the delay of the loudest frequencies: 8 samples for the
overdrive in the tests. A model needs the first response. The sign of the peak is the polarity.
Source: Knapp and Carter 1976, The generalized correlation method for estimation of time delay.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Samples = NDArray[np.float64]

MAX_SEARCH_SECONDS = 300.0  # of each recording, for the first search
MIN_PEAK_RATIO = 12.0  # peak of a correlation re its RMS; unrelated noise has 6 at most
CLICK_FRACTION = 0.1  # of the peak of a response: its onset
CLICK_QUIET = 0.01  # of the peak of a click: the largest sample around it
CLICK_SAMPLES = 8  # longest click
_UPSAMPLING = 32  # of a correlation around its peak
_REACH = 64  # samples on each side that the interpolation uses
_SEGMENT = 8192
_LOWEST_HZ = 30.0


@dataclass(frozen=True, eq=False)
class CorrelationLag:
    """A lag by correlation.

    Attributes:
        lag: samples, with a fraction.
        sign: 1, or -1 if the wet recording is inverted.
        peak_ratio: peak re the RMS of the correlation; below `MIN_PEAK_RATIO` the lag is a guess.
        lags, curve: whole lags around the peak and the correlation there, for a plot.
    """

    lag: float
    sign: int
    peak_ratio: float
    lags: NDArray[np.int64]
    curve: Samples

    @property
    def is_found(self) -> bool:
        """Whether the two recordings belong together."""
        return self.peak_ratio >= MIN_PEAK_RATIO


@dataclass(frozen=True, eq=False)
class ClickLags:
    """The onsets of the wet recording after isolated clicks of the dry one.

    Attributes:
        places: samples, of the clicks in the dry recording.
        lags: samples from each click to the onset of its response.
    """

    places: NDArray[np.int64]
    lags: NDArray[np.int64]

    @property
    def onset(self) -> int | None:
        """The smallest of the lags that agree with the median; None without clicks."""
        if not len(self.lags):
            return None
        near = self.lags[np.abs(self.lags - np.median(self.lags)) <= CLICK_SAMPLES]
        return int(near.min()) if len(near) else int(np.median(self.lags))


def find_lag(dry: Samples, wet: Samples, rate: int) -> CorrelationLag:
    """Return the lag of two recordings, searched over all lags and then refined.

    Args:
        dry, wet: (T,), finite, of any lengths.
        rate: Hz.
    """
    most = int(MAX_SEARCH_SECONDS * rate)
    dry, wet = dry[:most], wet[:most]
    size = fft.next_fast_len(len(dry) + len(wet), real=True)
    spectrum = np.conj(fft.rfft(dry, size)) * fft.rfft(wet, size)
    coarse = unit_phases(spectrum)
    coarse[: int(_LOWEST_HZ * size / rate)] = 0
    curve = fft.irfft(coarse, size)
    peak = int(np.argmax(np.abs(curve)))
    ratio = _peak_ratio(curve)
    lag = peak if peak < len(wet) else peak - size
    if ratio < MIN_PEAK_RATIO:
        return read_peak(coarse, size, ratio)
    first, second = align(dry, wet, lag)
    fine = read_peak(_weighted_phases(first, second, rate), _SEGMENT, ratio)
    return CorrelationLag(lag + fine.lag, fine.sign, ratio, fine.lags + lag, fine.curve)


def align(dry: Samples, wet: Samples, lag: int) -> tuple[Samples, Samples]:
    """Return the parts of both that belong together: wet[n + lag] beside dry[n]."""
    dry, wet = dry[max(0, -lag) :], wet[max(0, lag) :]
    length = min(len(dry), len(wet))
    return dry[:length], wet[:length]


def find_clicks(dry: Samples, rate: int) -> NDArray[np.int64]:
    """Return the places of isolated clicks: a few samples with quiet before and after them.

    Args:
        dry: (T,), finite.
        rate: Hz; 30 ms before a click and 20 ms after it must be quiet.
    """
    before, after = round(0.030 * rate), round(0.020 * rate)
    magnitude = np.abs(dry)
    loud = np.flatnonzero(magnitude > 0.1 * magnitude.max(initial=0))
    if not len(loud) or magnitude.max() == 0:
        return np.zeros(0, np.int64)
    # Groups of loud samples with gaps between them; a click is a short group.
    edges = np.flatnonzero(np.diff(loud) > before) + 1
    groups = np.split(loud, edges)
    places = []
    for group in groups:
        start, end = int(group[0]), int(group[-1]) + 1
        if end - start > CLICK_SAMPLES or start < before or end + after > len(dry):
            continue
        quiet = CLICK_QUIET * magnitude[start:end].max()
        margin = CLICK_SAMPLES
        around = (magnitude[start - before : start - margin], magnitude[end + margin : end + after])
        if max(part.max() for part in around) <= quiet:
            places.append(start + int(np.argmax(magnitude[start:end])))
    return np.array(places, np.int64)


def measure_click_lags(
    wet: Samples, clicks: NDArray[np.int64], rate: int, expected: int
) -> ClickLags:
    """Return the onset after each click.

    An onset is the first sample above `CLICK_FRACTION` of the peak of the response, and above twice
    the largest sample of the noise before it.

    Args:
        wet: (T,), finite.
        clicks: places in the dry recording.
        rate: Hz.
        expected: lag around which responses are searched, from 20 ms before to 100 ms after it.
    """
    before, after, noise_length = round(0.020 * rate), round(0.100 * rate), round(0.030 * rate)
    magnitude = np.abs(wet - np.mean(wet)) if len(wet) else wet
    places, lags = [], []
    for click in clicks:
        start = int(click) + expected - before
        response = magnitude[max(0, start) : max(0, start + before + after)]
        noise = magnitude[max(0, start - noise_length) : max(0, start)]
        if not len(response) or not len(noise):
            continue
        peak = float(response.max())
        threshold = max(CLICK_FRACTION * peak, 2 * float(noise.max()))
        if peak > 1.5 * threshold:
            places.append(int(click))
            lags.append(max(0, start) + int(np.argmax(response > threshold)) - int(click))
    return ClickLags(np.array(places, np.int64), np.array(lags, np.int64))


def unit_phases(spectrum: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Return a spectrum divided by its magnitude, without the bins that are only rounding."""
    magnitude = np.abs(spectrum)
    floor = 1e-9 * magnitude.max(initial=0)
    units = np.zeros_like(spectrum)
    np.divide(spectrum, magnitude, out=units, where=magnitude > max(floor, 1e-300))
    return units


def _weighted_phases(first: Samples, second: Samples, rate: int) -> NDArray[np.complex128]:
    """Return the phases of the mean cross-spectrum of aligned signals, weighted by coherence."""
    size = _SEGMENT
    if len(first) < size:
        padded = np.zeros((2, size))
        padded[:, : len(first)] = first, second
        first, second = padded
    count = min(2000, len(first) * 2 // size - 1)
    starts = np.linspace(0, len(first) - size, max(1, count)).astype(int)
    taper = np.hanning(size)
    cross = np.zeros(size // 2 + 1, complex)
    power = np.zeros((2, size // 2 + 1))
    for start in starts:
        part = slice(start, start + size)
        pair = fft.rfft(np.stack([first[part], second[part]]) * taper)
        cross += np.conj(pair[0]) * pair[1]
        power += np.abs(pair) ** 2
    floor = 1e-20 * power.max(axis=1, initial=0).prod()
    coherence = np.abs(cross) ** 2 / np.maximum(power.prod(axis=0), max(floor, 1e-300))
    # n independent segments of noise have a coherence of about 1 / n.
    noise = 2 / len(starts)
    weights = np.sqrt(np.clip(coherence - noise, 0, 1)) if len(starts) > 4 else 1.0
    phases: NDArray[np.complex128] = unit_phases(cross) * weights
    phases[: max(1, int(_LOWEST_HZ * size / rate))] = 0
    return phases


def read_peak(
    phases: NDArray[np.complex128],
    size: int,
    ratio: float | None = None,
    may_invert: bool = True,
) -> CorrelationLag:
    """Return the peak of the circular correlation of weighted phases, between samples.

    Args:
        phases: (size // 2 + 1,).
        size: samples of the correlation.
        ratio: its `peak_ratio`, if it is known.
        may_invert: whether a negative peak counts as well.
    """
    curve = fft.irfft(phases, size)
    ratio = _peak_ratio(curve) if ratio is None else ratio
    peak = int(np.argmax(np.abs(curve) if may_invert else curve))
    sign = 1 if curve[peak] >= 0 else -1
    lag = peak + _interpolate_peak(sign * curve[np.arange(peak - _REACH, peak + _REACH + 1) % size])
    lag = lag - size if peak > size // 2 else lag
    whole = round(lag)
    lags = np.arange(whole - 40, whole + 41)
    scale = max(float(np.abs(curve).max()), 1e-300)
    return CorrelationLag(lag, sign, ratio, lags, curve[lags % size] / scale)


def _interpolate_peak(values: Samples) -> float:
    """Return the place of the peak relative to the middle of 2 `_REACH` + 1 values, above -1 to 1.

    The values are interpolated by windowed sinc functions, then a parabola.
    """
    steps = np.arange(-_UPSAMPLING, _UPSAMPLING + 1) / _UPSAMPLING
    distance = steps[:, None] - np.arange(-_REACH, _REACH + 1)
    kernel = np.sinc(distance) * np.cos(np.pi / 2 * distance / (_REACH + 1.0)) ** 2
    dense = kernel @ values
    best = int(np.clip(np.argmax(dense), 1, len(dense) - 2))
    left, middle, right = dense[best - 1 : best + 2]
    bend = left - 2 * middle + right
    part = 0.0 if bend == 0 else float(np.clip(0.5 * (left - right) / bend, -1, 1))
    return float(steps[best]) + part / _UPSAMPLING


def _peak_ratio(curve: Samples) -> float:
    spread = float(np.sqrt(np.mean(curve**2)))
    return float(np.abs(curve).max()) / spread if spread > 0 else 0.0
