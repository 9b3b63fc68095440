"""Distances of spectra against numpy, scipy and closed forms."""

import math

import librosa
import numpy as np
import pytest
import scipy.fft
import scipy.signal
import torch

from audio_utils import metrics
from audio_utils.features import FeatureConfig

RATE = 8000


def add_noise(waveform, decibels):
    noise = torch.randn(len(waveform), generator=torch.Generator().manual_seed(0))
    return waveform + noise * (waveform.norm() / noise.norm()) * 10 ** (-decibels / 20)


def cepstra_by_scipy(x, sample_rate):
    """One-sided mel cepstra of ln amplitude, c0 first, (MCD_ORDER + 1, frames)."""
    config = FeatureConfig.default_for(sample_rate)
    # At the rates of this test the window fills the transform.
    assert config.n_fft == config.win_length
    x = np.pad(x.astype(np.float64) / np.abs(x).max(), config.n_fft // 2)
    frames = np.lib.stride_tricks.sliding_window_view(x, config.n_fft)[:: config.hop_length]
    spectrum = np.fft.rfft(frames * scipy.signal.get_window("hann", config.n_fft))
    filters = librosa.filters.mel(sr=sample_rate, n_fft=config.n_fft, n_mels=config.n_mels)
    energy = np.maximum(filters @ (np.abs(spectrum) ** 2).T, 1e-10)
    energy = np.maximum(energy, energy.max() * 1e-8)
    # scipy's DCT has a factor of 2: (2 / M) sum ln A cos(...), a Fourier series over the filters.
    return scipy.fft.dct(0.5 * np.log(energy), axis=0)[: metrics.MCD_ORDER + 1] / config.n_mels


@pytest.mark.parametrize("sample_rate", [8000, 16_000])
def test_mel_cepstral_distance_agrees_with_scipy_and_the_textbook_constant(voice, sample_rate):
    speech, other = voice(sample_rate), 0.3 * add_noise(voice(sample_rate), 15)
    pair = [cepstra_by_scipy(each.numpy(), sample_rate) for each in (speech, other)]
    euclidean = np.linalg.norm((pair[0] - pair[1])[1:], axis=0)
    expected = 10 * math.sqrt(2) / math.log(10) * euclidean.mean()
    found = metrics.mel_cepstral_distance(speech, other, sample_rate)
    assert found == pytest.approx(expected, rel=1e-4)
    with_level = np.linalg.norm(pair[0] - pair[1], axis=0).mean() * 6.1418
    assert found != pytest.approx(with_level, rel=1e-2)


def test_mel_cepstral_distance_of_a_filter_is_the_rms_of_its_decibels():
    """Noise through a filter of known response: the smoothed response without its mean, in dB."""
    noise = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    filtered = torch.from_numpy(scipy.signal.lfilter([1, -0.8], [1], noise.numpy())).float()
    config = FeatureConfig.default_for(RATE)
    centres = librosa.mel_frequencies(config.n_mels + 2, fmax=RATE / 2)[1:-1]
    _, response = scipy.signal.freqz([1, -0.8], worN=centres, fs=RATE)
    series = scipy.fft.dct(20 * np.log10(np.abs(response)), norm="ortho")
    expected = np.sqrt((series[1 : metrics.MCD_ORDER + 1] ** 2).sum() / config.n_mels)
    found = metrics.mel_cepstral_distance(noise, filtered, RATE)
    assert expected > 5
    assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("gain", [1e-6, 0.1, 3.0])
def test_mel_cepstral_distance_does_not_hear_level(voice, gain):
    """Digital silence at the end has a floor that must follow the gain too."""
    speech = torch.cat([voice(RATE), torch.zeros(RATE // 4)])
    assert metrics.mel_cepstral_distance(speech, gain * speech, RATE) < 1e-3
    # Two gains are more than a level.
    half = speech.clone()
    half[: RATE // 2] *= gain
    assert metrics.stft_distance(speech, half, RATE) > 0.1


def stft_distance_by_numpy(reference, estimate, sample_rate):
    """As published, frame by frame; the reference has a peak of 1."""
    total = 0.0
    for milliseconds in (10, 25, 50):
        size = milliseconds * sample_rate // 1000
        n_fft = 1 << (size - 1).bit_length()
        window = np.zeros(n_fft)
        start = (n_fft - size) // 2
        window[start : start + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
        magnitudes = []
        for waveform in (reference, estimate):
            x = np.pad(waveform.double().numpy(), n_fft // 2)
            frames = np.lib.stride_tricks.sliding_window_view(x, n_fft)[:: size // 5]
            magnitudes.append(np.maximum(np.abs(np.fft.rfft(frames * window)), 1e-7**0.5))
        r, e = magnitudes
        total += np.sqrt(((r - e) ** 2).sum() / (r**2).sum()) + np.abs(np.log(r / e)).mean()
    return total / 3


@pytest.mark.parametrize("sample_rate", [8000, 24_000, 48_000])
def test_stft_distance_agrees_with_numpy(voice, sample_rate):
    speech = voice(sample_rate)
    speech /= speech.abs().max()
    other = add_noise(0.5 * speech, 20)
    found = metrics.stft_distance(speech, other, sample_rate)
    assert found == pytest.approx(stft_distance_by_numpy(speech, other, sample_rate), rel=1e-6)
    # Both recorded 60 dB lower; the estimate alone is another matter.
    quiet = metrics.stft_distance(0.001 * speech, 0.001 * other, sample_rate)
    assert quiet == pytest.approx(found, rel=1e-5)
    assert metrics.stft_distance(speech, 0.001 * other, sample_rate) > 2 * found


def test_stft_distance_of_a_gain_is_a_half_and_ln_2():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    found = metrics.stft_distance(noise, 0.5 * noise, RATE)
    assert found == pytest.approx(0.5 + math.log(2), abs=1e-3)
