"""Scale a generated clip to a peak or to a loudness.

Input: a waveform and the settings of the batch. Output: the scaled waveform, and a warning if it
does not have the loudness that was asked for. Called by `clip_writer`.
"""

import math
from typing import NamedTuple

from torch import Tensor

from audio_utils.lufs import clip_loudness
from wavenet.batch.batch_config import BatchSettings

PEAK_CEILING = 10 ** (-1 / 20)  # -1 dBFS, the highest peak after normalization
TOLERANCE_LU = 0.1  # the error that BS.1770 allows to a meter


class NormalizedClip(NamedTuple):
    """A clip after normalization.

    Attributes:
        warning: why it does not have the target loudness; None if it has, or if there is none.
    """

    waveform: Tensor
    warning: str | None = None


def normalize(waveform: Tensor, rate: int, settings: BatchSettings) -> NormalizedClip:
    """Scale a clip to the peak ceiling, or to a loudness as far as the peak ceiling allows.

    A clip of zeros is unchanged. So is a clip below -70 LUFS, the limit of the measure, if it is to
    be scaled to a loudness: it would become loud noise.
    """
    peak = float(waveform.abs().max())
    if settings.normalize == "none" or peak == 0:
        return NormalizedClip(waveform)
    largest_gain = PEAK_CEILING / peak
    if settings.normalize == "peak":
        return NormalizedClip(waveform * largest_gain)
    loudness = clip_loudness(waveform, rate)
    if loudness is None:
        return NormalizedClip(waveform, "quieter than -70 LUFS, so its loudness was not changed")
    gain = 10 ** ((settings.target_lufs - loudness) / 20)
    if gain <= largest_gain:
        return NormalizedClip(waveform * gain)
    reached = loudness + 20 * math.log10(largest_gain)
    warning = (
        f"{reached:.1f} LUFS instead of {settings.target_lufs:g} LUFS, because the peak is limited "
        "to -1 dBFS"
    )
    is_close = reached > settings.target_lufs - TOLERANCE_LU
    return NormalizedClip(waveform * largest_gain, None if is_close else warning)
