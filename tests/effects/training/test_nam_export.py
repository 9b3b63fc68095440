"""Metadata of exported files."""

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from tests.effects.training.training_data import KNOB, make_effect_config
from wavenet.effects.nam_file import format_nam, parse_nam
from wavenet.effects.training.nam_export import (
    CaptureDescription,
    export_nam,
)
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.effects.training.training_results import PairResult, TrainingResults


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
