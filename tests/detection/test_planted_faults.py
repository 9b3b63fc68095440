"""Planted faults: ten kinds, places, strengths, the same for the same seed."""

import numpy as np
import pytest

from tests.conftest import RATE
from tests.detection.conftest import even_noise
from wavenet.detection.planted_faults import FAULTS, STRENGTHS, plant_fault
from wavenet.errors import DataError

CLEAN = even_noise(1, seed=5).numpy()


def plant(kind, strength, seed=0):
    return plant_fault(CLEAN, kind, strength, RATE, np.random.default_rng(seed))


def test_there_are_ten_kinds_and_five_strengths():
    assert (len(FAULTS), STRENGTHS) == (10, 5)


@pytest.mark.parametrize("kind", FAULTS)
@pytest.mark.parametrize("strength", range(STRENGTHS))
def test_a_fault_changes_only_its_place(kind, strength):
    fault = plant(kind, strength)
    x, start, end = fault.waveform, fault.start, fault.end
    assert x.dtype == np.float32 and np.abs(x).max() <= 1
    assert 0 < start < end <= len(x)
    assert np.array_equal(x[:start], CLEAN[:start])
    rest = len(x) - end if kind != "splice" else len(x) - start
    assert np.array_equal(x[len(x) - rest :], CLEAN[len(CLEAN) - rest :])
    changed = len(x) != len(CLEAN) or not np.array_equal(x[start:end], CLEAN[start:end])
    assert changed
    again = plant(kind, strength)
    assert np.array_equal(again.waveform, x) and again.start == start


@pytest.mark.parametrize("kind", sorted(set(FAULTS) - {"splice", "repeated block"}))
def test_a_stronger_fault_changes_more(kind):
    changes = [float(np.square(plant(kind, s).waveform - CLEAN).sum()) for s in range(STRENGTHS)]
    assert changes == sorted(changes) and changes[0] < changes[-1]


def test_faults_are_planted_where_it_is_loud():
    quiet = CLEAN.copy()
    quiet[:5_000] *= 0.01
    for seed in range(20):
        fault = plant_fault(quiet, "click", 0, RATE, np.random.default_rng(seed))
        assert fault.start > 4_900


@pytest.mark.parametrize("waveform", [CLEAN[:1_000], np.zeros(8_000, np.float32)])
def test_silence_and_very_short_recordings_are_refused(waveform):
    with pytest.raises(DataError):
        plant_fault(waveform, "click", 0, RATE, np.random.default_rng(0))
