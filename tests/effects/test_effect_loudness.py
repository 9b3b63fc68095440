"""The loudness of models."""

import math

import numpy as np
import pytest
import torch

from tests.effects.training.training_data import make_effect_config
from wavenet.effects.effect_builder import export_effect
from wavenet.effects.effect_loudness import loudness_signal, measure_loudness, output_loudness
from wavenet.effects.effect_shapes import ImpulseResponseShape
from wavenet.effects.nam_model import NamModel
from wavenet.effects.training.trained_effect import TrainedEffect


def linear(factor):
    shape = ImpulseResponseShape(1)
    return NamModel(shape, np.array([factor], np.float32), sample_rate=16_000)


def test_the_loudness_of_a_gain_is_its_decibels():
    assert measure_loudness(linear(1.0))["loudness"] == pytest.approx(-18, abs=1e-4)
    assert output_loudness(linear(2.0)) == pytest.approx(-18 + 20 * math.log10(2), abs=1e-4)
    assert measure_loudness(linear(0.5))["loudness"] == pytest.approx(
        -18 + 20 * math.log10(0.5), abs=1e-4
    )


def test_a_linear_effect_has_no_gain_and_a_limiter_has_much():
    assert measure_loudness(linear(3.0))["gain"] == pytest.approx(0, abs=1e-5)
    torch.manual_seed(0)
    limiter = TrainedEffect(make_effect_config()).wavenet
    for parameter in limiter.parameters():
        parameter.data.mul_(20)
    with torch.no_grad():
        limiter.arrays[-1].head.convs[0].linear.bias.zero_()
    assert 0.1 < measure_loudness(export_effect(limiter, 16_000))["gain"] <= 1
    assert measure_loudness(linear(0.0)) == {"loudness": -200.0, "gain": 0.0}


def test_the_signal_has_its_level_at_any_rate():
    for rate in (16_000, 48_000):
        signal = loudness_signal(rate).astype(float)
        assert len(signal) == pytest.approx(9.6 * rate)
        assert 10 * math.log10(np.mean(signal**2)) == pytest.approx(-18, abs=1e-3)
        assert np.abs(signal).max() < 1
