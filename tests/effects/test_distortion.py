"""Transfer curves and harmonics of effects whose output is known in closed form."""

import math

import numpy as np
import pytest

from wavenet.effects.distortion import measure_distortion, measure_transfer

RATE = 48_000


def test_a_clean_effect_has_a_line_and_no_harmonics() -> None:
    curve = measure_transfer(lambda x: 0.5 * x, RATE)
    assert curve.frequency == pytest.approx(100)
    assert np.allclose(curve.outputs, 0.5 * curve.inputs)
    assert curve.inputs.max() == pytest.approx(1, abs=1e-3)
    for row in measure_distortion(lambda x: 0.5 * x, RATE):
        assert row.thd < 1e-9
        assert row.output_db == pytest.approx(row.level_db - 6.0206, abs=1e-3)


def test_the_third_harmonic_of_a_cube() -> None:
    """sin³ = (3 sin x - sin 3x) / 4: the third harmonic is a third of the fundamental."""
    rows = measure_distortion(lambda x: x**3, RATE, [330.0, 1000.0], [0.0, -20.0])
    assert [round(row.frequency) for row in rows[::2]] == [328, 1002]
    for row in rows:
        assert row.thd == pytest.approx(1 / 3)
        fundamental = 20 * math.log10(0.75) + 3 * row.level_db
        assert row.output_db == pytest.approx(fundamental)


def test_distortion_grows_with_the_level_of_a_soft_clipper() -> None:
    rows = measure_distortion(np.tanh, RATE, [330.0], [-36.0, -24.0, -12.0, 0.0])
    assert [row.thd for row in rows] == sorted(row.thd for row in rows)
    # tanh x = x - x³/3: at a small amplitude a the third harmonic is a²/12
    assert rows[0].thd == pytest.approx(10 ** (-36 / 10) / 12, rel=0.01)


def test_a_delay_makes_a_loop() -> None:
    """A delay of a quarter of a period maps 0 to the extremes."""
    curve = measure_transfer(lambda x: np.concatenate([np.zeros(120), x[:-120]]), RATE)
    at_zero = curve.outputs[np.argsort(np.abs(curve.inputs))[:2]]
    assert np.allclose(np.abs(at_zero), 1, atol=0.02)
    assert np.allclose(curve.inputs**2 + curve.outputs**2, 1, atol=1e-6)


def test_a_silent_effect_has_no_distortion() -> None:
    (row,) = measure_distortion(np.zeros_like, RATE, [330.0], [0.0])
    assert math.isnan(row.thd)
    assert row.output_db == -math.inf


def test_frequencies_without_harmonics_are_left_out() -> None:
    assert not measure_distortion(np.tanh, 8000, [2640.0])
    assert len(measure_distortion(np.tanh, 8000, [1320.0], [0.0])) == 1
