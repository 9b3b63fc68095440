"""Levels, clipping, gaps, noise and repeats, against closed forms."""

import numpy as np
import pytest

from tests.effects.pair_sounds import RATE, overdrive, plucked
from wavenet.effects.pair_levels import (
    find_flat_tops,
    find_full_scale,
    find_gaps,
    measure_noise,
    measure_recording,
)
from wavenet.effects.pair_repeats import compare_repeats, find_repeats


def sine(frequency=100.0, seconds=1.0, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency / RATE * np.arange(round(seconds * RATE)))


def test_levels_of_a_sine():
    levels = measure_recording(sine() + 0.1, RATE)
    assert levels.peak_db == pytest.approx(20 * np.log10(0.6), abs=0.01)
    assert levels.rms_db == pytest.approx(20 * np.log10(0.5 / np.sqrt(2)), abs=0.01)
    assert levels.dc == pytest.approx(0.1)
    assert (levels.full_scale, levels.flat_tops, levels.silent) == (0, 0, 0)
    assert levels.crest_db == pytest.approx(levels.peak_db - levels.rms_db)


def test_silence_is_counted_in_blocks():
    samples = sine()
    samples[: RATE // 4] = 0
    assert measure_recording(samples, RATE).silent == pytest.approx(0.25)


def test_only_runs_at_full_scale_are_clipped():
    samples = np.zeros(100)
    samples[[3, 10, 11, 20, 21, 22]] = 1.0
    samples[40:44] = -1.0
    assert np.flatnonzero(find_full_scale(samples)).tolist() == [20, 21, 22, 40, 41, 42, 43]


def test_flat_tops_are_those_of_a_clipped_sine_and_not_of_a_slow_one():
    assert find_flat_tops(sine(20)) == []
    rounded = np.round(sine(2) * 2**15) / 2**15
    assert find_flat_tops(rounded) == []
    clipped = np.clip(sine(100), -0.4, 1)
    assert len(find_flat_tops(clipped)) == 100
    assert find_flat_tops(np.clip(sine(100, amplitude=2), -1, 1)) == []  # at full scale


def test_gaps_are_zeros_of_the_wet_recording_while_the_dry_one_is_loud():
    dry = sine()
    wet = sine() + 0.1
    wet[5000:5064] = 0
    assert find_gaps(dry, wet, RATE) == [(5000, 5064)]
    dry[4000:6000] = 0
    assert find_gaps(dry, wet, RATE) == []


def test_noise_is_measured_where_the_dry_recording_is_quiet():
    rng = np.random.default_rng(0)
    dry = np.concatenate([sine(), np.zeros(RATE)])
    wet = dry + 1e-3 * rng.standard_normal(len(dry))
    wet[RATE : RATE + 500] += 0.1  # the tail of the effect
    found = measure_noise(dry, wet, RATE)
    assert found.rms_db == pytest.approx(-60, abs=0.3)
    assert found.seconds == pytest.approx(0.9)
    assert measure_noise(sine(), wet, RATE) is None


def test_a_repeated_part_is_found_and_compared():
    first = plucked(3, seed=1)
    dry = np.concatenate([first, plucked(4, seed=2), first])
    (part,) = find_repeats(dry, RATE)
    assert part.start == 0
    assert part.again == 7 * RATE
    assert part.samples == pytest.approx(3 * RATE, abs=0.1 * RATE)
    wet = overdrive(dry)
    (same,) = compare_repeats(wet, [part], 0, RATE)
    assert same.esr < 1e-6
    wet[part.again :] *= 1.1  # a knob was turned
    (other,) = compare_repeats(wet, [part], 0, RATE)
    assert other.esr == pytest.approx(0.01 / (0.5 * (1 + 1.21)), rel=0.05)


def test_three_copies_count_once_and_other_sounds_not_at_all():
    first = plucked(2, seed=1)
    assert len(find_repeats(np.concatenate([first, first, first]), RATE)) <= 2
    assert find_repeats(plucked(8), RATE) == []
    assert find_repeats(np.zeros(4 * RATE), RATE) == []
