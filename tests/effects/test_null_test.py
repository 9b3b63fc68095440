"""The null test: equal sounds, volume controls, and what is left in closed form."""

import math

import numpy as np
import pytest

from wavenet.effects.null_test import subtract

TIME = np.arange(8000) / 8000
SINE = np.sin(2 * np.pi * 100 * TIME)[None]
THIRD = np.sin(2 * np.pi * 300 * TIME)[None]


def test_equal_sounds_leave_nothing() -> None:
    found = subtract(SINE, SINE, is_scaled=False)
    assert found.is_silent
    assert not found.difference.any()
    assert (found.gain, found.level_db) == (1, -math.inf)


def test_a_volume_control_leaves_nothing_only_if_scaled() -> None:
    assert subtract(0.5 * SINE, SINE, is_scaled=True).gain == pytest.approx(0.5)
    assert subtract(0.5 * SINE, SINE, is_scaled=True).level_db < -250
    assert subtract(0.5 * SINE, SINE, is_scaled=False).level_db == pytest.approx(0, abs=1e-9)


def test_a_harmonic_is_left() -> None:
    """The energy of a third harmonic of a tenth is 1 % of the fundamental, of 1.01 in all."""
    found = subtract(2 * (SINE + 0.1 * THIRD), SINE, is_scaled=True)
    assert found.gain == pytest.approx(2)
    assert found.level_db == pytest.approx(10 * math.log10(0.01 / 1.01))
    assert np.allclose(found.difference, 0.2 * THIRD, atol=1e-6)


def test_an_inverted_sound_has_a_negative_gain() -> None:
    assert subtract(-0.3 * SINE, SINE, is_scaled=True).gain == pytest.approx(-0.3)


def test_one_channel_is_subtracted_from_both() -> None:
    stereo = np.concatenate([SINE, SINE + THIRD])
    found = subtract(stereo, SINE, is_scaled=False)
    assert found.difference.shape == stereo.shape
    assert not found.difference[0].any()


def test_silence() -> None:
    silence = np.zeros_like(SINE)
    assert math.isnan(subtract(silence, SINE, is_scaled=True).level_db)
    assert subtract(SINE, silence, is_scaled=True).level_db == 0


def test_other_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="shape"):
        subtract(SINE, SINE[:, :-1], is_scaled=False)
