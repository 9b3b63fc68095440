"""The Griffin-Lim baseline vocoder: a waveform from a mel spectrogram, without training.

Input: a recording, of which only the mel spectrogram and the length are used, or a mel spectrogram.
Output: a waveform with nearly the same mel spectrogram. Called by the evaluation of vocoders, which
compares a trained vocoder with it, and by `sound_images`.
"""

import torch
from torch import Tensor

from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, mel_spectrogram


def griffin_lim(
    waveform: Tensor, sample_rate: int, config: FeatureConfig, iterations: int = 60
) -> Tensor:
    """Compute the mel spectrogram of a recording and estimate a waveform from it.

    Three steps: non-negative least squares from mel filters to bins, fast Griffin-Lim for the
    phase from a fixed random start, and one gain that restores the mel energy. Only the mel
    spectrogram and the number of samples of the recording are used.

    Args:
        waveform: (T,), float32 or float64, finite, T >= 1.
        sample_rate: Hz, that of config.
        config: all settings except n_mfcc are used; the hop is at most half of the window, a
            quarter or less is better.
        iterations: of Griffin-Lim, 1 or more.
    Returns:
        (T,) float32 on the CPU, deterministic; peaks may exceed +-1.
    Raises:
        AudioError: an invalid waveform or setting, or different sample rates.
    Source: Griffin and Lim 1984; Perraudin et al. 2013 (momentum 0.99); librosa.griffinlim.
    """
    _check(waveform, sample_rate, config, iterations)
    samples = len(waveform)
    signal = waveform.detach().to("cpu", torch.float32)
    # A clip shorter than one transform is padded with silence.
    signal = torch.nn.functional.pad(signal, (0, max(0, config.n_fft - samples)))
    mel = mel_spectrogram(signal, config)
    return griffin_lim_mel(mel, len(signal), config, iterations)[:samples]


def griffin_lim_mel(
    mel: Tensor, samples: int, config: FeatureConfig, iterations: int = 60
) -> Tensor:
    """Estimate a waveform from a mel spectrogram, as `griffin_lim` does.

    Args:
        mel: (n_mels, 1 + samples // hop_length) float32, energies, 0 or more.
        samples: of the result, at least n_fft.
        config: of the spectrogram, as for `griffin_lim`.
        iterations: of Griffin-Lim, 1 or more.
    Returns:
        (samples,) float32 on the CPU, deterministic; zeros if the spectrogram is zero.
    """
    # Imported here because it is slow, and only the baseline needs it.
    import librosa

    if not mel.any():
        return torch.zeros(samples)
    magnitude = librosa.feature.inverse.mel_to_stft(
        mel.numpy(),
        sr=config.sample_rate,
        n_fft=config.n_fft,
        power=2.0,
        fmin=config.f_min,
        fmax=config.upper_edge_hz,
        htk=False,
        norm="slaney",
    )
    estimate = librosa.griffinlim(
        magnitude,
        n_iter=iterations,
        hop_length=config.hop_length,
        win_length=config.win_length,
        n_fft=config.n_fft,
        window="hann",
        center=True,
        length=samples,
        pad_mode="constant",
        momentum=0.99,
        random_state=0,
    )
    result = torch.from_numpy(estimate)
    energy = mel_spectrogram(result, config).sum()
    return result * (mel.sum() / energy).sqrt()


def _check(waveform: Tensor, sample_rate: int, config: FeatureConfig, iterations: int) -> None:
    if sample_rate != config.sample_rate:
        raise AudioError(
            f"Expected a recording at {config.sample_rate:,} Hz, the rate of the settings, got "
            f"{sample_rate:,} Hz; resample the recording or change the settings."
        )
    if iterations < 1:
        raise AudioError(f"iterations must be at least 1, not {iterations}.")
    if 2 * config.hop_length > config.win_length:
        raise AudioError(
            f"hop_length {config.hop_length} must not exceed half of win_length "
            f"{config.win_length}: Griffin-Lim needs overlapping frames."
        )
    if waveform.ndim != 1 or not waveform.numel():
        raise AudioError(
            f"Expected a waveform of shape (T,) with at least one sample, got "
            f"{tuple(waveform.shape)}; pass one channel."
        )
    if waveform.dtype not in (torch.float32, torch.float64):
        raise AudioError(f"Expected float32 or float64 samples, got {waveform.dtype}; convert it.")
    if not waveform.isfinite().all():
        raise AudioError("Expected finite samples, got NaN or infinity; replace them.")
