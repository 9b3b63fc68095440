"""Baselines of the likelihood: bits per code under simple models, fitted to other recordings.

Input: codes (T,) of recordings. Output: bits of each code, conditioned on the codes before. Each
baseline assigns every code a probability above 0, and the probabilities sum to 1, so that its bits
are those of an ideal compressor. The code before the first sample is silence, as for a checkpoint.
Called by `bits_per_sample`.

    histogram          frequency of each code, with one added to every count
    bigram             frequency of each code after the previous one, smoothed with the histogram
    linear prediction  order 16, with a logistic residual whose scale follows the latest residuals
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.codec import MAX_MU_LAW_BITS, Codec
from wavenet.model.code_intervals import CodeIntervals
from wavenet.model.least_squares import normal_equations, solve_equations

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

BIGRAM_PRIOR_COUNT = 10.0  # pseudo-counts per previous code
ORDER = 16
BLOCK_SAMPLES = 65_536  # samples per block of the normal equations
# Grid search for the scale of the residual, on recordings of the training set:
SEARCH_SAMPLES = 100_000
WINDOWS = (8, 16, 32, 64)  # number of residuals that are averaged
GAINS = (0.4, 0.55, 0.7, 0.85, 1.0)  # factor on that average
FLOORS = (3e-5, 1e-4, 3e-4, 1e-3)  # added to it; full scale is 1
MAX_SEARCH_SAMPLES = 1_000_000  # of one recording
CONTEXT = ORDER + max(WINDOWS)  # largest number of codes on which the bits of a code depend


class Baseline(Protocol):
    """A model of codes that is fitted to recordings."""

    def bits(self, codes: Codes) -> Floats:
        """Return -log2 of the probability of each code (T,), conditioned on the codes before."""
        ...


class Histogram:
    """The frequency of each code."""

    def __init__(self, recordings: Sequence[Codes], n_classes: int):
        counts = np.ones(n_classes)
        for codes in recordings:
            counts += np.bincount(codes, minlength=n_classes)
        self.probabilities = counts / counts.sum()

    def bits(self, codes: Codes) -> Floats:
        """Return bits (T,)."""
        return np.asarray(-np.log2(self.probabilities[codes]), np.float64)


class Bigram:
    """The frequency of each code, given the previous code.

    `BIGRAM_PRIOR_COUNT` pseudo-counts, distributed as the histogram, are added to each row.
    """

    def __init__(self, recordings: Sequence[Codes], n_classes: int, silence_code: int):
        self._silence_code = silence_code
        prior = Histogram(recordings, n_classes).probabilities
        counts = np.zeros(n_classes * n_classes)
        for codes in recordings:
            pairs = self._previous(codes) * n_classes + codes
            counts += np.bincount(pairs, minlength=counts.size)
        table = counts.reshape(n_classes, n_classes) + BIGRAM_PRIOR_COUNT * prior
        self.probabilities = table / table.sum(1, keepdims=True)  # (previous code, code)

    def bits(self, codes: Codes) -> Floats:
        """Return bits (T,)."""
        return np.asarray(-np.log2(self.probabilities[self._previous(codes), codes]), np.float64)

    def _previous(self, codes: Codes) -> Codes:
        return np.concatenate([[self._silence_code], codes[:-1]])


class LinearPrediction:
    """Linear prediction from 16 samples, with a residual of logistic distribution.

    The coefficients are fitted by weighted least squares. The weight of a sample is the inverse of
    the mean power of the 16 samples before it; otherwise loud passages would dominate. The scale of
    the residual is floor + gain x the mean magnitude of the latest residuals; a grid search on
    training recordings selects the window of that mean, gain and floor. The probability of a code
    is the probability of the interval between the midpoints to the adjacent codes; the outermost
    two intervals extend to infinity.
    """

    def __init__(self, recordings: Sequence[Codes], codec: Codec):
        levels = codec.levels.double()
        self.levels = levels.numpy()  # (n_classes,) amplitude of each code
        self.intervals = CodeIntervals(levels, "logistic")
        self.coefficients = _least_squares([self.levels[codes] for codes in recordings])
        lengths = [len(codes) for codes in recordings]
        chosen = select_evenly(lengths, SEARCH_SAMPLES)
        subset = [recordings[n][:MAX_SEARCH_SAMPLES] for n in chosen]
        grid = itertools.product(WINDOWS, GAINS, FLOORS)
        self.window, self.gain, self.floor = min(
            grid, key=lambda point: sum(float(self._bits(codes, *point).sum()) for codes in subset)
        )

    def bits(self, codes: Codes) -> Floats:
        """Return bits (T,)."""
        return self._bits(codes, self.window, self.gain, self.floor)

    def _bits(self, codes: Codes, window: int, gain: float, floor: float) -> Floats:
        predicted = self.predict(codes)
        residuals = np.abs(self.levels[codes] - predicted)
        scale = floor + gain * trailing_mean(residuals, window)
        tensors = (torch.from_numpy(values) for values in (predicted, scale, codes))
        nats = -self.intervals.log_probs(*tensors).numpy()
        return np.asarray(nats / np.log(2), np.float64)

    def predict(self, codes: Codes) -> Floats:
        """Return the prediction of each sample (T,) of the waveform from the samples before it."""
        sums = np.convolve(self.levels[codes], self.coefficients)
        return np.concatenate([[0.0], sums[: len(codes) - 1]])


def fit_baselines(recordings: Sequence[Codes], codec: Codec) -> dict[str, Baseline]:
    """Fit the baselines to training recordings, by name.

    Histogram and bigram are left out for 16-bit codes, whose counts would be almost all 0.
    """
    baselines: dict[str, Baseline] = {}
    if codec.bits <= MAX_MU_LAW_BITS:
        baselines["histogram"] = Histogram(recordings, codec.n_classes)
        baselines["bigram"] = Bigram(recordings, codec.n_classes, codec.silence_code)
    baselines["linear prediction"] = LinearPrediction(recordings, codec)
    return baselines


def select_evenly(lengths: Sequence[int], samples: int) -> list[int]:
    """Return indices of recordings, evenly spaced, with about `samples` in total; at least one."""
    number = len(lengths)
    count = min(number, max(1, number * samples // max(1, sum(lengths))))
    return [n * number // count for n in range(count)]


def _least_squares(waveforms: Sequence[Floats]) -> Floats:
    """Return the coefficients (ORDER,); the first is that of the latest sample."""
    products = torch.zeros(ORDER, ORDER, dtype=torch.float64)
    targets = torch.zeros(ORDER, dtype=torch.float64)
    for waveform in waveforms:
        padded = np.concatenate([np.zeros(ORDER), waveform])
        past = np.lib.stride_tricks.sliding_window_view(padded, ORDER)[: len(waveform), ::-1]
        for begin in range(0, len(waveform), BLOCK_SAMPLES):
            block = slice(begin, begin + BLOCK_SAMPLES)
            rows = torch.from_numpy(past[block].copy())
            sums = normal_equations(rows, torch.from_numpy(waveform[block]), is_weighted=True)
            products += sums[0]
            targets += sums[1]
    return np.asarray(solve_equations(products, targets).numpy(), np.float64)


def trailing_mean(values: Floats, window: int) -> Floats:
    """Return the mean of up to `window` values before each of (T,); 0 before the first."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    begin = np.maximum(0, here - window)
    # Rounding can make differences of long sums negative.
    return np.asarray(np.maximum(0, sums[here] - sums[begin]) / np.maximum(1, here - begin))
