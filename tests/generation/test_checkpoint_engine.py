"""The precision `auto`: the fastest one whose cost is low, on the engine cpu only."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import tiny_config
from wavenet.engines.cpu.int8_weights import LARGEST_PARAMETER
from wavenet.errors import EngineUnavailable
from wavenet.generation.checkpoint_engine import auto_precisions, make_checkpoint_engine
from wavenet.generation.generate import generate_many
from wavenet.generation.request import GenerationRequest
from wavenet.model.recurrent import GRUConfig
from wavenet.rounding_costs import RoundingCost, RoundingCosts

LOW = RoundingCost(bits=0.0, low=0.0, high=0.001)
HIGH = RoundingCost(bits=0.1, low=0.0, high=0.2)


def with_costs(loaded, **costs):
    rounding = RoundingCosts(measured_on="test", samples=1, costs=costs)
    return replace(loaded, config=loaded.config.model_copy(update={"rounding": rounding}))


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"int8": LOW, "bf16": LOW}, "int8"),
        ({"int8": HIGH, "bf16": LOW}, "bf16"),
        ({"int8": HIGH, "bf16": HIGH}, "fp32"),
    ],
)
@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_auto_is_the_fastest_precision_with_a_low_cost(make_checkpoint, costs, expected, name):
    loaded = with_costs(make_checkpoint(), **costs)
    assert make_checkpoint_engine(name, loaded).precision == expected


def test_an_unknown_precision_is_refused_with_all_choices(make_checkpoint):
    with pytest.raises(EngineUnavailable, match=r"'int4' .* choose one of auto, fp32, bf16, int8"):
        make_checkpoint_engine("cpu", make_checkpoint(), "int4")


def test_without_costs_auto_is_exact(make_checkpoint):
    assert make_checkpoint_engine("auto", make_checkpoint()).precision == "fp32"


@pytest.mark.parametrize("name", ["cached", "reference"])
def test_other_engines_are_exact(make_checkpoint, name):
    loaded = with_costs(make_checkpoint(), int8=LOW)
    assert make_checkpoint_engine(name, loaded).precision == "fp32"


def test_a_gpu_is_exact(make_checkpoint):
    config = with_costs(make_checkpoint(), int8=LOW).config
    assert auto_precisions("auto", config, torch.device("cuda")) == ("fp32",)
    assert auto_precisions("auto", config, torch.device("cpu")) == ("int8", "fp32")


def test_a_given_precision_is_used_whatever_it_costs(make_checkpoint):
    loaded = with_costs(make_checkpoint(), int8=HIGH)
    assert make_checkpoint_engine("cpu", loaded, "int8").precision == "int8"


def test_a_model_that_cannot_be_rounded_falls_back(make_checkpoint):
    loaded = with_costs(make_checkpoint(), int8=LOW, bf16=LOW)
    loaded.model.blocks[0].conv.linear.bias[0] = 2 * LARGEST_PARAMETER
    assert make_checkpoint_engine("auto", loaded).precision == "bf16"
    with pytest.raises(EngineUnavailable):
        make_checkpoint_engine("auto", loaded, "int8")


def test_other_models_fall_back(make_checkpoint):
    loaded = with_costs(make_checkpoint(GRUConfig(hidden_channels=8)), int8=LOW, bf16=LOW)
    engine = make_checkpoint_engine("auto", loaded)
    assert (engine.name, engine.precision) == ("cached", "fp32")


def test_a_clip_names_its_precision_and_equals_that_of_the_named_precision(make_checkpoint):
    loaded = with_costs(make_checkpoint(tiny_config(conditions="none")), int8=LOW)
    request = GenerationRequest(400, seed=3)

    def clip(precision):
        engine = make_checkpoint_engine("cpu", loaded, precision, threads=1)
        return next(generate_many(loaded, [request], engine=engine))

    auto, int8, fp32 = clip("auto"), clip("int8"), clip("fp32")
    assert (auto.precision, fp32.precision) == ("int8", "fp32")
    assert auto.codes.equal(int8.codes)
    # the control: with these weights, rounding changes the codes
    assert not auto.codes.equal(fp32.codes)
