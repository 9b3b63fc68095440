"""Latency by correlation and by clicks, against known delays."""

import numpy as np
import pytest
from scipy import fft

from tests.effects.pair_sounds import RATE, delayed, overdrive, plucked, with_clicks
from wavenet.effects.pair_lag_curve import measure_lag_curve
from wavenet.effects.pair_latency import find_clicks, find_lag, measure_click_lags


@pytest.mark.parametrize("lag", [0, 1, 137, 2500, -40])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_correlation_finds_a_delay_and_an_inversion(lag, sign):
    dry = plucked()
    found = find_lag(dry, delayed(sign * overdrive(dry), lag), RATE)
    assert found.is_found
    assert found.lag == pytest.approx(lag, abs=0.15)
    assert found.sign == sign


@pytest.mark.parametrize("fraction", [0.25, 0.5, -0.37])
def test_the_correlation_finds_a_fraction_of_a_sample(fraction):
    dry = plucked()
    turns = np.exp(-2j * np.pi * fft.rfftfreq(len(dry)) * (20 + fraction))
    wet = fft.irfft(fft.rfft(dry) * turns, len(dry))
    assert find_lag(dry, wet, RATE).lag == pytest.approx(20 + fraction, abs=0.02)


def test_recordings_of_different_sounds_have_no_lag():
    assert not find_lag(plucked(seed=1), plucked(seed=2), RATE).is_found
    assert not find_lag(plucked(), np.zeros(RATE), RATE).is_found


def test_only_isolated_clicks_are_found():
    assert find_clicks(with_clicks(), RATE).tolist() == [4000, 12_000]
    assert find_clicks(plucked(), RATE).tolist() == []
    assert find_clicks(np.zeros(RATE), RATE).tolist() == []
    noisy = with_clicks()
    noisy[4050:4100] = 0.05  # not quiet after the first one
    assert find_clicks(noisy, RATE).tolist() == [12_000]


@pytest.mark.parametrize("lag", [0, 31, -12])
def test_the_onset_after_a_click_is_its_lag(lag):
    dry = with_clicks()
    noise = 1e-4 * np.random.default_rng(0).standard_normal(len(dry) + 31)
    wet = delayed(overdrive(dry), lag)
    found = measure_click_lags(wet + noise[: len(wet)], find_clicks(dry, RATE), RATE, 0)
    assert found.lags.tolist() == [lag, lag]
    assert found.onset == lag


def test_a_click_without_answer_has_no_lag():
    noise = 0.01 * np.random.default_rng(0).standard_normal(2 * RATE)
    found = measure_click_lags(noise, np.array([4000]), RATE, 0)
    assert found.onset is None


def test_the_lag_curve_is_flat_for_a_whole_pair():
    dry = plucked(12)
    curve = measure_lag_curve(dry, delayed(overdrive(dry), 9), RATE, 9)
    assert curve.jumps == ()
    assert abs(curve.drift) < 0.2
    assert curve.misses == 0


@pytest.mark.parametrize("lost", [5, 64, 400])
def test_lost_samples_are_a_jump_at_their_place(lost):
    dry = plucked(16)
    wet = np.delete(overdrive(dry), slice(60_000, 60_000 + lost))
    curve = measure_lag_curve(dry, wet, RATE, 0)
    ((place, size),) = curve.jumps
    assert abs(curve.drift) < 0.2  # without the jump
    assert size == pytest.approx(-lost, abs=1)
    assert abs(place - 60_000) < 0.9 * RATE


def test_a_slower_clock_is_a_slope_without_jumps():
    dry = plucked(16)
    stretched = np.interp(np.arange(len(dry)) * (1 - 10e-6), np.arange(len(dry)), dry)
    curve = measure_lag_curve(dry, overdrive(stretched), RATE, 0)
    assert curve.jumps == ()
    assert 1e6 * curve.slope == pytest.approx(10, rel=0.3)
