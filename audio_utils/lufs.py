"""Integrated loudness of a recording in LUFS, the broadcast standard ITU-R BS.1770.

Input: a waveform (T,) and its sample rate. Output: LUFS. Called by `analysis` and by the loudness
normalization of batches.

Clips shorter than a gating block of 0.4 s have no gated loudness. `clip_loudness` measures them by
the loudness of an interval, which the standard defines without gates, over the whole clip. It is
not padded with silence, which would lower its loudness by 3 dB at half a block: the same sound then
has the same loudness in clips of 0.2 s and of 0.5 s, and at 0.4 s both measures are equal.

Why no library (BS.1770 allows an error of 0.1 LU):
    torchaudio 2.11   its filter is not that of the standard: 0.27 LU off at 997 Hz.
    pyloudnorm 0.2.0  its default filter is 0.18 LU off at 997 Hz and a rate of 8 kHz. With its
                      filter "DeMan" it agrees with this file to 1e-12 LU, except that it counts an
                      incomplete last block, which the standard excludes: up to 0.3 LU off.
"""

import math

import torch
from torch import Tensor

from audio_utils.features import import_torchaudio_functional

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
# The K weighting: a high shelf, which models the head, and a high-pass; each with its frequency in
# Hz and its Q. The mid-band gain of the shelf is a power of its gain. At 48 kHz the coefficients
# are those of the table in the standard.
_SHELF = (1681.9744509555319, 0.7071752369554193)
_SHELF_DB, _SHELF_MID_EXPONENT = 3.99984385397, 0.499666774155
_HIGH_PASS = (38.13547087613982, 0.5003270373253953)


def integrated_loudness(waveform: Tensor, sample_rate: int) -> float | None:
    """Return the gated loudness of one channel; an incomplete last block is not counted.

    Args:
        waveform: (T,) in [-1, 1].
        sample_rate: Hz, 4,000 or more.
    Returns:
        LUFS; None if shorter than 0.4 s, or if every block is below -70 LUFS.
    Raises:
        AudioError: torchaudio cannot be loaded.
    Source: ITU-R BS.1770-4; coefficients for any rate as in libebur128.
    """
    block = round(_BLOCK_SECONDS * sample_rate)
    return None if len(waveform) < block else _gated_loudness(waveform, sample_rate, block)


def clip_loudness(waveform: Tensor, sample_rate: int) -> float | None:
    """Return the loudness of a clip of any length.

    From 0.4 s on it is the integrated loudness. A shorter clip is measured as one block of its own
    length; the absolute gate applies to it.

    Args:
        waveform: (T,) in [-1, 1].
        sample_rate: Hz, 4,000 or more.
    Returns:
        LUFS; None if empty, or if every block is below -70 LUFS.
    Raises:
        AudioError: torchaudio cannot be loaded.
    """
    block = min(round(_BLOCK_SECONDS * sample_rate), len(waveform))
    return _gated_loudness(waveform, sample_rate, block) if block else None


def _gated_loudness(waveform: Tensor, sample_rate: int, block: int) -> float | None:
    """Return the loudness over the blocks of this number of samples that pass both gates."""
    power = _k_weight(waveform.double(), sample_rate).square()
    blocks = power.unfold(0, block, round(_STEP_SECONDS * sample_rate)).mean(1)
    audible = blocks[_lufs(blocks) > _ABSOLUTE_GATE_LUFS]
    if not len(audible):
        return None
    gated = audible[_lufs(audible) > _lufs(audible.mean()) + _RELATIVE_GATE_LU]
    return float(_lufs(gated.mean()))


def _k_weight(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return a waveform (T,) after the K weighting filter."""
    lfilter = import_torchaudio_functional().lfilter
    k, denominator = _filter_denominator(*_SHELF, sample_rate)
    high, slope = 10 ** (_SHELF_DB / 20), k / _SHELF[1]
    mid = high**_SHELF_MID_EXPONENT * slope
    zeros = [high + mid + k**2, 2 * (k**2 - high), high - mid + k**2]
    numerator = torch.tensor(zeros, dtype=torch.float64) / (1 + slope + k**2)
    waveform = lfilter(waveform, denominator, numerator, clamp=False)
    _, denominator = _filter_denominator(*_HIGH_PASS, sample_rate)
    numerator = torch.tensor([1.0, -2.0, 1.0], dtype=torch.float64)
    weighted: Tensor = lfilter(waveform, denominator, numerator, clamp=False)
    return weighted


def _filter_denominator(frequency: float, q: float, sample_rate: int) -> tuple[float, Tensor]:
    """Return k = tan(pi f / rate), and the denominator (3,) of a second-order filter."""
    k = math.tan(math.pi * frequency / sample_rate)
    norm = 1 + k / q + k**2
    coefficients = [1.0, 2 * (k**2 - 1) / norm, (1 - k / q + k**2) / norm]
    return k, torch.tensor(coefficients, dtype=torch.float64)


def _lufs(power: Tensor) -> Tensor:
    """Return the loudness of K-weighted mean squares."""
    return -0.691 + 10 * power.log10()
