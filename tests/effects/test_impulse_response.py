"""Reading of impulse responses: rate, channels, trimming, limit, gain."""

import numpy as np
import pytest
import soundfile
from scipy import fft

from audio_utils.errors import AudioError
from wavenet.effects.impulse_response import fit_response, read_impulse_response


@pytest.fixture
def write(tmp_path):
    def write_file(samples, rate=48_000):
        path = tmp_path / "cab.wav"
        soundfile.write(path, np.asarray(samples, np.float32), rate, subtype="FLOAT")
        return path

    return write_file


def decay(length=2000, scale=100):
    return np.random.default_rng(0).standard_normal(length) * np.exp(-np.arange(length) / scale)


def test_a_response_at_its_own_rate_is_unchanged_even_beyond_full_scale(write):
    samples = decay()
    assert np.abs(samples).max() > 1
    found = read_impulse_response(write(samples), 48_000, trim=False)
    assert found.samples.shape == (1, 2000)
    assert np.abs(found.samples[0] - samples).max() < 1e-6
    assert (found.latency, found.trimmed, found.cut_seconds, found.gain) == (0, 0, 0, 1)


def test_stereo_has_both_channels(write):
    samples = np.stack([decay(), 0.5 * decay()[::-1]], axis=1)
    found = read_impulse_response(write(samples), 48_000, trim=False)
    assert np.abs(found.samples.T - samples).max() < 1e-6


@pytest.mark.parametrize("rate", [44_100, 96_000])
@pytest.mark.parametrize("trim", [False, True])
def test_another_rate_keeps_the_gain_at_every_frequency(rate, trim):
    """Also of a response that begins at full level, where a resampler rings before it."""
    samples = decay(scale=30)[None]
    found = fit_response(samples, 48_000, rate, trim=trim)
    for hz in (100, 1000, 10_000, 18_000):
        before = np.abs(samples @ np.exp(-2j * np.pi * hz / 48_000 * np.arange(2000)))
        time = np.arange(found.samples.shape[1])
        after = np.abs(found.samples @ np.exp(-2j * np.pi * hz / rate * time))
        assert after == pytest.approx(before, rel=0.02)


def test_the_latency_of_a_response_that_is_not_trimmed_is_its_ringing():
    samples = np.zeros((1, 500))
    samples[0, 100] = 1
    found = fit_response(samples, 48_000, 96_000, trim=False)
    assert int(np.argmax(found.samples[0])) - found.latency == 200


@pytest.mark.parametrize(
    ("file_rate", "rate"), [(44_100, 48_000), (48_000, 44_100), (96_000, 8000)]
)
@pytest.mark.parametrize("onset", [0, 960])
def test_a_trimmed_response_begins_at_its_first_loud_sample_at_any_rate(file_rate, rate, onset):
    """Regression: the ringing of the resampler before it made the sound 1 ms late."""
    samples = np.zeros((1, 4000))
    samples[0, onset] = 1
    found = fit_response(samples, file_rate, rate)
    assert int(np.argmax(found.samples[0])) == found.latency


def test_silence_around_a_response_is_trimmed():
    samples = np.concatenate([np.zeros(77), decay(), np.zeros(3000)])[None]
    found = fit_response(samples, 48_000, 48_000)
    assert found.trimmed == 77
    assert found.samples.shape[1] < 1300
    assert np.array_equal(found.samples[0, :100], decay()[:100])


def test_a_long_response_is_cut_with_a_fade():
    found = fit_response(np.ones((1, 48_000)), 48_000, 48_000, max_seconds=0.5)
    assert found.samples.shape[1] == 24_000
    assert found.cut_seconds == pytest.approx(0.5)
    assert found.samples[0, -1] == 0
    assert found.samples[0, 23_000] == 1


def test_normalised_responses_have_unit_energy_and_keep_their_balance():
    samples = np.stack([decay(), 0.5 * decay()])
    found = fit_response(samples, 48_000, 48_000, trim=False, normalize=True)
    energy = np.sum(found.samples**2, axis=1)
    assert energy == pytest.approx([1, 0.25])
    spectrum = np.abs(fft.rfft(found.samples[0], 1 << 16)) ** 2
    assert spectrum.mean() == pytest.approx(1, rel=0.01)  # the gain of white noise


def test_unsuitable_files_are_refused(write):
    with pytest.raises(AudioError, match="is silent"):
        read_impulse_response(write(np.zeros(100)), 48_000)
    with pytest.raises(AudioError, match="has 3 channels"):
        read_impulse_response(write(np.ones((100, 3)) * 0.1), 48_000)
