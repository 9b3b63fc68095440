"""The computed riff: deterministic, in tune, and like a recorded guitar in level."""

import numpy as np
import pytest

from wavenet.effects.example_riff import PEAK, make_riff, pluck


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000])
def test_the_riff_is_always_the_same(rate: int) -> None:
    riff = make_riff(rate)
    assert riff.shape == (6 * rate,)
    assert riff.dtype == np.float32
    assert np.array_equal(riff, make_riff(rate))
    assert np.abs(riff).max() == pytest.approx(PEAK)


@pytest.mark.parametrize("note", [40, 52, 64])
def test_a_string_has_its_pitch(note: int) -> None:
    """The first partial of the spectrum is the fundamental."""
    rate, padded = 48_000, 4 * 48_000
    expected = 440 * 2 ** ((note - 69) / 12)
    sound = pluck(note, rate, rate, np.random.default_rng(1))
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(rate), padded))
    first = spectrum[: round(1.5 * expected * padded / rate)]
    found = np.argmax(first) * rate / padded
    assert 1200 * abs(np.log2(found / expected)) < 12


def test_high_partials_decay_first() -> None:
    rate = 48_000
    sound = pluck(45, 2 * rate, rate, np.random.default_rng(1))
    early, late = (np.abs(np.fft.rfft(sound[n : n + 8192])) ** 2 for n in (2000, 60_000))
    high = slice(500, 2000)  # from 3 kHz on
    assert late[high].sum() / late.sum() < 0.01 * early[high].sum() / early.sum()


def test_a_note_ends_without_a_click() -> None:
    sound = pluck(40, 24_000, 48_000, np.random.default_rng(0))
    assert abs(sound[-1]) < 1e-3
