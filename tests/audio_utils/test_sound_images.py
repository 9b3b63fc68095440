"""Images of sound: levels of known sounds, and the way back to a waveform."""

import pytest
import torch

from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, log_mel, mel_row
from audio_utils.sound_images import (
    LEVELS,
    LOUDEST_DB,
    ImageSettings,
    decode_image,
    encode_image,
    image_to_waveform,
    resample_log_mel,
)

SETTINGS = ImageSettings()
STEP_DB = SETTINGS.range_db / (LEVELS - 1)


def tone(hertz, seconds=0.72, level=0.5):
    time = torch.arange(round(seconds * 8000)) / 8000
    return level * torch.sin(2 * torch.pi * hertz * time)


def test_default_settings():
    assert (SETTINGS.hop_length, SETTINGS.samples) == (240, 5760)
    assert (SETTINGS.features.win_length, SETTINGS.features.n_fft) == (480, 512)


@pytest.mark.parametrize("hertz", [250, 1000, 3000])
def test_a_tone_is_brightest_in_its_band(hertz):
    levels = encode_image(tone(hertz), SETTINGS)
    assert levels.shape == (32, 24) and levels.max() == LEVELS - 1
    row = 31 - round(mel_row(hertz, SETTINGS.features))  # row 0 is the highest band
    assert set(levels[:, 5:20].argmax(0).tolist()) <= {row - 1, row, row + 1}
    assert levels[2 if hertz < 2000 else 29, 12] < 4


def test_the_level_of_the_recording_has_no_effect():
    loud, quiet = tone(440), tone(440, level=0.05)
    assert torch.equal(encode_image(loud, SETTINGS), encode_image(quiet, SETTINGS))
    # negative control: two tones of different levels in one recording
    both = torch.cat([loud[:2880], quiet[:2880]])
    levels = encode_image(both, SETTINGS).amax(0)
    assert levels[5] - levels[18] == pytest.approx(20 / STEP_DB, abs=1)


def test_short_recordings_are_padded_and_long_ones_cut():
    short = encode_image(tone(440, 0.3), SETTINGS)
    assert short[:, :9].amax(0).min() >= LEVELS - 2 and not short[:, 13:].any()
    long = torch.cat([tone(440), torch.randn(4000)])
    assert torch.equal(encode_image(long, SETTINGS), encode_image(long[:5760], SETTINGS))


def test_silence_is_dark():
    assert not encode_image(torch.zeros(100), SETTINGS).any()
    assert not image_to_waveform(torch.zeros(32, 24, dtype=torch.int64), SETTINGS).any()


def test_decoded_levels_are_within_half_a_step():
    torch.manual_seed(0)
    recording = torch.randn(5760) * torch.linspace(0.001, 0.3, 5760)
    expected = log_mel(recording, SETTINGS.features)[:, :24]
    found = decode_image(encode_image(recording, SETTINGS), SETTINGS)
    difference = found - LOUDEST_DB - (expected - expected.max()).clamp(min=-SETTINGS.range_db)
    assert difference.abs().max() < STEP_DB / 2 + 1e-3
    # every level survives: it is the relative level, rounded
    levels = torch.arange(32 * 24).reshape(32, 24) % LEVELS
    again = decode_image(levels, SETTINGS)
    assert torch.equal(((again - LOUDEST_DB) / STEP_DB).round().flip(0).long() + 15, levels)


def test_sound_made_from_an_image_has_nearly_the_same_image():
    torch.manual_seed(0)
    sound = tone(500) + 0.3 * tone(1500) * torch.linspace(1, 0, 5760)
    levels = encode_image(sound, SETTINGS)
    waveform = image_to_waveform(levels, SETTINGS)
    assert waveform.shape == (5760,)
    assert float(waveform.abs().max()) == pytest.approx(0.7)
    heard = levels >= LEVELS // 2  # quiet bands beside a tone are louder in the estimate
    difference = (encode_image(waveform, SETTINGS) - levels)[heard].abs().float().mean()
    other = (encode_image(torch.randn(5760), SETTINGS) - levels)[heard].abs().float().mean()
    assert difference < 1 < 2 < other


def test_an_image_can_be_interpolated_to_other_features():
    """The settings of the image itself return it; noise of flat spectrum stays flat."""
    torch.manual_seed(0)
    decibels = torch.randn(32, 24)
    same = resample_log_mel(decibels, SETTINGS, SETTINGS.features)
    torch.testing.assert_close(same[:, :24], decibels, atol=1e-3, rtol=0)
    assert torch.equal(same[:, 24], same[:, 23])
    target = FeatureConfig(8000, 512, 320, 160, n_mels=24)
    noise = torch.randn(200, 5760)
    expected = 10 * (10 ** (log_mel(noise, target) / 10)).mean(0).log10()
    mean = 10 * (10 ** (log_mel(noise, SETTINGS.features) / 10)).mean(0).log10()[:, :24]
    found = resample_log_mel(mean, SETTINGS, target)
    assert found.shape == expected.shape == (24, 37)
    assert (found - expected)[1:-1, 2:-2].abs().max() < 1
    # negative control: without the compensation of the window
    assert (found + 1.76 - expected)[1:-1, 2:-2].mean() > 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"bands": 1}, "bands of an image must be 2 to 256, not 1"),
        ({"frames": 2000}, "frames of an image"),
        ({"seconds": 0.0}, "seconds of an image"),
        ({"range_db": float("nan")}, "range_db of an image"),
        ({"frames": 1000}, "samples per frame, expected at least 8"),
        ({"bands": 200, "seconds": 0.1, "sample_rate": 48_000}, "mel filters would be empty"),
    ],
)
def test_wrong_settings_are_refused(change, message):
    with pytest.raises(AudioError, match=message):
        ImageSettings(**change)


def test_wrong_images_are_refused():
    with pytest.raises(AudioError, match="Expected an image of 32 bands x 24 frames, got 24 x 32"):
        decode_image(torch.zeros(24, 32), SETTINGS)
    with pytest.raises(AudioError, match="Expected levels of 0 to 15, got 16 to 16"):
        decode_image(torch.full((32, 24), LEVELS), SETTINGS)
    with pytest.raises(AudioError, match="Expected features at 8,000 Hz"):
        resample_log_mel(torch.zeros(32, 24), SETTINGS, FeatureConfig(16000))
