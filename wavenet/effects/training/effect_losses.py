"""Losses of effects: how far outputs are from the wet recording.

Input: outputs and targets (N,) of a window. Output: a scalar, a weighted sum of

    mse              mean (t - y)²
    esr              the same, relative to the mean power of the wet recording of the pair
    emphasised_mse   both after pre-emphasis, e_n = x_n - p x_(n-1): high frequencies count more
    emphasised_esr   the same, relative to the power of the wet recording after pre-emphasis
    spectral         mean over three resolutions of |T - Y| / |T| (Frobenius norms of magnitudes)
                     and of the mean of |log T - log Y|: phases do not count

The power is that of the whole training part of a pair, not of the window, so that quiet windows do
not dominate; the mean over all windows of a pair is its ESR. Called by `train_effect`. Sources:
Wright and Välimäki 2020, Perceptual loss function for neural modelling of audio systems; Yamamoto
et al. 2020, Parallel WaveGAN.
"""

from dataclasses import dataclass
from typing import Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from audio_utils.features import FeatureConfig, stft_magnitude
from wavenet.config import Fraction, StrictConfig

# transform, window and hop, samples
STFT_SIZES = ((512, 240, 50), (1024, 600, 120), (2048, 1200, 240))
_MAGNITUDE_FLOOR = 1e-5  # 20 dB below the rounding of 16 bits in these windows
_LOSS_NAMES = ("mse", "esr", "emphasised_mse", "emphasised_esr", "spectral")


class LossWeights(StrictConfig):
    """Factors of the losses; 0: not used.

    Attributes:
        mse, esr, emphasised_mse, emphasised_esr, spectral: see the file.
        pre_emphasis: coefficient p.
    """

    mse: float = Field(default=0.0, ge=0, le=1e6)
    esr: float = Field(default=1.0, ge=0, le=1e6)
    emphasised_mse: float = Field(default=0.0, ge=0, le=1e6)
    emphasised_esr: float = Field(default=0.0, ge=0, le=1e6)
    spectral: float = Field(default=0.0, ge=0, le=1e6)
    pre_emphasis: Fraction = 0.85

    @model_validator(mode="after")
    def _one_is_used(self) -> Self:
        if not any(getattr(self, name) for name in _LOSS_NAMES):
            raise ValueError(f"expected a weight above 0 of one of {', '.join(_LOSS_NAMES)}")
        return self


@dataclass(frozen=True)
class WetPower:
    """Mean squares of the wet recording of a pair.

    Attributes:
        plain: of the samples.
        emphasised: after pre-emphasis.
    """

    plain: float
    emphasised: float


def measure_power(wet: Tensor, pre_emphasis: float) -> WetPower:
    """Return the power of the wet samples (T,) of the training part of a pair."""
    wide = wet.double()
    emphasised = emphasise(wide, pre_emphasis).square().mean()
    return WetPower(float(wide.square().mean()), float(emphasised))


def emphasise(samples: Tensor, coefficient: float) -> Tensor:
    """Return x_n - p x_(n-1) for n from 1: (N,) to (N - 1,), without limits."""
    return samples[1:] - coefficient * samples[:-1]


def window_loss(outputs: Tensor, wet: Tensor, power: WetPower, weights: LossWeights) -> Tensor:
    """Return the loss of a window, a scalar.

    Args:
        outputs, wet: (N,).
        power: of the pair.
        weights: of the losses.
    """
    loss = outputs.new_zeros(())
    if weights.mse or weights.esr:
        error = (wet - outputs).square().mean()
        loss = loss + (weights.mse + weights.esr / power.plain) * error
    if weights.emphasised_mse or weights.emphasised_esr:
        error = emphasise(wet - outputs, weights.pre_emphasis).square().mean()
        factor = weights.emphasised_mse + weights.emphasised_esr / power.emphasised
        loss = loss + factor * error
    if weights.spectral:
        loss = loss + weights.spectral * spectral_loss(outputs, wet)
    return loss


def spectral_loss(outputs: Tensor, wet: Tensor) -> Tensor:
    """Return the distance of the magnitudes of short-time spectra of (N,) samples, a scalar."""
    losses = []
    for n_fft, win_length, hop_length in STFT_SIZES:
        config = FeatureConfig(1, n_fft, win_length, hop_length, n_mels=1, n_mfcc=1)
        found, wanted = (stft_magnitude(x, config) for x in (outputs, wet))
        norm = wanted.square().sum().sqrt().clamp(min=_MAGNITUDE_FLOOR)
        convergence = (wanted - found).square().sum().clamp(min=_MAGNITUDE_FLOOR**2).sqrt() / norm
        logs = (x.clamp(min=_MAGNITUDE_FLOOR).log() for x in (found, wanted))
        losses.append(convergence + (next(logs) - next(logs)).abs().mean())
    return torch.stack(losses).mean()
