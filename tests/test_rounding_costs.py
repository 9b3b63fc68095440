"""Costs of rounded weights in a config, and the precisions that they permit."""

import json

import pytest

from wavenet import checkpoint
from wavenet.errors import CheckpointError
from wavenet.rounding_costs import MAX_COST, ROUNDED_PRECISIONS, RoundingCost, RoundingCosts

CHEAP = RoundingCost(bits=0.0005, low=0.0003, high=0.0008)
UNCERTAIN = RoundingCost(bits=0.0005, low=-0.0015, high=0.0025)
COSTLY = RoundingCost(bits=0.01, low=0.008, high=0.012)


def costs(**by_precision):
    return RoundingCosts(measured_on="2 clips of the test set", samples=100, costs=by_precision)


@pytest.mark.parametrize(
    ("found", "accepted"),
    [
        ({"bf16": CHEAP, "int8": CHEAP}, ("int8", "bf16")),
        ({"bf16": CHEAP, "int8": COSTLY}, ("bf16",)),
        ({"bf16": CHEAP, "int8": UNCERTAIN}, ("bf16",)),
        ({"int8": CHEAP}, ("int8",)),
        ({"bf16": COSTLY, "int8": COSTLY}, ()),
        ({}, ()),
    ],
)
def test_a_precision_is_accepted_if_its_whole_interval_is_below_the_limit(found, accepted):
    assert costs(**found).accepted_precisions() == accepted


def test_the_limit_itself_is_not_accepted():
    at_limit = RoundingCost(bits=0.0, low=0.0, high=MAX_COST)
    assert costs(int8=at_limit).accepted_precisions() == ()


def test_costs_are_a_part_of_the_config(make_checkpoint):
    loaded = make_checkpoint()
    config = loaded.config.model_copy(update={"rounding": costs(int8=CHEAP)})
    checkpoint.save_config(loaded.folder, config)
    assert checkpoint.load(loaded.folder).config == config != loaded.config


@pytest.mark.parametrize(
    "change",
    [
        {"samples": 0},
        {"costs": {"int4": CHEAP.model_dump()}},
        {"costs": {"int8": {"bits": 0.0, "low": 1.0, "high": 0.0}}},
        {"costs": {"int8": {"bits": "NaN", "low": 0.0, "high": 0.0}}},
    ],
)
def test_damaged_costs_are_refused(make_checkpoint, change):
    folder = make_checkpoint().folder
    path = folder / checkpoint.CONFIG
    content = json.loads(path.read_text())
    content["rounding"] = costs(int8=CHEAP).model_dump() | change
    path.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="rounding"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["digits", "strings", "vocoder"])
def test_every_shipped_checkpoint_may_be_rounded_to_int8(name):
    rounding = checkpoint.load_config(name).rounding
    assert rounding is not None
    assert rounding.accepted_precisions() == ROUNDED_PRECISIONS
