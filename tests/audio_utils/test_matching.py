"""Filtering to a mel spectrogram: the envelope becomes the one asked for, the rest stays."""

import dataclasses

import pytest
import torch

from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, log_mel, mel_spectrogram
from audio_utils.matching import match_mel

RATE = 8000
CONFIGS = [
    FeatureConfig(RATE, 512, 320, 160, n_mels=24, n_mfcc=1),
    FeatureConfig(RATE, 256, 256, 64, n_mels=40, f_min=80.0, f_max=3600.0),
    FeatureConfig(RATE, 512, 300, 77, n_mels=30),
]


def noise(samples, seed=0, level=0.1):
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def off(waveform, target, config):
    """Mean difference in dB over what is at most 60 dB below the loudest."""
    wanted = 10 * target.clamp(min=1e-10).log10()
    heard = wanted > wanted.max() - 60
    return float((log_mel(waveform, config) - wanted)[heard].abs().mean())


@pytest.mark.parametrize("config", CONFIGS)
def test_noise_gets_the_envelope_of_a_voice(voice, config):
    target = mel_spectrogram(voice(RATE), config)
    before = noise(RATE)
    found = [off(match_mel(before, target, config, n), target, config) for n in (0, 1, 3, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 10 and found[-1] < 2
    assert match_mel(before, target, config).shape == before.shape


@pytest.mark.parametrize("config", CONFIGS)
def test_what_has_the_envelope_already_stays_as_it_is(voice, config):
    speech = voice(RATE)
    same = match_mel(speech, mel_spectrogram(speech, config), config)
    torch.testing.assert_close(same, speech, atol=1e-4, rtol=0)
    louder = match_mel(speech, 4 * mel_spectrogram(speech, config), config, 1)
    inside = slice(RATE // 4, -RATE // 4)
    torch.testing.assert_close(louder[inside], 2 * speech[inside], atol=0.02, rtol=0)


def test_pitch_and_place_are_kept():
    """A tone under a slope is the same tone, sample for sample in phase."""
    config = CONFIGS[0]
    tone = 0.2 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    slope = torch.linspace(0.2, 1.5, RATE)
    made = match_mel(tone, mel_spectrogram(tone * slope, config), config)
    inside = slice(RATE // 4, -RATE // 4)
    torch.testing.assert_close(made[inside], (tone * slope)[inside], atol=0.02, rtol=0)
    assert (made[inside] - (noise(RATE) * slope)[inside]).abs().max() > 0.1  # the control


@pytest.mark.parametrize("samples", [RATE // 2 + n for n in (0, 1, 79, 80, 158, 159)])
def test_the_end_is_no_louder_than_the_rest(samples):
    """A clip that ends beside its last frame once ended in a click."""
    config = CONFIGS[0]
    made = match_mel(noise(samples), mel_spectrogram(noise(samples, 1), config), config)
    assert made[-200:].abs().max() < 1.5 * made[:-200].abs().max()


def test_a_gain_has_a_limit_and_silence_stays_silent():
    config = CONFIGS[0]
    target = torch.ones(24, 1 + RATE // 160)
    assert not match_mel(torch.zeros(RATE), target, config).any()
    quiet = noise(RATE, level=1e-4)
    once = match_mel(quiet, target, config, 1)
    assert 4 < float(once.norm() / quiet.norm()) < 10 ** (15 / 20) + 0.1
    gone = match_mel(noise(RATE), torch.zeros_like(target), config)
    assert gone.abs().max() < 1e-3


@pytest.mark.parametrize("samples", [1, 100, 321])
def test_short_clips_are_filtered_too(samples):
    config = CONFIGS[0]
    target = mel_spectrogram(noise(samples, 1), config)
    made = match_mel(noise(samples), target, config)
    assert made.shape == (samples,) and bool(made.isfinite().all())


def test_what_cannot_be_used_is_refused():
    config, wave = CONFIGS[0], noise(800)
    target = mel_spectrogram(wave, config)
    wide = dataclasses.replace(config, hop_length=161)
    with pytest.raises(AudioError, match="must not exceed half of win_length 320"):
        match_mel(wave, target, wide)
    with pytest.raises(AudioError, match="24 filters x 6 frames for 800 samples, got 24 x 5"):
        match_mel(wave, target[:, :5], config)
    with pytest.raises(AudioError, match="iterations must be at least 0, not -1"):
        match_mel(wave, target, config, -1)
    with pytest.raises(AudioError, match="energies of 0 or more"):
        match_mel(wave, target - 100, config)
    with pytest.raises(AudioError, match="finite, with at least one sample"):
        match_mel(wave * torch.nan, target, config)
