"""Loudness against the figures of the standard and of its test signals."""

import pytest
import torch

from audio_utils.lufs import integrated_loudness

RATE = 48_000


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
def test_a_full_sine_has_the_loudness_of_the_standard(sine, rate):
    """ITU-R BS.1770-4, annex 1: 997 Hz at 0 dB re full scale in one channel is -3.01 LUFS."""
    loudness = integrated_loudness(sine(997, rate, rate, 1.0), rate)
    assert loudness == pytest.approx(-3.01, abs=0.05 if rate > 10_000 else 0.1)


def test_low_tones_count_less_and_high_ones_more(sine):
    """The K weighting: -1 dB at 100 Hz, +4 dB well above 2 kHz, each within 0.3 dB."""
    low, high = (integrated_loudness(sine(hz, RATE, RATE, 1.0), RATE) for hz in (100, 8000))
    assert low == pytest.approx(-3.01 - 0.691 - 1.1, abs=0.3)
    assert high == pytest.approx(-3.01 - 0.691 + 4.0, abs=0.3)


def test_quiet_parts_are_left_out(sine):
    """EBU Tech 3341, test signal 3, in one channel: -36, -23 and -36 dB re full scale."""
    tone = sine(1000, RATE, 10 * RATE, 1.0)
    parts = [10 ** (-36 / 20) * tone, *[10 ** (-23 / 20) * tone] * 6, 10 ** (-36 / 20) * tone]
    assert integrated_loudness(torch.cat(parts), RATE) == pytest.approx(-23 - 3.01, abs=0.1)


def test_silence_and_less_than_a_block_have_none(sine):
    assert integrated_loudness(torch.zeros(RATE), RATE) is None
    assert integrated_loudness(1e-4 * sine(1000, RATE, RATE), RATE) is None
    assert integrated_loudness(sine(1000, RATE, round(0.4 * RATE) - 1), RATE) is None
    assert integrated_loudness(sine(1000, RATE, round(0.4 * RATE)), RATE) is not None
