"""Statistics of a recording against closed forms, and features against librosa."""

import math

import librosa
import numpy as np
import pytest
import torch

from audio_utils import analysis
from audio_utils.analysis import measure_recording
from audio_utils.errors import AudioError
from audio_utils.example_sound import DURATION_SECONDS, NOTES, make_example_sound, make_note

RATE = 16_000


def test_levels_of_a_sine_equal_the_closed_form(make_sine):
    measures = measure_recording(make_sine(1000, RATE, RATE, amplitude=0.5), RATE)
    assert measures.peak_db == pytest.approx(20 * math.log10(0.5), abs=1e-3)
    assert measures.rms_db == pytest.approx(20 * math.log10(0.5) - 3.0103, abs=1e-3)
    assert measures.crest_db == pytest.approx(3.0103, abs=1e-3)
    assert measures.dc == pytest.approx(0, abs=1e-6)
    assert (measures.seconds, measures.samples, measures.sample_rate) == (1.0, RATE, RATE)
    assert (measures.full_scale_samples, measures.silent_fraction) == (0, 0)


def test_samples_at_full_scale_are_counted(make_sine):
    loud = (2 * make_sine(100, RATE, RATE, 1.0)).clamp(-1, 32767 / 32768)
    expected = int((2 * make_sine(100, RATE, RATE, 1.0)).abs().ge(32767 / 32768).sum())
    assert expected > RATE / 2
    assert measure_recording(loud, RATE).full_scale_samples == expected
    assert (
        measure_recording(make_sine(100, RATE, RATE, 32766 / 32768), RATE).full_scale_samples == 0
    )


def test_a_dc_offset_is_measured(make_sine):
    assert measure_recording(make_sine(100, RATE, RATE) + 0.1, RATE).dc == pytest.approx(
        0.1, abs=1e-6
    )


@pytest.mark.parametrize("samples", [1, 5, RATE])
def test_silence_has_no_level_and_a_silent_fraction_of_1(samples):
    measures = measure_recording(torch.zeros(samples), RATE)
    assert measures.peak_db is measures.rms_db is measures.crest_db is None
    assert measures.loudness_lufs is None
    assert measures.silent_fraction == 1


