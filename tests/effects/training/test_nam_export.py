"""Metadata of exported files."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from tests.effects.training.training_data import KNOB, make_effect_config
from wavenet.effects.effect_shapes import ImpulseResponseShape
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.effects.nam_model import NamModel
from wavenet.effects.training.nam_export import (
    CaptureDescription,
    export_nam,
    loudness_signal,
    measure_loudness,
)
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.effects.training.training_results import PairResult, TrainingResults


def linear(factor):
    shape = ImpulseResponseShape(1)
    return NamModel(shape, np.array([factor], np.float32), sample_rate=16_000)


def test_the_loudness_of_a_gain_is_its_decibels():
    assert measure_loudness(linear(1.0))["loudness"] == pytest.approx(-18, abs=1e-4)
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
    from wavenet.effects.effect_builder import export_effect

    assert 0.1 < measure_loudness(export_effect(limiter, 16_000))["gain"] <= 1
    assert measure_loudness(linear(0.0)) == {"loudness": -200.0, "gain": 0.0}


def test_the_signal_has_its_level_at_any_rate():
    for rate in (16_000, 48_000):
        signal = loudness_signal(rate).astype(float)
        assert len(signal) == pytest.approx(9.6 * rate)
        assert 10 * math.log10(np.mean(signal**2)) == pytest.approx(-18, abs=1e-3)
        assert np.abs(signal).max() < 1


def test_the_file_says_what_is_known():
    effect = TrainedEffect(make_effect_config((KNOB,), name="drive", sample_rate=16_000))
    pair = PairResult(
        name="x", setting={"gain": 0.5}, latency=7, training_seconds=1.0, validation_esr=0.01
    )
    results = TrainingResults(best_step=1, steps=1, seconds=1.0, pairs=(pair,))
    told = CaptureDescription(modeled_by="A", gear_type="pedal", tone_type="overdrive")
    date = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    model = export_nam(effect, None, told, results, date)
    assert model.metadata["date"] == {
        **{"year": 2026, "month": 1, "day": 2},
        **{"hour": 3, "minute": 4, "second": 5},
    }
    metadata = dict(model.metadata)
    assert metadata["name"] == "drive"
    assert (metadata["modeled_by"], metadata["gear_type"]) == ("A", "pedal")
    assert "gear_make" not in metadata and "input_level_dbu" not in metadata
    assert metadata["training"] == {
        "program": "WaveNet Studio",
        "knobs": {"gain": 0.5},
        "validation_esr": 0.01,
        "latency": 7,
    }
    # a setting between the recordings has no measured error
    between = export_nam(effect, {"gain": 0.2}, told, results, date)
    assert "validation_esr" not in between.metadata["training"]
    content = format_nam(model)
    assert format_nam(parse_nam(content, "x")) == content
    assert parse_nam(content, "x").sample_rate == 16_000


def test_descriptions_that_are_refused():
    for values in ({"gear_type": "guitar"}, {"tone_type": "loud"}, {"input_level_dbu": 500.0}):
        with pytest.raises(ValidationError):
            CaptureDescription(**values)
