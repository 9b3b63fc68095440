"""The average of the weights, and the best of them."""

import math

import pytest
import torch
from torch import nn

from wavenet.effects.training.weight_average import WeightAverage


def network(value):
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, value)
    return made


def value_of(network):
    return float(network.weight)


def test_the_average_has_its_closed_form():
    """With a constant decay d: d^n w_0 + sum of (1 - d) d^(n-k) w_k."""
    decay, weights = 0.5, [3.0, -1.0, 4.0, 1.5]
    average = WeightAverage(network(2.0), decay)
    start = 100  # (1 + n) / (10 + n) is above the decay
    for n, weight in enumerate(weights):
        average.update(network(weight), start + n)
    n = len(weights)
    expected = decay**n * 2.0 + sum(
        (1 - decay) * decay ** (n - 1 - k) * weight for k, weight in enumerate(weights)
    )
    assert value_of(average.network) == pytest.approx(expected)


def test_the_first_steps_forget_faster():
    average = WeightAverage(network(1.0), 0.999)
    average.update(network(0.0), 0)
    assert value_of(average.network) == pytest.approx(0.1)
    average.update(network(0.0), 1)
    assert value_of(average.network) == pytest.approx(0.1 * 2 / 11)


def test_the_best_weights_are_kept():
    average = WeightAverage(network(1.0), 0.0)
    assert value_of(average.best_network()) == 1.0  # before a validation: the average
    for step, (weight, error) in enumerate([(2.0, 0.5), (3.0, 0.2), (4.0, 0.3), (5.0, math.nan)]):
        average.update(network(weight), step)
        assert average.record(error, step) == (step < 2)
    assert value_of(average.best_network()) == 3.0
    assert value_of(average.network) == 5.0
    assert (average.best_error, average.best_step) == (0.2, 1)


def test_a_stall_is_counted_from_the_best_step():
    average = WeightAverage(network(1.0), 0.0)
    average.record(0.5, 10)
    average.record(0.6, 20)
    assert not average.has_stalled(20)
    average.record(0.7, 30)
    assert average.has_stalled(20)
    average.record(0.4, 40)
    assert not average.has_stalled(20)


def test_the_kept_tensors_restore_everything():
    average = WeightAverage(network(1.0), 0.0)
    average.update(network(7.0), 0)
    average.record(0.5, 1)
    average.update(network(8.0), 1)
    other = WeightAverage(network(0.0), 0.0)
    for name, tensor in average.kept_tensors().items():
        other.kept_tensors()[name].copy_(tensor)
    assert value_of(other.network) == 8.0
    assert value_of(other.best_network()) == 7.0
    assert (other.best_error, other.best_step) == (0.5, 1)
    assert torch.equal(other.kept_tensors()["last_step"], torch.tensor(1))
