"""A linear filter fitted to a pair: what a model must be better than.

Input: a pair. Output: the taps of a causal filter of finite length with the smallest squared error
on the training part, and its ESR on another part. An effect that this filter describes as well has
no distortion to speak of. Called by the final table of a training.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from audio_utils.metrics import esr
from wavenet.effects.training.effect_pairs import Span, SplitPair

TAPS = 48
_BLOCK = 1 << 16  # samples whose shifted copies are in memory at once
_RIDGE = 1e-10  # of the mean power of the input, so that a silent band has a solution


def fit_linear_filter(
    split: SplitPair, pairs: Sequence[SplitPair] = (), taps: int = TAPS
) -> NDArray[np.float64]:
    """Return the taps, the newest sample first, by least squares on the training part; (taps,).

    Args:
        split: the pair.
        pairs: all pairs. If the pair has no training part, the filter is fitted to those of its
            setting that have one, or if there are none to the pair itself.
        taps: number of them.
    """
    gram, moment = np.zeros((taps, taps)), np.zeros(taps)
    for fitted, span in _fitted_spans(split, pairs):
        dry = fitted.pair.context(span, taps).double().numpy()
        wet = fitted.pair.wet[span.start : span.end].double().numpy()
        for start in range(0, len(wet), _BLOCK):
            end = min(start + _BLOCK, len(wet))
            shifted = _shifted(dry[start : end + taps - 1], taps)
            gram += shifted.T @ shifted
            moment += shifted.T @ wet[start:end]
    ridge = _RIDGE * max(float(np.trace(gram)) / taps, 1e-30)
    return np.asarray(np.linalg.solve(gram + ridge * np.eye(taps), moment), np.float64)


def linear_error(
    split: SplitPair, spans: Sequence[Span], filter_taps: NDArray[np.float64]
) -> float | None:
    """Return the ESR of a filter on spans of a pair; None without spans."""
    if not spans:
        return None
    taps = len(filter_taps)
    outputs = [
        np.convolve(split.pair.context(span, taps).double().numpy(), filter_taps, mode="valid")
        for span in spans
    ]
    return esr(split.wet_of(spans).double(), torch.from_numpy(np.concatenate(outputs)))


def _fitted_spans(split: SplitPair, pairs: Sequence[SplitPair]) -> list[tuple[SplitPair, Span]]:
    if split.training:
        return [(split, span) for span in split.training]
    same = [other for other in pairs if other.pair.setting == split.pair.setting]
    found = [(other, span) for other in same for span in other.training]
    return found or [(split, span) for span in split.validation or split.test]


def _shifted(dry: NDArray[np.float64], taps: int) -> NDArray[np.float64]:
    """Return (N, taps): row n has the samples n, n - 1, .. before and at output n."""
    windows = np.lib.stride_tricks.sliding_window_view(dry, taps)
    return np.ascontiguousarray(windows[:, ::-1])
