"""Thresholds: the counted rates on known noise, interpolation, windows, too little sound."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from wavenet.detection import window_means as window_means_module
from wavenet.detection.events import select_events
from wavenet.detection.tail_thresholds import (
    count_alarms,
    interpolate_threshold,
    measure_thresholds,
)
from wavenet.detection.window_means import WINDOW_SECONDS, block_maxima, window_means
from wavenet.errors import DataError

SLOW_RATE = 1000  # Hz


def noise(seconds, seed):
    """Return an excess with an exponential tail and a mean of 0: (T,)."""
    samples = np.random.default_rng(seed).exponential(1.0, round(seconds * SLOW_RATE)) - 1
    return torch.from_numpy(samples.astype(np.float32))


def test_a_window_mean_contains_only_earlier_samples():
    excess = torch.tensor([4.0, 0.0, 0.0, 8.0, 0.0])
    assert window_means(excess, 2).tolist() == [2.0, 2.0, 0.0, 4.0, 4.0]
    assert window_means(excess, 1).tolist() == excess.tolist()
    assert window_means(excess, 9)[-1].item() == pytest.approx(12 / 9)


@pytest.mark.parametrize("length", [1, 3, 8, 50])
def test_means_are_the_same_in_any_number_of_passes(monkeypatch, length):
    excess = noise(0.1, seed=7)
    whole = window_means(excess, length)
    expected = np.convolve(excess.numpy(), np.ones(length) / length)[:100]
    assert whole.numpy() == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr(window_means_module, "PASS_SAMPLES", 7)
    torch.testing.assert_close(window_means(excess, length), whole)


def test_block_maxima_by_hand():
    excess = torch.zeros(120)
    excess[70] = 3.0
    maxima = block_maxima(excess, SLOW_RATE, (0.001, 0.002))
    assert maxima.tolist() == [[0.0, 0.0], [3.0, 1.5], [0.0, 0.0]]


def test_neighbouring_blocks_are_one_alarm():
    maxima = torch.tensor([[1.0, 0], [0, 9], [0, 0], [5, 0], [0, 0]])
    assert count_alarms(maxima, torch.tensor([0.5, 3.0])) == 2
    assert count_alarms(maxima, torch.tensor([2.0, 3.0])) == 2
    assert count_alarms(maxima, torch.tensor([6.0, 10.0])) == 0


def test_the_alarms_of_all_windows_together_are_as_many_as_requested():
    """100 alarms are expected, with a deviation of 14; chance of a false failure: 1 in 10,000."""
    clean = measure_thresholds([noise(60, seed) for seed in range(10)], SLOW_RATE)
    assert clean.hours == pytest.approx(1 / 6)
    thresholds = {
        seconds: interpolate_threshold(clean.rates, values, scale, 600)
        for seconds, values, scale in zip(
            WINDOW_SECONDS, clean.thresholds, clean.scales, strict=True
        )
    }
    events = [e for s in range(10) for e in select_events(noise(60, 50 + s), SLOW_RATE, thresholds)]
    assert 50 < len(events) < 150
    # several lengths contribute: the share of one alone would be a fifth
    assert len({event.window for event in events}) >= 3


def test_held_out_recordings_raise_the_thresholds():
    """The held-out noise is 1.5 times as large as that of the training."""
    train = [noise(300, seed=20)]
    plain = measure_thresholds(train, SLOW_RATE)
    equal = measure_thresholds(train, SLOW_RATE, held_out=[noise(60, seed=21)])
    larger = measure_thresholds(train, SLOW_RATE, held_out=[1.5 * noise(60, seed=22)])
    assert equal.rates == larger.rates == plain.rates
    for found, low, high in ((equal, 1.0, 1.15), (larger, 1.35, 1.65)):
        factors = np.divide(found.thresholds, plain.thresholds)
        assert factors == pytest.approx(factors[0, 0])
        assert low <= factors[0, 0] <= high
        assert np.divide(found.scales, plain.scales) == pytest.approx(factors[0, 0])


def test_a_low_rate_is_extrapolated_along_the_exponential_tail():
    """In windows of one sample an exponential loses a factor e per unit."""
    clean = measure_thresholds([noise(600, seed=0)], SLOW_RATE, (0.001,))
    assert clean.scales[0] == pytest.approx(1.0, abs=0.5)
    rates, values, scale = clean.rates, clean.thresholds[0], clean.scales[0]
    found = [
        interpolate_threshold(rates, values, scale, rates[-1] / k) for k in (1, math.e, math.e**2)
    ]
    assert np.diff(found) == pytest.approx([scale] * 2)


def test_between_two_rates_the_threshold_is_linear_in_the_logarithm():
    rates, thresholds = (400.0, 100.0), (1.0, 3.0)
    assert interpolate_threshold(rates, thresholds, 0.5, 200) == pytest.approx(2.0)
    assert interpolate_threshold(rates, thresholds, 0.5, 100) == 3.0
    assert interpolate_threshold(rates, thresholds, 0.5, 400) == 1.0
    assert interpolate_threshold(rates, thresholds, 0.5, 900) == 1.0
    assert interpolate_threshold((100.0,), (3.0,), 0.5, 900) == 3.0


def test_rates_decrease_and_thresholds_do_not():
    clean = measure_thresholds([noise(120, seed=4)], SLOW_RATE)
    assert all(b < a for a, b in pairwise(clean.rates))
    for values in clean.thresholds:
        assert all(b >= a for a, b in pairwise(values))
        assert len(values) == len(clean.rates)


@pytest.mark.parametrize("sound", [noise(59, seed=0), torch.zeros(70 * SLOW_RATE)])
def test_too_little_or_constant_sound_is_refused(sound):
    with pytest.raises(DataError):
        measure_thresholds([sound], SLOW_RATE)
