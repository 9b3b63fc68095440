"""Means of the excess over windows of several lengths, and their largest values block by block.

A click has a large excess in few samples; a foreign sound has a small excess in many. So each
length finds other faults. A window ends at a sample and contains only samples up to it.

Input: the excess (T,) of a recording. Output: means (T,), or maxima (blocks, lengths). Called by
`events` and `calibration`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

WINDOW_SECONDS = (0.0005, 0.002, 0.008, 0.032, 0.128)
# Events with a smaller distance are one event; the blocks of the calibration have this length.
MERGE_SECONDS = 0.05
PASS_SAMPLES = 1 << 20  # whose sums, in double precision, are computed at once


def to_samples(seconds: float, sample_rate: int) -> int:
    """Return a duration in samples, 1 or more."""
    return max(1, round(seconds * sample_rate))


def window_means(excess: Tensor, length: int) -> Tensor:
    """Return the mean of the last `length` values at every sample.

    Before the first sample the excess is 0.

    Args:
        excess: (T,) of a recording.
        length: of the window, samples.
    Returns:
        (T,) float32.
    """
    padded = torch.nn.functional.pad(excess, (length, 0))
    means = []
    for start in range(0, len(excess), PASS_SAMPLES):
        part = padded[start : start + PASS_SAMPLES + length].double()
        sums = torch.nn.functional.pad(part.cumsum(0), (1, 0))
        means.append(((sums[length + 1 :] - sums[1:-length]) / length).float())
    return torch.cat(means)


def block_maxima(excess: Tensor, sample_rate: int, seconds: Sequence[float]) -> Tensor:
    """Return the largest window mean in every block of `MERGE_SECONDS`, for each window length.

    Args:
        excess: (T,) of a recording.
        sample_rate: Hz.
        seconds: window lengths.
    Returns:
        (blocks, lengths) float32; the last block may be shorter.
    """
    block = to_samples(MERGE_SECONDS, sample_rate)
    columns = []
    for length in seconds:
        means = window_means(excess, to_samples(length, sample_rate))
        padded = torch.nn.functional.pad(means, (0, -len(means) % block), value=-torch.inf)
        columns.append(padded.view(-1, block).amax(1))
    return torch.stack(columns, dim=1)
