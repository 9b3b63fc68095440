"""Griffin-Lim reproduces the mel spectrogram, and uses nothing else of the recording."""

import dataclasses
from pathlib import Path

import pytest
import torch

from audio_utils import metrics
from audio_utils.errors import AudioError
from audio_utils.features import FeatureConfig, log_mel, mel_spectrogram
from audio_utils.griffin_lim import griffin_lim
from audio_utils.io import read

SPEECH = Path(__file__).resolve().parents[3] / "shared/data/ljspeech/wavs/LJ001-0025.wav"
RATE = 8000
# 40 ms windows every 10 ms.
CONFIG = FeatureConfig(RATE, n_fft=512, win_length=320, hop_length=80, n_mels=80)
CONFIGS = [
    CONFIG,
    FeatureConfig(RATE, 256, 256, 50, n_mels=40, f_min=80.0, f_max=3600.0),
    FeatureConfig.default_for(22_050),
]


def log_mel_error(reference, estimate, config):
    """Return the mean absolute difference, dB, over values at most 60 dB below the maximum."""
    ours, theirs = log_mel(reference, config), log_mel(estimate, config)
    is_audible = ours > ours.max() - 60
    return float((ours - theirs)[is_audible].abs().mean())


@pytest.mark.parametrize("config", CONFIGS)
def test_the_result_has_the_mel_spectrogram_length_and_level_of_the_input(make_speech, config):
    speech = make_speech(config.sample_rate)
    result = griffin_lim(speech, config.sample_rate, config)
    assert result.shape == speech.shape
    assert result.dtype == torch.float32
    assert float(result.norm() / speech.norm()) == pytest.approx(1, abs=0.05)
    energies = [mel_spectrogram(each, config).sum() for each in (speech, result)]
    assert float(energies[1] / energies[0]) == pytest.approx(1, abs=1e-3)
    assert log_mel_error(speech, result, config) < 2


@pytest.mark.parametrize(
    "change", [{"hop_length": 72}, {"f_max": 3600.0}, {"f_min": 100.0}, {"win_length": 512}]
)
def test_negative_control_other_settings_are_worse(monkeypatch, make_speech, change):
    """The mel spectrogram is computed and inverted with different settings."""
    speech = make_speech(RATE)
    right = log_mel_error(speech, griffin_lim(speech, RATE, CONFIG, 20), CONFIG)

    def changed(waveform, config):
        other = dataclasses.replace(config, **change)
        return mel_spectrogram(waveform, other)[:, : 1 + RATE // config.hop_length]

    monkeypatch.setattr("audio_utils.griffin_lim.mel_spectrogram", changed)
    wrong = log_mel_error(speech, griffin_lim(speech, RATE, CONFIG, 20), CONFIG)
    assert wrong > 1.3 * right


def test_only_the_mel_spectrogram_is_used(make_speech):
    speech = make_speech(RATE, 0.5)
    flipped = griffin_lim(-speech, RATE, CONFIG, 5)
    assert torch.equal(flipped, griffin_lim(speech, RATE, CONFIG, 5))
    assert metrics.snr(speech, flipped) < 3


def test_more_iterations_help_and_results_are_deterministic(make_speech):
    speech = make_speech(RATE, 0.5)
    first, again, more = (griffin_lim(speech, RATE, CONFIG, n) for n in (1, 1, 60))
    assert torch.equal(first, again)
    errors = [log_mel_error(speech, each, CONFIG) for each in (first, more)]
    assert errors[1] < 0.8 * errors[0]


@pytest.mark.parametrize("samples", [1, 79, 512, 513])
def test_any_number_of_samples_works(samples):
    result = griffin_lim(torch.full((samples,), 0.1), RATE, CONFIG, 2)
    assert result.shape == (samples,)
    assert result.isfinite().all()


def test_silence_stays_silence():
    assert torch.equal(griffin_lim(torch.zeros(1000), RATE, CONFIG), torch.zeros(1000))


@pytest.mark.skipif(not SPEECH.exists(), reason=f"{SPEECH} does not exist")
def test_read_speech_stays_intelligible():
    """Measured on the whole clip: mel-cepstral distance 1.3 dB, STFT distance 0.61."""
    speech = read(SPEECH, RATE).waveform[: 2 * RATE]
    result = griffin_lim(speech, RATE, CONFIG)
    assert metrics.mel_cepstral_distance(speech, result, RATE) < 2
    assert metrics.stft_distance(speech, result, RATE) < 0.8
    coarse = griffin_lim(speech, RATE, dataclasses.replace(CONFIG, n_mels=20))
    assert metrics.mel_cepstral_distance(speech, coarse, RATE) > 3


@pytest.mark.parametrize(
    ("waveform", "rate", "change", "iterations", "words"),
    [
        (torch.ones(9), 16_000, {}, 60, "recording at 8,000 Hz"),
        (torch.ones(9), RATE, {}, 0, "iterations must be at least 1, not 0"),
        (torch.ones(9), RATE, {"hop_length": 161}, 60, "must not exceed half of win_length 320"),
        (torch.ones(1, 9), RATE, {}, 60, r"shape \(T,\)"),
        (torch.ones(0), RATE, {}, 60, "at least one sample"),
        (torch.ones(9).int(), RATE, {}, 60, "float32 or float64"),
        (torch.tensor([1.0, torch.nan]), RATE, {}, 60, "NaN or infinity"),
    ],
)
def test_invalid_inputs_raise(waveform, rate, change, iterations, words):
    with pytest.raises(AudioError, match=words):
        griffin_lim(waveform, rate, dataclasses.replace(CONFIG, **change), iterations)
