"""Channels and levels: what is limited, scaled or cancelled is counted and reported."""

import math

import numpy as np
import pytest
import soundfile
import torch

from audio_utils import analysis
from audio_utils.decoding import decode_file, iterate_blocks, measure_file
from audio_utils.errors import AudioError
from audio_utils.io import read
from audio_utils.levels import (
    CHANNELS,
    Levels,
    LevelSummary,
    SampleStatistics,
    describe_levels,
)

from .crafted_files import RATE, assert_read_error, float_wav


def write_float(path, *channels, rate=RATE):
    """Write a float file with these channels."""
    soundfile.write(path, np.stack(channels, axis=1), rate, subtype="FLOAT")
    return path


@pytest.fixture
def noise(rng):
    return [0.2 * rng.standard_normal(RATE).astype(np.float32) for _ in range(4)]


@pytest.mark.parametrize(
    ("channel", "expected"),
    [("mix", 0.25), ("left", 0.5), ("right", 0.1), ("mid", 0.3), ("side", 0.2)],
)
def test_a_channel_or_a_combination_is_read(tmp_path, channel, expected):
    values = [np.full(100, value, np.float32) for value in (0.5, 0.1, 0.15)]
    path = write_float(tmp_path / "a.wav", *values)
    recording = read(path, channel=channel)
    assert torch.allclose(recording.waveform, torch.full((100,), expected), atol=1e-7)
    assert recording.channels == 3


@pytest.mark.parametrize("channel", ["mix", "left", "right", "mid"])
def test_every_channel_of_a_mono_file_is_the_file(tmp_path, noise, channel):
    path = write_float(tmp_path / "a.wav", noise[0])
    assert np.array_equal(read(path, channel=channel).waveform.numpy(), noise[0])


def test_the_side_of_a_mono_file_and_unknown_channels_raise(tmp_path, noise):
    path = write_float(tmp_path / "a.wav", noise[0])
    assert_read_error(path, "has one channel, but the channel side", channel="side")
    with pytest.raises(AudioError, match="one of mix, left, right, mid, side; found 'centre'"):
        read(path, channel="centre")


def test_samples_beyond_full_scale_are_counted_with_the_largest(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0.5, 3.0, -1.0, -2.0, 1.0, 1.0005]))
    recording = read(tmp_path / "a.wav")
    assert recording.levels == Levels(peak=3.0, over_samples=2)
    assert recording.clipped_samples == 3
    (phrase,) = describe_levels(recording.levels)
    assert "2 samples" in phrase
    assert "9.5 dB" in phrase
    assert "--normalize" in phrase
    assert "--" not in describe_levels(recording.levels, advise=False)[0]


def test_resampling_beyond_full_scale_is_limited_without_a_message(tmp_path):
    square = np.ones(8000)
    square[::50] = -1
    soundfile.write(tmp_path / "a.wav", square, 8000, subtype="PCM_16")
    recording = read(tmp_path / "a.wav", sample_rate=RATE)
    assert recording.clipped_samples > 0
    assert recording.levels.over_samples == 0
    assert describe_levels(recording.levels) == []


@pytest.mark.parametrize("rate", [RATE, 11_025])
def test_normalize_scales_the_peak_to_full_scale(tmp_path, noise, rate):
    loud = noise[0] * 100
    path = write_float(tmp_path / "a.wav", loud)
    recording = read(path, rate, normalize=True)
    assert recording.clipped_samples == 0
    assert recording.waveform.abs().max() == pytest.approx(1, abs=1e-6)
    quiet = read(write_float(tmp_path / "b.wav", noise[0] * 0.1), rate).waveform
    assert torch.allclose(recording.waveform / recording.levels.gain, quiet * 1000, atol=1e-2)
    assert describe_levels(recording.levels)[0].startswith("scaled by -")


@pytest.mark.parametrize("peak", [0.3, 1.0])
def test_normalize_leaves_a_recording_within_full_scale_as_it_is(tmp_path, noise, peak):
    values = noise[0] / np.abs(noise[0]).max() * np.float32(peak)
    path = write_float(tmp_path / "a.wav", values)
    recording = read(path, normalize=True)
    assert np.array_equal(recording.waveform.numpy(), values)
    assert recording.levels.gain == 1


def test_normalize_reads_integers_stored_as_floats(tmp_path):
    (tmp_path / "a.wav").write_bytes(float_wav([0, 16_000, -32_000]))
    assert_read_error(tmp_path / "a.wav", "up to 3.2e.04")
    waveform = read(tmp_path / "a.wav", normalize=True).waveform
    assert torch.allclose(waveform, torch.tensor([0, 0.5, -1]))