def test_the_silent_fraction_counts_blocks_of_10_ms():
    waveform = torch.full((RATE,), 0.0011)  # -59.2 dB
    waveform[: RATE // 4] = 0.0009  # -60.9 dB
    assert analysis.silent_fraction(waveform, RATE) == 0.25


def test_groups_are_averaged_and_the_last_may_be_smaller():
    assert analysis.group_means(torch.arange(7.0), 3).tolist() == [1, 4, 6]
    assert analysis.group_means(torch.arange(2.0), 3).tolist() == [0.5]


def test_the_entropy_of_a_fair_and_of_a_loaded_die():
    assert analysis.entropy(torch.arange(256).repeat(3)) == pytest.approx(8)
    assert analysis.entropy(torch.tensor([7, 7, 7, 7])) == 0
    assert analysis.entropy(torch.tensor([0, 0, 0, 9])) == pytest.approx(0.8112781)


def test_deltas_are_the_slope_and_agree_with_librosa(rng):
    ramp = 3 * torch.arange(40.0)[None]
    assert analysis.deltas(ramp)[0, 4:-4].tolist() == pytest.approx([3] * 32)
    noise = rng.standard_normal((20, 50)).astype(np.float32)
    ours = analysis.deltas(torch.from_numpy(noise))
    theirs = librosa.feature.delta(noise, width=9, mode="nearest")
    assert np.allclose(ours, theirs, atol=1e-5)
    assert analysis.deltas(torch.ones(20, 1)).tolist() == [[0.0]] * 20


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
def test_concert_pitch_is_440_hertz(make_sine, rate):
    hertz, hop_seconds = analysis.recording_f0(make_sine(440, rate, rate), rate)
    assert hop_seconds == pytest.approx(0.010, abs=1e-4)
    assert len(hertz) == pytest.approx(1 / hop_seconds, abs=2)
    middle = hertz[10:-10]
    assert middle.tolist() == pytest.approx([440] * len(middle), rel=0.01)


@pytest.mark.parametrize("hertz", [40, 1900])
def test_a_tone_outside_the_range_has_no_pitch_at_its_limit(make_sine, hertz):
    """The limit of the search was shown as the pitch."""
    found = analysis.recording_f0(make_sine(hertz, RATE, RATE), RATE)[0]
    low, high = analysis.PITCH_RANGE_HZ
    assert not ((found > 0) & ((found < 1.01 * low) | (found > high / 1.01))).any()


@pytest.mark.parametrize("samples", [1, 5, 200])
def test_a_recording_of_a_few_samples_has_no_pitch(make_sine, samples):
    assert not analysis.recording_f0(make_sine(440, RATE, RATE)[:samples], RATE)[0].any()


def test_noise_has_almost_no_pitch_and_silence_none(rng):
    noise = torch.from_numpy(rng.standard_normal(RATE).astype(np.float32)) * 0.1
    assert (analysis.recording_f0(noise, RATE)[0] > 0).float().mean() < 0.1
    assert not analysis.recording_f0(torch.zeros(RATE), RATE)[0].any()


def test_the_pitch_of_a_long_recording_has_2000_frames(monkeypatch):
    arguments = {}

    def f0(waveform, sample_rate, hop_length, f_min, f_max):
        arguments.update(rate=sample_rate, hop=hop_length, samples=len(waveform))
        return torch.zeros(3)

    monkeypatch.setattr(analysis, "f0", f0)
    _, hop_seconds = analysis.recording_f0(torch.zeros(120 * 48_000), 48_000)
    assert arguments == {"rate": 16_000, "hop": 960, "samples": 120 * 16_000}
    assert hop_seconds == 0.06


@pytest.mark.parametrize("samples", [1, 100, 5000])
@pytest.mark.parametrize("rate", [4000, 44_100])
def test_features_of_any_length_share_one_time_axis(samples, rate):
    waveform = torch.linspace(-0.5, 0.5, samples)
    arrays = analysis.feature_arrays(waveform, rate)
    frames = len(arrays["seconds"])
    assert frames == 1 + samples // round(0.008 * rate)
    assert {array.shape[-1] for array in arrays.values()} == {frames}
    assert all(array.isfinite().all() for array in arrays.values())
    assert arrays["mfcc_db"].shape == arrays["mfcc_delta_delta_db"].shape == (20, frames)
    assert torch.equal(arrays["mfcc_delta_db"], analysis.deltas(arrays["mfcc_db"]))
    analysis.recording_f0(waveform, rate)


def test_arrays_round_trip_and_a_missing_folder_is_an_audio_error(tmp_path):
    path = tmp_path / "a.npz"
    analysis.save_arrays(path, {"x": torch.arange(3), "rate": torch.tensor(8000)})
    with np.load(path, allow_pickle=False) as saved:
        assert saved["x"].tolist() == [0, 1, 2]
        assert int(saved["rate"]) == 8000
    with pytest.raises(AudioError, match="does not exist"):
        analysis.save_arrays(tmp_path / "missing" / "a.npz", {"x": torch.zeros(1)})


@pytest.mark.parametrize("rate", [4000, 16_000, 44_100])
def test_the_example_sound_contains_its_notes(rate):
    sound = make_example_sound(rate)
    assert len(sound) == DURATION_SECONDS * rate
    assert torch.equal(sound, make_example_sound(rate))
    assert sound.abs().max() == pytest.approx(0.5)
    hertz, hop_seconds = analysis.recording_f0(sound, rate)
    for start, expected in NOTES:
        inside = hertz[round((start + 0.1) / hop_seconds) : round((start + 0.3) / hop_seconds)]
        assert inside.tolist() == pytest.approx([expected] * len(inside), rel=0.01)
    assert measure_recording(sound, rate).silent_fraction > 0.1


def test_a_note_has_its_pitch_and_peak():
    note = make_note(440, 0.5, RATE, peak=0.3)
    assert len(note) == RATE // 2
    assert note.abs().max() == pytest.approx(0.3)
    hertz, _ = analysis.recording_f0(note, RATE)
    assert float(hertz[hertz > 0].median()) == pytest.approx(440, rel=0.01)
