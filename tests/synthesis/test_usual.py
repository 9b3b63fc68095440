"""A number that has a usual value: taken where none is given, by everything that makes clips."""

import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet.conditions import MelCondition, NumberCondition
from wavenet.config import SamplingConfig
from wavenet.errors import ConditionError
from wavenet.model.features import frames_of
from wavenet.synthesis.beams import search
from wavenet.synthesis.candidates import draw_nearest
from wavenet.synthesis.generate import synthesize
from wavenet.synthesis.inspect import inspect
from wavenet.synthesis.items import Item, with_usual

LEVEL = NumberCondition(name="level", low=-40, high=0, unit="dB", dropout=0.1, usual=-10)
MEL = MelCondition(bands=20, window=96, channels=4, context=1)
GIVEN = {"level": -10.0}


@pytest.fixture
def make(make_checkpoint):
    def checkpoint(*conditions):
        return make_checkpoint(tiny_config().model_copy(update={"conditions": conditions}))

    return checkpoint


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_what_is_not_given_is_what_it_usually_is(make, guidance):
    """With guidance too, whose other row does without the number."""
    loaded, sampling = make(LEVEL), SamplingConfig(guidance=guidance)
    without, given, other = synthesize(
        loaded, [Item(300), Item(300, GIVEN), Item(300, {"level": -35.0})], sampling
    )
    assert torch.equal(without, given)
    assert not torch.equal(without, other)
    free = make(LEVEL.model_copy(update={"usual": None}))
    assert not torch.equal(without, synthesize(free, [Item(300)], sampling)[0])


def test_a_number_that_may_not_be_left_out_is_taken_too(make):
    always = LEVEL.model_copy(update={"dropout": 0.0})
    assert synthesize(make(always), [Item(30)])[0].numel() == 30
    with pytest.raises(ConditionError, match="'level' is missing; give a number from -40 to 0 dB"):
        synthesize(make(always.model_copy(update={"usual": None})), [Item(30)])


def test_what_is_measured_is_as_loud_as_the_prompt(make):
    """Which may end in silence."""
    loaded = make(LEVEL.model_copy(update={"measured": "loudness"}))
    prompt = torch.cat([0.1 * sine(1.0), torch.zeros(RATE)])
    level = 20 * math.log10(0.05 / 2)
    given, without = (Item(100, labels, prompt=prompt) for labels in (GIVEN, {}))
    assert with_usual(without, loaded.config.model).labels == pytest.approx(
        {"level": level}, abs=0.01
    )
    assert with_usual(given, loaded.config.model).labels == GIVEN
    quiet = replace(without, prompt=prompt / 10)
    assert with_usual(quiet, loaded.config.model).labels == {"level": LEVEL.low}
    assert with_usual(without, make(LEVEL).config.model).labels == GIVEN
    made = synthesize(loaded, [without, replace(without, labels=GIVEN)])
    assert not torch.equal(*made)


def test_the_others_that_make_or_explain_clips_take_it_too(make):
    loaded = make(LEVEL)
    one, other = (search(loaded, Item(40, labels), 2) for labels in ({}, GIVEN))
    assert one.log_prob == other.log_prob
    codes = torch.full((40,), 100)
    one, other = (inspect(loaded, Item(40, labels), codes, 10) for labels in ({}, GIVEN))
    assert torch.equal(one.params, other.params)
    vocoder = make(LEVEL, MEL)
    local = frames_of(vocoder.config.model, RATE, sine(0.05))
    items = [Item(sine(0.05).numel(), labels, local=local) for labels in ({}, GIVEN)]
    one, other = (draw_nearest(vocoder, item, 2).waveform for item in items)
    assert torch.equal(one, other)
