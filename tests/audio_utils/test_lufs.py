"""Loudness against the values and test signals of the standards."""

import pytest
import torch

from audio_utils.lufs import clip_loudness, integrated_loudness

RATE = 48_000


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_a_full_scale_sine_has_the_loudness_of_the_standard(make_sine, rate):
    """ITU-R BS.1770-4, annex 1: 997 Hz at 0 dB re full scale in one channel is -3.01 LUFS."""
    loudness = integrated_loudness(make_sine(997, rate, rate, 1.0), rate)
    assert loudness == pytest.approx(-3.01, abs=0.05 if rate > 10_000 else 0.1)


def test_the_k_weighting_attenuates_low_and_boosts_high_frequencies(make_sine):
    """The K weighting: -1 dB at 100 Hz, +4 dB well above 2 kHz, each within 0.3 dB."""
    low, high = (integrated_loudness(make_sine(hz, RATE, RATE, 1.0), RATE) for hz in (100, 8000))
    assert low == pytest.approx(-3.01 - 0.691 - 1.1, abs=0.3)
    assert high == pytest.approx(-3.01 - 0.691 + 4.0, abs=0.3)


def test_the_relative_gate_excludes_quiet_passages(make_sine):
    """EBU Tech 3341, test signal 3, in one channel: -36, -23 and -36 dB re full scale."""
    tone = make_sine(1000, RATE, 10 * RATE, 1.0)
    parts = [10 ** (-36 / 20) * tone, *[10 ** (-23 / 20) * tone] * 6, 10 ** (-36 / 20) * tone]
    assert integrated_loudness(torch.cat(parts), RATE) == pytest.approx(-23 - 3.01, abs=0.1)


def test_silence_and_less_than_a_block_have_no_loudness(make_sine):
    assert integrated_loudness(torch.zeros(RATE), RATE) is None
    assert integrated_loudness(1e-4 * make_sine(1000, RATE, RATE), RATE) is None
    assert integrated_loudness(make_sine(1000, RATE, round(0.4 * RATE) - 1), RATE) is None
    assert integrated_loudness(make_sine(1000, RATE, round(0.4 * RATE)), RATE) is not None


def test_an_incomplete_last_block_is_excluded(make_sine):
    """ITU-R BS.1770-4, annex 1: only complete blocks count."""
    loud, quiet = make_sine(1000, RATE, RATE), 0.5 * make_sine(1000, RATE, round(0.099 * RATE))
    assert integrated_loudness(torch.cat([loud, quiet]), RATE) == integrated_loudness(loud, RATE)
    step = 0.5 * make_sine(1000, RATE, round(0.1 * RATE))
    assert integrated_loudness(torch.cat([loud, step]), RATE) < integrated_loudness(loud, RATE)


@pytest.mark.parametrize("rate", [8000, 48_000])
@pytest.mark.parametrize("seconds", [0.05, 0.1, 0.39])
def test_a_clip_shorter_than_a_block_is_one_block_of_its_length(make_sine, rate, seconds):
    """ITU-R BS.1770-4, annex 1: the loudness of an interval, -3.01 LUFS as in a longer sine."""
    clip = make_sine(997, rate, round(seconds * rate), 1.0)
    assert integrated_loudness(clip, rate) is None
    assert clip_loudness(clip, rate) == pytest.approx(-3.01, abs=0.1)
    assert clip_loudness(0.1 * clip, rate) == pytest.approx(-23.01, abs=0.1)
    assert clip_loudness(1e-4 * clip, rate) is None  # below the absolute gate


def test_a_clip_as_long_as_a_block_has_its_integrated_loudness(make_sine):
    for samples in (round(0.4 * RATE), RATE):
        clip = make_sine(1000, RATE, samples)
        assert clip_loudness(clip, RATE) == integrated_loudness(clip, RATE)
    with_silence = torch.cat([make_sine(1000, RATE, RATE), torch.zeros(9 * RATE)])
    assert clip_loudness(with_silence, RATE) == integrated_loudness(with_silence, RATE)
    assert clip_loudness(torch.zeros(0), RATE) is None
