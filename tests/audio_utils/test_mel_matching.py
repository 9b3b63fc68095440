"""Mel matching: the spectral envelope becomes the target, everything else is unchanged."""

import dataclasses

import pytest
import torch

from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, log_mel, mel_spectrogram
from audio_utils.mel_matching import match_mel, match_mel_stream

RATE = 8000
CONFIGS = [
    FeatureConfig(RATE, 512, 320, 160, n_mels=24, n_mfcc=1),
    FeatureConfig(RATE, 256, 256, 64, n_mels=40, f_min=80.0, f_max=3600.0),
    FeatureConfig(RATE, 512, 300, 77, n_mels=30),
]


def noise(samples, seed=0, level=0.1):
    return level * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def mel_error(waveform, target, config):
    """Return the mean absolute difference in dB over values at most 60 dB below the maximum."""
    target_db = 10 * target.clamp(min=1e-10).log10()
    is_audible = target_db > target_db.max() - 60
    return float((log_mel(waveform, config) - target_db)[is_audible].abs().mean())


@pytest.mark.parametrize("config", CONFIGS)
def test_noise_gets_the_envelope_of_speech(make_speech, config):
    target = mel_spectrogram(make_speech(RATE), config)
    before = noise(RATE)
    errors = [mel_error(match_mel(before, target, config, n), target, config) for n in (0, 1, 3, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 10 and errors[-1] < 2
    assert match_mel(before, target, config).shape == before.shape


@pytest.mark.parametrize("config", CONFIGS)
def test_a_waveform_with_the_target_envelope_is_unchanged(make_speech, config):
    speech = make_speech(RATE)
    same = match_mel(speech, mel_spectrogram(speech, config), config)
    torch.testing.assert_close(same, speech, atol=1e-4, rtol=0)
    louder = match_mel(speech, 4 * mel_spectrogram(speech, config), config, 1)
    inside = slice(RATE // 4, -RATE // 4)
    torch.testing.assert_close(louder[inside], 2 * speech[inside], atol=0.02, rtol=0)


def test_pitch_and_phase_are_kept():
    """A tone under a gain slope stays the same tone, with the phase of every sample."""
    config = CONFIGS[0]
    tone = 0.2 * torch.sin(2 * torch.pi * 440 * torch.arange(RATE) / RATE)
    slope = torch.linspace(0.2, 1.5, RATE)
    matched = match_mel(tone, mel_spectrogram(tone * slope, config), config)
    inside = slice(RATE // 4, -RATE // 4)
    torch.testing.assert_close(matched[inside], (tone * slope)[inside], atol=0.02, rtol=0)
    assert (matched[inside] - (noise(RATE) * slope)[inside]).abs().max() > 0.1  # negative control


@pytest.mark.parametrize("samples", [RATE // 2 + n for n in (0, 1, 79, 80, 158, 159)])
def test_the_end_is_not_louder_than_the_rest(samples):
    """Regression: a clip that ended near its last frame ended in a click."""
    config = CONFIGS[0]
    matched = match_mel(noise(samples), mel_spectrogram(noise(samples, 1), config), config)
    assert matched[-200:].abs().max() < 1.5 * matched[:-200].abs().max()


def test_the_gain_is_limited_and_silence_stays_silent():
    config = CONFIGS[0]
    target = torch.ones(24, 1 + RATE // 160)
    assert not match_mel(torch.zeros(RATE), target, config).any()
    quiet = noise(RATE, level=1e-4)
    once = match_mel(quiet, target, config, 1)
    assert 4 < float(once.norm() / quiet.norm()) < 10 ** (15 / 20) + 0.1
    gone = match_mel(noise(RATE), torch.zeros_like(target), config)
    assert gone.abs().max() < 1e-3


@pytest.mark.parametrize("samples", [1, 100, 321])
def test_short_clips_are_filtered(samples):
    config = CONFIGS[0]
    target = mel_spectrogram(noise(samples, 1), config)
    matched = match_mel(noise(samples), target, config)
    assert matched.shape == (samples,) and bool(matched.isfinite().all())


def test_invalid_arguments_raise():
    config, wave = CONFIGS[0], noise(800)
    target = mel_spectrogram(wave, config)
    long_hop = dataclasses.replace(config, hop_length=161)
    with pytest.raises(AudioError, match="must not exceed half of win_length 320"):
        match_mel(wave, target, long_hop)
    with pytest.raises(AudioError, match="24 filters x 6 frames for 800 samples, got 24 x 5"):
        match_mel(wave, target[:, :5], config)
    with pytest.raises(AudioError, match="iterations must be at least 0, not -1"):
        match_mel(wave, target, config, -1)
    with pytest.raises(AudioError, match="energies of 0 or more"):
        match_mel(wave, target - 100, config)
    with pytest.raises(AudioError, match="finite, with at least one sample"):
        match_mel(wave * torch.nan, target, config)


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("size", [1, 77, 400, 3000, RATE])
def test_a_stream_has_the_samples_of_the_whole(make_speech, config, size):
    target = mel_spectrogram(make_speech(RATE), config)
    before = noise(RATE)
    if size == 1:  # many calls: a part is enough
        before = before[:1000]
        target = target[:, : 1 + 1000 // config.hop_length]
    for iterations in (1, 2):
        whole = match_mel(before, target, config, iterations)
        parts = list(match_mel_stream(before.split(size), target, config, iterations))
        torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-4)
        assert len(parts) > 1 or len(before) == 1000
    other = match_mel(before, target * 2, config, 1)  # negative control
    assert not torch.allclose(torch.cat(parts), other, atol=1e-3)


@pytest.mark.parametrize("samples", [RATE, RATE - 77, 100])
def test_the_samples_of_a_stream_do_not_depend_on_the_chunks(make_speech, samples):
    """On some processors the transform of one frame depends on the number of frames."""
    config = CONFIGS[0]
    target = mel_spectrogram(make_speech(samples), config)
    found = [
        torch.cat(list(match_mel_stream(noise(samples).split(size), target, config)))
        for size in (77, 800, 1280, 1281, samples)
    ]
    assert all(torch.equal(other, found[0]) for other in found)
    assert found[0].shape == (samples,)


def test_a_stream_waits_for_its_block_and_one_window_per_iteration(make_speech):
    config = CONFIGS[0]
    target = mel_spectrogram(make_speech(RATE), config)
    read = []

    def chunks():
        for chunk in noise(RATE).split(160):
            read.append(len(chunk))
            yield chunk

    stream = match_mel_stream(chunks(), target, config)
    first = next(stream)
    assert sum(read) == 320 + len(first) == 8 * 160


def test_an_empty_stream_has_no_samples():
    assert list(match_mel_stream([], torch.ones(24, 1), CONFIGS[0])) == []
