"""Features against closed forms and against librosa."""

import math
import sys
import warnings

import librosa
import numpy as np
import pytest
import torch

from audio_utils.errors import AudioError
from audio_utils.features import (
    FeatureConfig,
    hz_to_mel,
    log_mel,
    mel_spectrogram,
    mel_to_hz,
    mfcc,
    stft_magnitude,
)

RATES = [8000, 16_000, 22_050]
ALL = [stft_magnitude, mel_spectrogram, log_mel, mfcc]
TOLERANCE = 1e-4


def distance(ours, theirs):
    """Return the largest difference, relative to the largest value."""
    theirs = np.asarray(theirs)
    assert ours.shape == theirs.shape
    return np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max()


def librosa_stft_settings(config):
    return {
        "n_fft": config.n_fft,
        "hop_length": config.hop_length,
        "win_length": config.win_length,
        "pad_mode": "constant",
    }


def librosa_mel_settings(config, **changes):
    settings = {"n_mels": config.n_mels, "fmin": config.f_min, "fmax": config.f_max}
    return librosa_stft_settings(config) | settings | {"sr": config.sample_rate} | changes


def configs(sample_rate):
    return [
        FeatureConfig.default_for(sample_rate),
        FeatureConfig(sample_rate, n_mels=40, f_min=60.0, f_max=3500.0, n_mfcc=13),
    ]


@pytest.mark.parametrize("sample_rate", RATES)
def test_magnitude_and_mel_agree_with_librosa(make_speech, sample_rate):
    waveform = make_speech(sample_rate)
    y = waveform.numpy()
    for config in configs(sample_rate):
        stft = np.abs(librosa.stft(y, **librosa_stft_settings(config)))
        assert distance(stft_magnitude(waveform, config), stft) < TOLERANCE
        for power in (1.0, 2.0):
            mel = librosa.feature.melspectrogram(y=y, power=power, **librosa_mel_settings(config))
            assert distance(mel_spectrogram(waveform, config, power), mel) < TOLERANCE


@pytest.mark.parametrize("sample_rate", RATES)
def test_decibels_and_mfcc_agree_with_librosa(make_speech, sample_rate):
    waveform = make_speech(sample_rate)
    y = waveform.numpy()
    for config in configs(sample_rate):
        mel = librosa.feature.melspectrogram(y=y, **librosa_mel_settings(config))
        decibels = librosa.power_to_db(mel, top_db=None)
        assert distance(log_mel(waveform, config), decibels) < TOLERANCE
        theirs = librosa.feature.mfcc(y=y, n_mfcc=config.n_mfcc, **librosa_mel_settings(config))
        assert distance(mfcc(waveform, config), theirs) < TOLERANCE


@pytest.mark.parametrize(
    "change", [{"htk": True}, {"norm": None}, {"pad_mode": "reflect"}, {"window": "hamming"}]
)
def test_negative_control_other_settings_do_not_agree(make_speech, change):
    waveform = make_speech(16_000)
    config = FeatureConfig.default_for(16_000)
    mel = librosa.feature.melspectrogram(
        y=waveform.numpy(), **librosa_mel_settings(config, **change)
    )
    assert distance(mel_spectrogram(waveform, config), mel) > 10 * TOLERANCE


def test_mfcc_limits_to_80_db_below_the_maximum_like_librosa(make_speech):
    """A clip with digital silence has a range far above 80 dB: the limit makes a difference."""
    waveform = torch.cat([make_speech(16_000), torch.zeros(8000)])
    config = FeatureConfig.default_for(16_000)
    theirs = librosa.feature.mfcc(y=waveform.numpy(), n_mfcc=20, **librosa_mel_settings(config))
    assert distance(mfcc(waveform, config), theirs) < TOLERANCE
    unlimited = librosa.power_to_db(
        librosa.feature.melspectrogram(y=waveform.numpy(), **librosa_mel_settings(config)),
        top_db=None,
    )
    control = librosa.feature.mfcc(S=unlimited, n_mfcc=20)
    assert distance(mfcc(waveform, config), control) > 10 * TOLERANCE


def test_a_sine_peaks_in_its_bin_with_half_the_sum_of_the_window(make_sine):
    config = FeatureConfig(16_000, n_fft=512, win_length=512, hop_length=128)
    magnitude = stft_magnitude(make_sine(40 * 16_000 / 512, 16_000, 16_000, 0.5), config)
    inner = magnitude[:, 4:-4]
    assert (inner.argmax(0) == 40).all()
    # A Hann window of 512 sums to 256; a real sine puts half its amplitude there.
    assert torch.allclose(inner[40], torch.tensor(0.5 * 256 / 2), rtol=1e-4)


def test_a_sine_peaks_in_the_mel_filter_around_it(make_sine):
    config = FeatureConfig(16_000)
    step = hz_to_mel(8000) / (config.n_mels + 1)
    for index in (5, 30, 70):
        mel = mel_spectrogram(make_sine(mel_to_hz(step * (index + 1)), 16_000, 16_000), config)
        assert (mel[:, 8:-8].argmax(0) == index).all()


def test_parseval(make_speech):
    config = FeatureConfig(16_000, n_fft=512, win_length=400, hop_length=512, n_mels=40)
    waveform = make_speech(16_000).double()
    magnitude = stft_magnitude(waveform, config)
    # In a real signal every bin counts twice, except the first and the last.
    weights = torch.full((257, 1), 2.0, dtype=torch.float64)
    weights[[0, -1]] = 1
    window = torch.zeros(512, dtype=torch.float64)
    window[56:456] = torch.hann_window(400, dtype=torch.float64)
    padded = torch.nn.functional.pad(waveform, (256, 256))
    energy = (padded.unfold(0, 512, 512) * window).square().sum(1)
    assert torch.allclose((weights * magnitude**2).sum(0) / 512, energy, rtol=1e-10)


