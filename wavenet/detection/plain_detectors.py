"""Two plain detectors without a model, to compare with the likelihood.

    energy jump           change of the level between two neighbouring windows, dB
    prediction residual   error of a linear prediction relative to its recent size, bits

Input: a waveform. Output: the excess (T,) of every sample, which `tail_thresholds` and `events`
treat like that of a model. Called by `benchmarks/detection.py`.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter
from torch import Tensor

LEVEL_SECONDS = 0.005
FLOOR = 1e-3  # amplitude, about that of the background; below it, levels do not differ
ORDER = 16
FRAME_SECONDS = 0.032
RECENT_SECONDS = 0.016  # of the residual that sets the scale


def energy_jump(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the difference of the levels after and before every sample, (T,) dB, 0 or above."""
    x = waveform.numpy().astype(np.float64)
    length = round(LEVEL_SECONDS * sample_rate)
    sums = np.concatenate([[0.0], np.cumsum(x**2)])
    at = np.arange(len(x))
    before = (sums[at] - sums[np.maximum(at - length, 0)]) / length
    after = (sums[np.minimum(at + length, len(x))] - sums[at]) / length
    change = 10 * np.log10((after + FLOOR**2) / (before + FLOOR**2))
    return torch.from_numpy(np.abs(change).astype(np.float32))


def prediction_residual(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return log2 of the residual of linear prediction relative to its recent mean, (T,) bits.

    The coefficients are those of the frame around each sample, by the autocorrelation method.

    Source: Makhoul 1975.
    """
    x = waveform.numpy().astype(np.float64)
    frame = round(FRAME_SECONDS * sample_rate)
    residual = np.empty_like(x)
    for start in range(0, len(x), frame):
        around = x[max(0, start - frame // 2) : start + frame + frame // 2]
        coefficients = _predictor(around)
        first = max(0, start - ORDER)
        part = lfilter(np.concatenate([[1.0], -coefficients]), [1.0], x[first : start + frame])
        residual[start : start + frame] = part[start - first :]
    magnitude = np.abs(residual)
    recent = round(RECENT_SECONDS * sample_rate)
    sums = np.concatenate([np.zeros(recent + 1), np.cumsum(magnitude)])
    counts = np.minimum(np.arange(len(x)), recent)
    mean = (sums[recent : recent + len(x)] - sums[: len(x)]) / np.maximum(counts, 1)
    mean[:1] = magnitude[:1]
    ratio = np.log2((magnitude + FLOOR) / (mean + FLOOR))
    return torch.from_numpy(ratio.astype(np.float32))


def _predictor(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the coefficients (ORDER,) that predict x from the samples before it."""
    windowed = x * np.hanning(len(x))
    full = np.correlate(windowed, windowed, mode="full")[len(x) - 1 :]
    correlations = np.pad(full, (0, max(0, ORDER + 1 - len(full))))[: ORDER + 1]
    correlations[0] = correlations[0] * (1 + 1e-6) + 1e-9
    return np.asarray(solve_toeplitz(correlations[:ORDER], correlations[1:]))
