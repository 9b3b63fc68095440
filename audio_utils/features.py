"""Compute spectrogram, mel, MFCC, RMS level and pitch: the only implementation in the project.

Input: a waveform (..., T) on any device. Output: features (..., bins, frames) on that device;
`rms_level` and `f0` receive (T,) and return (frames,), on the CPU. The results agree with
librosa at the same settings: Slaney mel scale and norm, centred frames, zero padding. Called by
training, generation, metrics, plots and the studio.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from audio_utils.errors import AudioError

FLOOR_POWER = 1e-10
MFCC_RANGE_DB = 80.0
_WINDOW_SECONDS = 0.032


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of all features; the constructor rejects contradictions.

    Attributes:
        sample_rate: Hz.
        n_fft: samples, length of the Fourier transform.
        win_length: samples of the Hann window, at most n_fft; centred in the transform.
        hop_length: samples from frame to frame.
        n_mels: mel filters; each must contain at least one bin of the transform.
        n_mfcc: cepstral coefficients, at most n_mels.
        f_min: Hz, lower edge of the lowest mel filter.
        f_max: Hz, upper edge of the highest; None for half the sample rate.
    Raises:
        AudioError: a value out of range, or a mel filter without a bin.
    """

    sample_rate: int
    n_fft: int = 1024
    win_length: int = 1024
    hop_length: int = 256
    n_mels: int = 80
    n_mfcc: int = 20
    f_min: float = 0.0
    f_max: float | None = None

    def __post_init__(self) -> None:
        for field in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels", "n_mfcc"):
            if getattr(self, field) < 1:
                raise AudioError(f"{field} must be at least 1, not {getattr(self, field)}.")
        if self.win_length > self.n_fft:
            raise AudioError(f"win_length {self.win_length} must not exceed n_fft {self.n_fft}.")
        if self.n_mfcc > self.n_mels:
            raise AudioError(f"n_mfcc {self.n_mfcc} must not exceed n_mels {self.n_mels}.")
        if not 0 <= self.f_min < self.upper_edge_hz <= self.sample_rate / 2:
            raise AudioError(
                f"f_min {self.f_min} and f_max {self.upper_edge_hz} Hz must be in order within "
                f"0 to {self.sample_rate / 2:g} Hz, half the sample rate."
            )
        self._check_filters()

    @classmethod
    def default_for(cls, sample_rate: int) -> "FeatureConfig":
        """Return default settings: a window of 32 ms and a hop of a quarter of it.

        Args:
            sample_rate: Hz, 4,000 or more.
        Returns:
            The settings: n_fft is the power of two at or above the window; 80 mel filters from
            16 kHz, 64 from 8 kHz, 40 below, which the transform resolves.
        """
        win_length = round(_WINDOW_SECONDS * sample_rate)
        n_fft = 2 ** math.ceil(math.log2(max(2, win_length)))
        n_mels = 80 if sample_rate >= 16_000 else 64 if sample_rate >= 8_000 else 40
        return cls(sample_rate, n_fft, win_length, max(1, win_length // 4), n_mels)

    @property
    def upper_edge_hz(self) -> float:
        """Return the upper edge of the highest mel filter, Hz."""
        return self.sample_rate / 2 if self.f_max is None else self.f_max

    def with_hop(self, hop_length: int) -> "FeatureConfig":
        """Return these settings with another hop length, in samples."""
        return dataclasses.replace(self, hop_length=hop_length)

    def _check_filters(self) -> None:
        """Raise AudioError for filters that lie between two bins: their output is always 0."""
        low, high = hz_to_mel(self.f_min), hz_to_mel(self.upper_edge_hz)
        step = (high - low) / (self.n_mels + 1)
        edges = [mel_to_hz(low + step * index) for index in range(self.n_mels + 2)]
        width = self.sample_rate / self.n_fft
        pairs = zip(edges[:-2], edges[2:], strict=True)
        empty = sum((math.floor(left / width) + 1) * width >= right for left, right in pairs)
        if empty:
            raise AudioError(
                f"{empty} of {self.n_mels} mel filters would be empty: use fewer n_mels or an "
                f"n_fft above {self.n_fft}."
            )


def hz_to_mel(frequency: float) -> float:
    """Convert Hz to mel: linear up to 1 kHz, logarithmic above.

    Source: Slaney, Auditory Toolbox, 1998.
    """
    if frequency < 1000:
        return frequency * 3 / 200
    return 15 + 27 * math.log(frequency / 1000) / math.log(6.4)


def mel_to_hz(mel: float) -> float:
    """Convert mel to Hz, the inverse of `hz_to_mel`."""
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


def mel_row(frequency: float, config: FeatureConfig) -> float:
    """Return the position of a frequency among the filter centres, which are equidistant in mel."""
    low, high = hz_to_mel(config.f_min), hz_to_mel(config.upper_edge_hz)
    return (hz_to_mel(frequency) - low) / (high - low) * (config.n_mels + 1) - 1


def stft_magnitude(waveform: Tensor, config: FeatureConfig) -> Tensor:
    """Return the magnitude of the short-time Fourier transform.

    Args:
        waveform: (..., T), float32 or float64, T >= 1; may be shorter than a window.
        config: n_fft, win_length and hop_length are used.
    Returns:
        (..., n_fft // 2 + 1, 1 + T // hop_length), 0 or more, same dtype and device.
    Raises:
        AudioError: no samples, or not floating point.
    """
    _check_samples(waveform)
    window = torch.hann_window(config.win_length, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        n_fft=config.n_fft,
        hop_length=config.hop_length,
        win_length=config.win_length,
        window=window,
        center=True,
        pad_mode="constant",
        return_complex=True,
    )
    return spectrum.abs().reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


def mel_spectrogram(waveform: Tensor, config: FeatureConfig, power: float = 2.0) -> Tensor:
    """Return the mel spectrogram: energy in triangular filters of equal area.

    Args:
        waveform: (..., T), float32 or float64, T >= 1.
        config: all settings except n_mfcc are used.
        power: 2 for energy, 1 for magnitude; above 0.
    Returns:
        (..., n_mels, 1 + T // hop_length), 0 or more.
    Raises:
        AudioError: an invalid waveform or power, or torchaudio cannot be imported.
    Source: Slaney, Auditory Toolbox, 1998; librosa.feature.melspectrogram.
    """
    if not power > 0:
        raise AudioError(f"power must be above 0, not {power}.")
    magnitude = stft_magnitude(waveform, config)
    filters = mel_filters(config).to(magnitude)
    mel: Tensor = filters @ (magnitude if power == 1 else magnitude**power)
    return mel


def mel_filters(config: FeatureConfig) -> Tensor:
    """Return triangular filters of equal area: (n_mels, n_fft // 2 + 1) float32, 0 or more.

    Raises:
        AudioError: torchaudio cannot be imported.
    """
    filters: Tensor = import_torchaudio_functional().melscale_fbanks(
        config.n_fft // 2 + 1,
        config.f_min,
        config.upper_edge_hz,
        config.n_mels,
        config.sample_rate,
        norm="slaney",
        mel_scale="slaney",
    )
    return filters.T


def log_mel(waveform: Tensor, config: FeatureConfig) -> Tensor:
    """Return mel energy in decibels; each frame is independent of the others.

    Args:
        waveform: (..., T), float32 or float64, T >= 1.
        config: as for `mel_spectrogram`.
    Returns:
        (..., n_mels, 1 + T // hop_length), dB re energy 1; at least -100 dB, the value of silence.
    Raises:
        AudioError: as `mel_spectrogram`.
    """
    return 10 * mel_spectrogram(waveform, config).clamp(min=FLOOR_POWER).log10()


def mfcc(waveform: Tensor, config: FeatureConfig) -> Tensor:
    """Return mel-frequency cepstral coefficients.

    Decibels are first limited to 80 dB below the maximum of the clip. Each clip of a batch has its
    own maximum, so that a batch equals its single clips (librosa uses one maximum for all
    channels).

    Args:
        waveform: (..., T), float32 or float64, T >= 1.
        config: as for `mel_spectrogram`, with n_mfcc.
    Returns:
        (..., n_mfcc, 1 + T // hop_length), dB; orthonormal DCT-II over the filters.
    Raises:
        AudioError: as `mel_spectrogram`.
    Source: Davis and Mermelstein 1980; librosa.feature.mfcc.
    """
    functional = import_torchaudio_functional()
    mel = mel_spectrogram(waveform, config)
    # (B, 1, n_mels, frames): torchaudio uses one maximum per index of the first dimension.
    clips = mel.reshape(-1, 1, *mel.shape[-2:])
    decibels = functional.amplitude_to_DB(clips, 10.0, FLOOR_POWER, 0.0, top_db=MFCC_RANGE_DB)
    basis = functional.create_dct(config.n_mfcc, config.n_mels, norm="ortho")
    coefficients: Tensor = basis.T.to(mel) @ decibels.reshape(mel.shape)
    return coefficients


def rms_level(waveform: Tensor, win_length: int, hop_length: int) -> Tensor:
    """Return the RMS level of each frame.

    Args:
        waveform: (T,), float32 or float64, T >= 1.
        win_length: samples of the centred Hann window; zero padding outside the waveform.
        hop_length: samples from frame to frame.
    Returns:
        (1 + T // hop_length,), dB re full scale; at least -100 dB.
    Raises:
        AudioError: an invalid waveform or size.
    """
    if win_length < 1 or hop_length < 1:
        raise AudioError(
            f"win_length and hop_length must be at least 1, not {win_length}, {hop_length}."
        )
    _check_samples(waveform)
    weights = torch.hann_window(win_length, periodic=True, dtype=waveform.dtype) + 1e-12
    padded = torch.nn.functional.pad(waveform**2, (win_length // 2, win_length - win_length // 2))
    frames = padded.unfold(0, win_length, hop_length)[: 1 + waveform.shape[0] // hop_length]
    power = frames @ (weights / weights.sum())
    return 10 * power.clamp(min=FLOOR_POWER).log10()


def f0(waveform: Tensor, sample_rate: int, hop_length: int, f_min: float, f_max: float) -> Tensor:
    """Return the fundamental frequency of each frame, by probabilistic YIN.

    Args:
        waveform: (T,), float32 or float64, T >= 1.
        sample_rate: Hz.
        hop_length: samples from frame to frame.
        f_min, f_max: Hz, range of the search; the window is four periods of f_min or longer.
    Returns:
        (1 + T // hop_length,) float32, Hz; 0 for unvoiced frames.
    Raises:
        AudioError: an invalid waveform, or a range beyond half the sample rate.
    Source: Mauch and Dixon 2014; librosa.pyin.
    """
    _check_samples(waveform)
    if not 0 < f_min < f_max <= sample_rate / 2:
        raise AudioError(
            f"Expected a pitch range between 0 and {sample_rate / 2:g} Hz, half the sample rate, "
            f"got {f_min:g} to {f_max:g} Hz."
        )
    import librosa

    frame_length = 2 ** math.ceil(math.log2(4 * sample_rate / f_min))
    hertz, _, _ = librosa.pyin(
        waveform.detach().cpu().double().numpy(),
        fmin=f_min,
        fmax=f_max,
        sr=sample_rate,
        frame_length=frame_length,
        hop_length=hop_length,
        fill_na=0.0,
    )
    return torch.from_numpy(hertz).float()


def _check_samples(waveform: Tensor) -> None:
    if waveform.ndim < 1 or not waveform.numel():
        raise AudioError(f"Expected at least one sample, got shape {tuple(waveform.shape)}.")
    if waveform.dtype not in (torch.float32, torch.float64):
        raise AudioError(f"Expected float32 or float64 samples, got {waveform.dtype}.")


def import_torchaudio_functional() -> Any:
    """Import torchaudio.functional; a build for another torch fails to load.

    Raises:
        AudioError: torchaudio cannot be loaded.
    """
    try:
        import torchaudio.functional as functional
    except (ImportError, OSError, RuntimeError) as error:
        raise AudioError(
            "torchaudio cannot be loaded beside this torch; install the pair torch 2.11.0 + "
            f"torchaudio 2.11.0, both for the CPU or both for the same CUDA ({error})."
        ) from error
    return functional
