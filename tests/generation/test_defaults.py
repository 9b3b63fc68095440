"""A number that has a usual value: taken where none is given, by everything that makes clips."""

import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet.errors import ConditionError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest, with_defaults
from wavenet.generation.search import beam_search, generate_with_candidates
from wavenet.likelihood.step_view import view_steps
from wavenet.model.conditions import MelCondition, NumberCondition
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig

LEVEL = NumberCondition(name="level", low=-40, high=0, unit="dB", dropout=0.1, default=-10)
MEL = MelCondition(n_mels=20, win_length=96, channels=4, context=1)
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
    without, given, other = generate_waveforms(
        loaded,
        [
            GenerationRequest(300),
            GenerationRequest(300, GIVEN),
            GenerationRequest(300, {"level": -35.0}),
        ],
        sampling,
    )
    assert torch.equal(without, given)
    assert not torch.equal(without, other)
    free = make(LEVEL.model_copy(update={"usual": None}))
    assert not torch.equal(without, generate_waveforms(free, [GenerationRequest(300)], sampling)[0])


def test_a_number_that_may_not_be_left_out_is_taken_too(make):
    always = LEVEL.model_copy(update={"dropout": 0.0})
    assert generate_waveforms(make(always), [GenerationRequest(30)])[0].numel() == 30
    with pytest.raises(ConditionError, match="'level' is missing; give a number from -40 to 0 dB"):
        generate_waveforms(make(always.model_copy(update={"usual": None})), [GenerationRequest(30)])


def test_what_is_measured_is_as_loud_as_the_prompt(make):
    """Which may end in silence."""
    loaded = make(LEVEL.model_copy(update={"measured": "loudness"}))
    prompt = torch.cat([0.1 * sine(1.0), torch.zeros(RATE)])
    level = 20 * math.log10(0.05 / 2)
    given, without = (GenerationRequest(100, labels, prompt=prompt) for labels in (GIVEN, {}))
    assert with_defaults(without, loaded.config.model).labels == pytest.approx(
        {"level": level}, abs=0.01
    )
    assert with_defaults(given, loaded.config.model).labels == GIVEN
    quiet = replace(without, prompt=prompt / 10)
    assert with_defaults(quiet, loaded.config.model).labels == {"level": LEVEL.low}
    assert with_defaults(without, make(LEVEL).config.model).labels == GIVEN
    made = generate_waveforms(loaded, [without, replace(without, labels=GIVEN)])
    assert not torch.equal(*made)


def test_the_others_that_make_or_explain_clips_take_it_too(make):
    loaded = make(LEVEL)
    one, other = (beam_search(loaded, GenerationRequest(40, labels), 2) for labels in ({}, GIVEN))
    assert one.log_prob == other.log_prob
    codes = torch.full((40,), 100)
    one, other = (
        view_steps(loaded, GenerationRequest(40, labels), codes, 10) for labels in ({}, GIVEN)
    )
    assert torch.equal(one.params, other.params)
    vocoder = make(LEVEL, MEL)
    local = compute_frame_features(vocoder.config.model, RATE, sine(0.05))
    items = [
        GenerationRequest(sine(0.05).numel(), labels, frame_features=local)
        for labels in ({}, GIVEN)
    ]
    one, other = (generate_with_candidates(vocoder, item, 2).waveform for item in items)
    assert torch.equal(one, other)
