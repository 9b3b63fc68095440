"""Loudness of a whole recording, as broadcasters measure it.

Enters: a waveform (T,) and its rate. Leaves: LUFS. Caller: `analysis`. torchaudio has it too, but
its filter differs from that of the standard: 0.27 LU at 997 Hz, where 0.1 is allowed.
"""

import math

import torch
from torch import Tensor

from audio_utils.features import torchaudio_functional

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_LOWEST_LUFS = -70.0
_BELOW_MEAN_LU = -10.0
# Centre in Hz and quality of the shelf, which stands for the head, and of the high-pass; the gain
# of the shelf, and of its middle as a power of that. At 48 kHz they give the table of the standard.
_SHELF = (1681.9744509555319, 0.7071752369554193)
_SHELF_DB, _SHELF_MIDDLE = 3.99984385397, 0.499666774155
_HIGH_PASS = (38.13547087613982, 0.5003270373253953)


def integrated_loudness(waveform: Tensor, sample_rate: int) -> float | None:
    """Return the gated loudness of one channel.

    Args:
        waveform: (T,) in [-1, 1].
        sample_rate: Hz, 4,000 or more.
    Returns:
        LUFS; None below 0.4 s, and where every block is below -70 LUFS.
    Raises:
        AudioError: torchaudio cannot be loaded.
    Source: ITU-R BS.1770-4; coefficients for any rate as in libebur128.
    """
    block = round(_BLOCK_SECONDS * sample_rate)
    if len(waveform) < block:
        return None
    power = _weighted(waveform.double(), sample_rate).square()
    blocks = power.unfold(0, block, round(_STEP_SECONDS * sample_rate)).mean(1)
    heard = blocks[_lufs(blocks) > _LOWEST_LUFS]
    if not len(heard):
        return None
    loud = heard[_lufs(heard) > _lufs(heard.mean()) + _BELOW_MEAN_LU]
    return float(_lufs(loud.mean()))


def _weighted(waveform: Tensor, sample_rate: int) -> Tensor:
    """Apply the K weighting."""
    lfilter = torchaudio_functional().lfilter
    tangent, poles = _poles(*_SHELF, sample_rate)
    high, slope = 10 ** (_SHELF_DB / 20), tangent / _SHELF[1]
    middle = high**_SHELF_MIDDLE * slope
    zeros = [high + middle + tangent**2, 2 * (tangent**2 - high), high - middle + tangent**2]
    shelf = torch.tensor(zeros, dtype=torch.float64)
    waveform = lfilter(waveform, poles, shelf / (1 + slope + tangent**2), clamp=False)
    _, poles = _poles(*_HIGH_PASS, sample_rate)
    weighted: Tensor = lfilter(
        waveform, poles, torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64), clamp=False
    )
    return weighted


def _poles(centre: float, quality: float, sample_rate: int) -> tuple[float, Tensor]:
    """Return tan(pi f / rate), and the denominator of a second-order filter."""
    tangent = math.tan(math.pi * centre / sample_rate)
    slope = tangent / quality
    whole = 1 + slope + tangent**2
    poles = [1.0, 2 * (tangent**2 - 1) / whole, (1 - slope + tangent**2) / whole]
    return tangent, torch.tensor(poles, dtype=torch.float64)


def _lufs(power: Tensor) -> Tensor:
    return -0.691 + 10 * power.log10()