def test_opposite_polarity_is_refused_and_its_channels_are_read(tmp_path, noise):
    path = write_float(tmp_path / "a.wav", noise[0], -noise[0])
    assert_read_error(path, "channels cancel each other.*--channel left")
    assert np.array_equal(read(path, channel="left").waveform.numpy(), noise[0])
    assert np.array_equal(read(path, channel="side").waveform.numpy(), noise[0])
    assert_read_error(path, "channels cancel each other", channel="mid")


def test_opposite_polarity_is_noticed_in_spite_of_an_offset_and_of_rounding(tmp_path, noise):
    path = write_float(tmp_path / "offset.wav", noise[0] + 0.1, 0.1 - noise[0])
    assert_read_error(path, "channels cancel each other")
    rounded = np.stack([noise[0], -noise[0] + 1 / 32_768], axis=1)
    soundfile.write(tmp_path / "pcm.wav", rounded, RATE, subtype="PCM_16")
    assert_read_error(tmp_path / "pcm.wav", "channels cancel each other")


def test_channels_that_nearly_cancel_are_reported(tmp_path, noise):
    path = write_float(tmp_path / "a.wav", noise[0], -0.8 * noise[0])
    levels = read(path).levels
    # the mix is 0.1 of the left channel
    expected = 10 * math.log10(0.1**2 / ((1 + 0.8**2) / 2))
    assert levels.mix_loss_db == pytest.approx(expected, abs=0.01)
    assert levels.is_cancelled
    assert "--channel left" in describe_levels(levels)[0]
    assert not read(path, channel="left").levels.is_cancelled


def test_usual_stereo_is_not_reported(tmp_path, noise):
    """Wide stereo: independent channels, one silent channel, and correlation of -0.5."""
    silence = np.zeros_like(noise[0])
    for n, channels in enumerate(
        [
            noise[:2],
            [noise[0], silence],
            noise,
            [noise[0], *[silence] * 7],
            [noise[0], -0.5 * noise[0] + 0.87 * noise[1]],
            [silence, silence],
            [silence + 0.1, silence - 0.1],
        ]
    ):
        levels = read(write_float(tmp_path / f"{n}.wav", *channels)).levels
        assert not levels.is_cancelled, n
        assert describe_levels(levels) == []


@pytest.mark.parametrize("rate", [RATE, 8000, 44_100])
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("normalize", [False, True])
def test_blocks_are_the_samples_of_the_whole_file(tmp_path, rng, rate, channel, normalize):
    stereo = 0.8 * rng.standard_normal((2, 200_000)).astype(np.float32)
    path = write_float(tmp_path / "a.wav", *stereo)
    whole = decode_file(path, rate, channel=channel, normalize=normalize)
    measured = measure_file(path, rate, channel, normalize)
    assert (measured.samples, measured.levels) == (len(whole.samples), whole.levels)
    assert measured.clipped_samples == whole.clipped_samples
    blocks = list(iterate_blocks(path, rate, channel, measured.levels.gain))
    assert len(blocks) > 2
    assert np.array_equal(np.concatenate(blocks), whole.samples)


@pytest.mark.parametrize("size", [1, 79, 80, 1000, 5000])
def test_statistics_of_blocks_are_those_of_the_whole(rng, size):
    for clipped in ([], [0, 1], [998, 999, 1000], [4998, 4999]):
        waveform = 1e-3 * rng.standard_normal(5000).astype(np.float32)
        waveform[1000:3000] = 0
        waveform[clipped] = 1
        statistics = SampleStatistics(8000)
        for start in range(0, 5000, size):
            statistics.add(waveform[start : start + size])
        whole = torch.from_numpy(waveform)
        assert statistics.is_clipped == analysis.is_clipped(whole)
        expected = analysis.silent_fraction(whole, 8000) * 5000 / 8000
        assert statistics.silent_seconds == pytest.approx(expected)


def test_a_summary_counts_files_and_names_the_first():
    summary = LevelSummary()
    assert summary.sentences() == []
    for n in range(1000):
        summary = summary.with_file(f"{n}.wav", Levels(1 + n / 1000, over_samples=5))
    summary = summary.merged(LevelSummary().with_file("x.wav", Levels(3, 7, gain=1 / 3)))
    summary = summary.with_file("y.wav", Levels(0.5, 0, -40.0, is_cancelled=True))
    assert (summary.over_count, summary.scaled_count, summary.cancelled_count) == (1000, 1, 1)
    assert summary.over == tuple(f"{n}.wav" for n in range(20))
    assert summary.peak == 3
    over, scaled, cancelled = summary.sentences()
    assert over.startswith("1,000 files have samples beyond full scale, the largest by 9.5 dB")
    assert "0.wav, 1.wav, 2.wav .." in over
    assert scaled.startswith("1 file has")
    assert "y.wav" in cancelled
