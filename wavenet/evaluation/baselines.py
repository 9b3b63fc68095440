"""What codes cost under simple models, learnt from other recordings: the bits to be beaten.

Codes (T,) of recordings enter; bits of every code given those before it leave. Each model gives
every code of the alphabet a probability above 0, and they sum to 1, so that its bits are what a
compressor would need. Before the first sample stands silence, as for a checkpoint.

    histogram          how often each code occurs, one added to every count
    bigram             how often it follows the code before it, drawn towards the histogram
    linear prediction  order 16, with a logistic residual as wide as the latest residuals are
"""

import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from wavenet.codec import Codec

Codes = NDArray[np.int64]
Numbers = NDArray[np.float64]

PRIOR = 10.0  # counts that the histogram is worth beside those of a code's predecessor
ORDER = 16
BLOCK = 65_536  # samples whose products are summed at once
# Searched, on recordings to learn from, for the width of the residual's distribution:
SEARCH_SAMPLES = 100_000
WINDOWS = (8, 16, 32, 64)  # samples whose residuals are averaged
GAINS = (0.4, 0.55, 0.7, 0.85, 1.0)  # of that average
FLOORS = (3e-5, 1e-4, 3e-4, 1e-3)  # added to it; full scale is 1


class Baseline(Protocol):
    """A model of codes that was fitted to some recordings."""

    def bits(self, codes: Codes) -> Numbers:
        """Give -log2 of the probability of each code (T,) given those before it."""
        ...


class Histogram:
    """How often each code occurs."""

    def __init__(self, recordings: Sequence[Codes], n_classes: int):
        counts = np.ones(n_classes)
        for codes in recordings:
            counts += np.bincount(codes, minlength=n_classes)
        self.shares = counts / counts.sum()

    def bits(self, codes: Codes) -> Numbers:
        """Give bits (T,)."""
        return np.asarray(-np.log2(self.shares[codes]), np.float64)


class Bigram:
    """How often each code follows another; the histogram counts as `PRIOR` occurrences more."""

    def __init__(self, recordings: Sequence[Codes], n_classes: int, silence_code: int):
        self._silence = silence_code
        shares = Histogram(recordings, n_classes).shares
        counts = np.zeros(n_classes * n_classes)
        for codes in recordings:
            counts += np.bincount(self._before(codes) * n_classes + codes, minlength=counts.size)
        table = counts.reshape(n_classes, n_classes) + PRIOR * shares
        self.shares = table / table.sum(1, keepdims=True)

    def bits(self, codes: Codes) -> Numbers:
        """Give bits (T,)."""
        return np.asarray(-np.log2(self.shares[self._before(codes), codes]), np.float64)

    def _before(self, codes: Codes) -> Codes:
        return np.concatenate([[self._silence], codes[:-1]])


class LinearPrediction:
    """A sample is a sum of the 16 before it, and a residual of a logistic distribution.

    The weights are those of least squares, where each sample counts by one over the mean power of
    the 16 before it, for loud passages would count alone. The scale of the residual is
    floor + gain x the mean size of the latest residuals; these three are the best of a grid, on
    recordings to learn from. A code's probability is what of the distribution lies between the
    middles to its neighbours; the outermost two reach to infinity.
    """

    def __init__(self, recordings: Sequence[Codes], alphabet: Codec):
        codes = torch.arange(alphabet.n_classes)
        self.levels = alphabet.decode(codes).double().numpy()
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        self.lower = np.concatenate([[-np.inf], middles])
        self.upper = np.concatenate([middles, [np.inf]])
        self.weights = _least_squares([self.levels[codes] for codes in recordings])
        lengths = [len(codes) for codes in recordings]
        some = [recordings[n] for n in spread(lengths, SEARCH_SAMPLES)]
        grid = itertools.product(WINDOWS, GAINS, FLOORS)
        self.window, self.gain, self.floor = min(
            grid, key=lambda choice: sum(float(self._bits(codes, *choice).sum()) for codes in some)
        )

    def bits(self, codes: Codes) -> Numbers:
        """Give bits (T,)."""
        return self._bits(codes, self.window, self.gain, self.floor)

    def _bits(self, codes: Codes, window: int, gain: float, floor: float) -> Numbers:
        expected = self.predict(codes)
        residuals = np.abs(self.levels[codes] - expected)
        scale = floor + gain * latest_mean(residuals, window)
        lower = (self.lower[codes] - expected) / scale
        upper = (self.upper[codes] - expected) / scale
        # F(upper) - F(lower) = F(upper) F(-lower) (1 - exp(lower - upper)), which loses no digits
        nats = np.logaddexp(0, -upper) + np.logaddexp(0, lower) - np.log(-np.expm1(lower - upper))
        return np.asarray(nats / np.log(2), np.float64)

    def predict(self, codes: Codes) -> Numbers:
        """Give what is expected of each sample (T,) of the waveform, from those before it."""
        sums = np.convolve(self.levels[codes], self.weights)
        return np.concatenate([[0.0], sums[: len(codes) - 1]])


def fit_baselines(recordings: Sequence[Codes], alphabet: Codec) -> dict[str, Baseline]:
    """Fit all that the alphabet allows: counts of 16-bit samples would hold next to nothing."""
    found: dict[str, Baseline] = {}
    if alphabet.law == "mu-law":
        found["histogram"] = Histogram(recordings, alphabet.n_classes)
        found["bigram"] = Bigram(recordings, alphabet.n_classes, alphabet.silence_code)
    found["linear prediction"] = LinearPrediction(recordings, alphabet)
    return found


def spread(lengths: Sequence[int], samples: int) -> list[int]:
    """Choose recordings of about so many samples in all, evenly over their order; at least one."""
    number = len(lengths)
    count = min(number, max(1, number * samples // max(1, sum(lengths))))
    return [n * number // count for n in range(count)]


def _least_squares(waveforms: Sequence[Numbers]) -> Numbers:
    """Fit the weights (ORDER,), that of the newest sample first."""
    products, targets = np.zeros((ORDER, ORDER)), np.zeros(ORDER)
    for waveform in waveforms:
        padded = np.concatenate([np.zeros(ORDER), waveform])
        past = np.lib.stride_tricks.sliding_window_view(padded, ORDER)[: len(waveform), ::-1]
        for begin in range(0, len(waveform), BLOCK):
            rows, wanted = past[begin : begin + BLOCK], waveform[begin : begin + BLOCK]
            weighted = rows / (np.square(rows).mean(1, keepdims=True) + 1e-6)
            products += weighted.T @ rows
            targets += weighted.T @ wanted
    # a little on the diagonal: silence, or a pure tone, has no one solution
    ridge = 1e-9 * np.trace(products) + 1e-12
    return np.asarray(np.linalg.solve(products + ridge * np.eye(ORDER), targets), np.float64)


def latest_mean(values: Numbers, window: int) -> Numbers:
    """Average up to `window` values before each (T,); 0 before the first."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    here = np.arange(len(values))
    begin = np.maximum(0, here - window)
    # differences of long sums may fall below 0 by rounding
    return np.asarray(np.maximum(0, sums[here] - sums[begin]) / np.maximum(1, here - begin))