def test_the_mel_scale_is_that_of_librosa_and_invertible():
    for hz in (0.0, 440.0, 999.9, 1000.0, 4321.0, 24_000.0):
        assert math.isclose(hz_to_mel(hz), librosa.hz_to_mel(hz), rel_tol=1e-12)
        assert math.isclose(mel_to_hz(hz_to_mel(hz)), hz, rel_tol=1e-12)


def test_silence_has_the_documented_floor():
    config = FeatureConfig(16_000)
    assert (log_mel(torch.zeros(4000), config) == -100).all()
    assert mfcc(torch.zeros(4000), config)[1:].abs().max() < 1e-3


def test_a_batch_equals_its_clips(make_speech):
    """With one maximum for the whole batch, the floor of the quiet clip would be higher."""
    config = FeatureConfig(16_000)
    loud = torch.cat([make_speech(16_000, 0.3), torch.zeros(2000)])
    clips = [loud, 1e-3 * loud, loud.flip(0), 0.1 * loud, loud**3, -loud]
    batch = torch.stack(clips).reshape(3, 2, -1)
    for feature in ALL:
        values = feature(batch, config)
        singles = torch.stack([feature(clip, config) for clip in clips])
        assert values.shape[:2] == (3, 2)
        assert torch.allclose(values.flatten(0, 1), singles, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 5000])
def test_any_number_of_samples_works(samples):
    config = FeatureConfig(16_000)
    for feature in ALL:
        values = feature(torch.ones(samples), config)
        assert values.shape[-1] == 1 + samples // 256
        assert values.isfinite().all()


def test_features_stay_on_the_device_and_dtype_of_the_waveform():
    """The device "meta" needs no hardware, and does not mix with the CPU, like a GPU."""
    config = FeatureConfig(16_000)
    for feature in ALL:
        assert feature(torch.zeros(2, 4000, device="meta"), config).device.type == "meta"
        assert feature(torch.zeros(4000, dtype=torch.float64), config).dtype == torch.float64


def test_features_have_a_gradient(make_speech):
    waveform = make_speech(16_000, 0.2).requires_grad_()
    log_mel(waveform, FeatureConfig(16_000)).sum().backward()
    assert waveform.grad.isfinite().all()
    assert waveform.grad.abs().max() > 0


@pytest.mark.parametrize(
    "sample_rate", [4000, 7999, 8000, 11_025, 15_999, 16_000, 22_050, 44_100, 48_000, 192_000]
)
def test_defaults_have_32_ms_and_no_empty_filter(sample_rate):
    config = FeatureConfig.default_for(sample_rate)
    assert config.win_length == round(0.032 * sample_rate)
    assert config.win_length <= config.n_fft < 2 * config.win_length
    assert config.n_fft & (config.n_fft - 1) == 0
    assert config.hop_length == config.win_length // 4
    impulse = torch.zeros(100)
    impulse[50] = 1
    assert (mel_spectrogram(impulse, config)[:, 0] > 0).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_mels": 0}, "n_mels must be at least 1"),
        ({"hop_length": -1}, "hop_length must be at least 1"),
        ({"win_length": 2048}, "win_length 2048 must not exceed n_fft 1024"),
        ({"n_mfcc": 81}, "n_mfcc 81 must not exceed n_mels 80"),
        ({"f_max": 8001.0}, "half the sample rate"),
        ({"f_min": 4000.0, "f_max": 4000.0}, "in order"),
        ({"f_min": -1.0}, "in order"),
        ({"f_min": math.nan}, "in order"),
        ({"n_fft": 256, "win_length": 256, "n_mels": 128}, "mel filters would be empty"),
    ],
)
def test_contradictory_settings_raise(settings, words):
    with pytest.raises(AudioError, match=words):
        FeatureConfig(16_000, **settings)


@pytest.mark.parametrize("n_fft", [256, 512])
def test_empty_filters_raise_exactly_where_librosa_has_them(n_fft):
    outcomes = set()
    for n_mels in range(60, 200, 9):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Empty filters")
            filters = librosa.filters.mel(sr=16_000, n_fft=n_fft, n_mels=n_mels)
        has_empty = bool(filters.max(1).min() == 0)
        outcomes.add(has_empty)
        if has_empty:
            with pytest.raises(AudioError, match="would be empty"):
                FeatureConfig(16_000, n_fft, n_fft, n_mels=n_mels)
        else:
            FeatureConfig(16_000, n_fft, n_fft, n_mels=n_mels)
    assert outcomes == {True, False}


@pytest.mark.parametrize(
    ("waveform", "words"),
    [
        (torch.zeros(0), "at least one sample"),
        (torch.zeros(2, 0), "at least one sample"),
        (torch.tensor(1.0), "at least one sample"),
        (torch.zeros(100, dtype=torch.int16), "float32 or float64"),
    ],
)
def test_invalid_waveforms_raise(waveform, words):
    for feature in ALL:
        with pytest.raises(AudioError, match=words):
            feature(waveform, FeatureConfig(16_000))


def test_a_power_of_zero_raises():
    with pytest.raises(AudioError, match="power must be above 0"):
        mel_spectrogram(torch.ones(100), FeatureConfig(16_000), power=0)


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_a_torchaudio_that_cannot_be_imported_is_one_sentence(monkeypatch, error):
    """torchaudio declares no torch version; mismatched pairs fail in these three ways."""

    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name.startswith("torchaudio"):
                raise error("libcudart.so.13")

    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(AudioError, match=r"torch 2\.11\.0 \+ torchaudio 2\.11\.0") as caught:
        mel_spectrogram(torch.ones(100), FeatureConfig(16_000))
    assert "\n" not in str(caught.value)
