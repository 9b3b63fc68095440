"""How judges see clips of any length: numbers for one kind of judge, a picture for the other.

Waveforms enter, brought to one loudness and stretched to one number of frames; `Views` leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audio_utils.features import FeatureConfig, log_mel, mfcc

MFCC_FRAMES = 16
MEL_FRAMES = 48
MEL_BANDS = 40
RANGE_DB = 80.0
QUIETEST = 1e-3  # a peak below this is not made louder


@dataclass(frozen=True)
class Views:
    """Clips as the judges see them.

    Attributes:
        statistics: (N, D) float32: MFCCs stretched to `MFCC_FRAMES`, their mean and deviation.
        pictures: (N, MEL_BANDS, MEL_FRAMES) float32: log-mel energy, dB, over `RANGE_DB`.
    """

    statistics: NDArray[Any]
    pictures: Tensor

    def rows(self, chosen: Sequence[int] | NDArray[Any]) -> "Views":
        """Take some of the clips."""
        index = np.asarray(chosen)
        return Views(self.statistics[index], self.pictures[torch.from_numpy(index)])


def look(waveforms: Sequence[Tensor], sample_rate: int) -> Views:
    """See clips (T,) as the judges do, each by itself.

    Raises:
        AudioError: a clip without samples.
    """
    usual = FeatureConfig.default_for(sample_rate)
    coarse = replace(usual, n_mels=MEL_BANDS)
    statistics, pictures = [], []
    for waveform in waveforms:
        level = waveform / waveform.abs().max().clamp(min=QUIETEST) / 2
        statistics.append(_statistics(mfcc(level, usual)))
        decibels = log_mel(level, coarse)
        decibels = decibels.clamp(min=float(decibels.max()) - RANGE_DB)
        pictures.append(_stretched(decibels, MEL_FRAMES))
    return Views(torch.stack(statistics).numpy(), torch.stack(pictures))


def _statistics(frames: Tensor) -> Tensor:
    """Put what is said of MFCCs (C, F) into one row (D,)."""
    mean, deviation = frames.mean(1), frames.std(1, correction=0)
    return torch.cat([_stretched(frames, MFCC_FRAMES).flatten(), mean, deviation])


def _stretched(rows: Tensor, frames: int) -> Tensor:
    """Bring (rows, F) to so many frames, linearly."""
    return torch.nn.functional.interpolate(rows[None], frames, mode="linear")[0]
