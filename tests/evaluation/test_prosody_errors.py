"""Prosody: durations, pitch and voicing of the same phones in two sounds."""

import numpy as np
import pytest
import torch

from tests.conftest import RATE, sine
from wavenet.evaluation.prosody_errors import (
    compare_prosody,
    correlate_durations,
    map_frames,
)

PHONES = [(0.1, 0.2), (0.2, 0.5), (0.5, 0.6), (0.7, 0.9)]


def stretch(times, factor):
    return [(start * factor, end * factor) for start, end in times]


def test_equal_sounds_have_no_error():
    tone = sine(1.0, 150.0)
    errors = compare_prosody(tone, PHONES, tone, PHONES, RATE)
    assert errors.duration_correlation == pytest.approx(1)
    assert (errors.f0_semitones, errors.voicing) == (0, 0)


@pytest.mark.parametrize("semitones", [-5, 3, 7])
def test_a_wrong_pitch_is_the_error_in_semitones(semitones):
    """Negative control, at half the speed: the time is mapped."""
    tone, other = sine(1.0, 150.0), sine(2.0, 150.0 * 2 ** (semitones / 12))
    errors = compare_prosody(tone, PHONES, other, stretch(PHONES, 2), RATE)
    assert errors.f0_semitones == pytest.approx(abs(semitones), abs=0.2)
    assert errors.duration_correlation == pytest.approx(1)
    assert errors.voicing == 0


def test_a_whisper_has_wrong_voicing_and_no_pitch(rng):
    noise = torch.from_numpy(rng.normal(0, 0.1, RATE)).float()
    errors = compare_prosody(sine(1.0, 150.0), PHONES, noise, PHONES, RATE)
    assert errors.voicing > 0.6


def test_the_correlation_is_that_of_numpy_and_may_be_undefined():
    times = [(0.0, 0.1), (0.1, 0.3), (0.3, 0.35)]
    other = [(0.0, 0.2), (0.2, 0.25), (0.25, 0.5)]
    expected = np.corrcoef([0.1, 0.2, 0.05], [0.2, 0.05, 0.25])[0, 1]
    assert correlate_durations(times, other) == pytest.approx(expected)
    assert correlate_durations(times[:2], other[:2]) is None
    assert correlate_durations(times, [(0.0, 1.0)] * 3) is None


def test_frames_are_mapped_inside_their_phone():
    places, mapped = map_frames([(0.0, 0.1), (0.2, 0.3)], [(0.0, 0.2), (0.5, 0.6)], 0.01)
    assert places.tolist() == [*range(10), *range(20, 30)]
    assert mapped.tolist() == [*range(0, 20, 2), *range(50, 60)]
    assert map_frames([], [], 0.01)[0].shape == (0,)
