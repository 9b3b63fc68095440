"""Normalization of clips: the target is reached, or a warning says why not."""

import pytest
import torch

from audio_utils.lufs import clip_loudness
from wavenet.batch.batch_config import BatchSettings
from wavenet.batch.clip_levels import PEAK_CEILING, normalize

RATE = 16_000


def settings(how, target=-30.0):
    return BatchSettings("", normalize=how, target_lufs=target)


def sine(seconds, amplitude=0.1):
    return amplitude * torch.sin(torch.arange(round(seconds * RATE)) * 0.3)


def test_without_normalization_a_clip_is_unchanged():
    wave = sine(1)
    assert normalize(wave, RATE, settings("none")).waveform is wave
    silent = torch.zeros(100)
    for how in ("peak", "lufs"):
        result = normalize(silent, RATE, settings(how))
        assert (result.waveform is silent, result.warning) == (True, None)


def test_a_clip_of_any_length_is_scaled_to_the_peak_ceiling():
    for wave in (sine(1), sine(0.01), sine(1, 1e-5)):
        result = normalize(wave, RATE, settings("peak"))
        assert float(result.waveform.abs().max()) == pytest.approx(PEAK_CEILING)
        assert result.warning is None


@pytest.mark.parametrize("seconds", [0.01, 0.1, 0.25, 0.399, 0.4, 1.0])
@pytest.mark.parametrize("amplitude", [1e-3, 0.1, 1.0])
def test_the_target_loudness_is_reached_by_clips_of_any_length(seconds, amplitude):
    """Regression: clips shorter than 0.4 s were scaled to the peak ceiling."""
    result = normalize(sine(seconds, amplitude), RATE, settings("lufs"))
    assert clip_loudness(result.waveform, RATE) == pytest.approx(-30, abs=0.01)
    assert result.warning is None


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_peak_limit_below_the_target_is_a_warning(seconds):
    result = normalize(sine(seconds), RATE, settings("lufs", -1.0))
    assert float(result.waveform.abs().max()) == pytest.approx(PEAK_CEILING)
    reached = clip_loudness(result.waveform, RATE)
    assert reached < -2
    assert result.warning == (
        f"{reached:.1f} LUFS instead of -1 LUFS, because the peak is limited to -1 dBFS"
    )


def test_a_target_that_is_almost_reached_is_no_warning():
    reached = clip_loudness(normalize(sine(1), RATE, settings("peak")).waveform, RATE)
    assert normalize(sine(1), RATE, settings("lufs", reached + 0.05)).warning is None
    assert normalize(sine(1), RATE, settings("lufs", reached + 0.2)).warning is not None


@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_clip_that_is_almost_silent_does_not_become_loud(seconds):
    wave = sine(seconds, 1e-6)
    result = normalize(wave, RATE, settings("lufs"))
    assert result.waveform is wave
    assert "quieter than -70 LUFS" in result.warning
