"""Filter a waveform until it has the mel spectrogram that was asked for.

Enters: a waveform that is nearly right, such as a vocoder's, and mel energies. Leaves: the waveform
with its harmonics, noise and phases, under the envelope of those energies. No learning, no
reference: like Griffin-Lim it knows nothing but the mel spectrogram. Callers: the command line and
the evaluation of vocoders.

A filter says nothing of what it is given: white noise filtered so is whispered speech, and measures
of envelopes, PESQ among them, like it well. So a vocoder that is filtered must be compared with
noise that is filtered the same way.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import FLOOR_POWER, FeatureConfig, mel_filters, mel_spectrogram

ITERATIONS = 8  # a filter smears into the frames beside its own, so that one is not enough
LIMIT_DB = 15.0  # of one iteration: what is not there at all cannot be made louder without end


def match_mel(
    waveform: Tensor, target: Tensor, config: FeatureConfig, iterations: int = ITERATIONS
) -> Tensor:
    """Give every frame the energies asked for, by a gain for every frame and frequency.

    Args:
        waveform: (T,) float32 or float64, finite.
        target: (n_mels, 1 + T // hop_length), as `mel_spectrogram` gives it.
        config: of the target; the hop is at most half of the window.
        iterations: 0 changes nothing.
    Returns:
        (T,) of the same type; peaks may pass +-1.
    Raises:
        AudioError: a hop too long, or energies of another shape, negative or not finite.
    """
    _check(waveform, target, config, iterations)
    window = torch.hann_window(config.win_length, dtype=waveform.dtype)
    filters = mel_filters(config).to(waveform)  # (n_mels, bins)
    reach = filters.sum(0)
    # each bin takes the mean of the bands that it lies in; one that lies in none stays as it is
    spread = torch.where(reach > 0, filters / reach.clamp(min=1e-12), 0.0).T
    goal = target.to(waveform).clamp(min=FLOOR_POWER)
    samples, frames = len(waveform), target.shape[1]
    # with frames behind the end as well: where but the edge of one window lies, joining divides by
    # next to nothing
    waveform = F.pad(waveform, (0, -samples % config.hop_length + config.win_length))
    for _ in range(iterations):
        own = mel_spectrogram(waveform, config)[:, :frames].clamp(min=FLOOR_POWER)
        gains = spread @ (10 * (goal / own).log10()).clamp(-LIMIT_DB, LIMIT_DB)
        spectrum = torch.stft(
            waveform,
            config.n_fft,
            config.hop_length,
            config.win_length,
            window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        behind = gains[:, -1:].expand(-1, spectrum.shape[1] - frames)
        waveform = torch.istft(
            spectrum * 10 ** (torch.cat([gains, behind], dim=1) / 20),
            config.n_fft,
            config.hop_length,
            config.win_length,
            window,
            center=True,
            length=len(waveform),
        )
        waveform[samples:] = 0
    return waveform[:samples]


def _check(waveform: Tensor, target: Tensor, config: FeatureConfig, iterations: int) -> None:
    if 2 * config.hop_length > config.win_length:
        raise AudioError(
            f"hop_length {config.hop_length} must not exceed half of win_length "
            f"{config.win_length}, or filtered frames do not join."
        )
    if iterations < 0:
        raise AudioError(f"iterations must be at least 0, not {iterations}.")
    if waveform.ndim != 1 or not waveform.numel() or not bool(waveform.isfinite().all()):
        raise AudioError("Expected a waveform of shape (T,), finite, with at least one sample.")
    expected = (config.n_mels, 1 + len(waveform) // config.hop_length)
    if tuple(target.shape) != expected:
        raise AudioError(
            f"Expected energies of {expected[0]} filters x {expected[1]} frames for "
            f"{len(waveform):,} samples, got {' x '.join(map(str, target.shape))}."
        )
    if not bool(((target >= 0) & target.isfinite()).all()):
        raise AudioError("Expected finite energies of 0 or more; compute the spectrogram again.")
