"""Requests: their bounds, and the numbers that replace omitted conditions."""

import math
from dataclasses import replace

import pytest
import torch

from tests.conftest import RATE, sine, tiny_config
from wavenet.errors import ConditionError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import (
    GenerationRequest,
    check_request,
    clip_name,
    samples_from_seconds,
    with_defaults,
)
from wavenet.generation.search import beam_search, generate_with_candidates
from wavenet.likelihood.step_view import view_steps
from wavenet.model.conditions import MelCondition, NumberCondition
from wavenet.model.frame_features import compute_frame_features
from wavenet.sampling import SamplingConfig

LEVEL = NumberCondition(name="level", low=-40, high=0, unit="dB", dropout=0.1, default=-10)
MEL = MelCondition(n_mels=20, win_length=96, channels=4, context=1)
DEFAULT = {"level": -10.0}


@pytest.fixture
def make(make_checkpoint):
    """Return a function that makes a checkpoint with the given conditions."""

    def checkpoint(*conditions):
        return make_checkpoint(tiny_config().model_copy(update={"conditions": conditions}))

    return checkpoint


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (GenerationRequest(0), "600 seconds, found 0"),
        (GenerationRequest(3600 * RATE), "600 seconds, found 3600"),
        (GenerationRequest(10, seed=-1), "seed must be .* found -1"),
        (GenerationRequest(10, prompt=torch.zeros(8000)), "silent"),
        (GenerationRequest(10, prompt=torch.ones(3)), "3 samples; at least 80"),
    ],
)
def test_requests_out_of_range_are_rejected_with_the_limit(make, request_, words):
    with pytest.raises(ConditionError, match=words):
        check_request(request_, make().config)


@pytest.mark.parametrize("seconds", [0.0, -1.0, 3600.0, float("nan"), float("inf"), 1e-9, 0.0009])
def test_lengths_out_of_range_are_rejected(seconds):
    with pytest.raises(ConditionError, match=f"at least 0.001 and .* found {seconds:g}"):
        samples_from_seconds(seconds, RATE)


def test_the_shortest_length_is_accepted_again_after_rounding():
    assert samples_from_seconds(0.001, RATE) == RATE // 1000
    assert samples_from_seconds(0.001, 22_050) == 22
    assert samples_from_seconds(22 / 22_050, 22_050) == 22  # a little less than a millisecond


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_an_omitted_number_has_its_default(make, guidance):
    """This also holds with guidance, whose second row omits the number."""
    checkpoint, sampling = make(LEVEL), SamplingConfig(guidance=guidance)
    omitted, given, other = generate_waveforms(
        checkpoint,
        [
            GenerationRequest(300),
            GenerationRequest(300, DEFAULT),
            GenerationRequest(300, {"level": -35.0}),
        ],
        sampling,
    )
    assert torch.equal(omitted, given)
    assert not torch.equal(omitted, other)
    # negative control: a model without a default
    free = make(LEVEL.model_copy(update={"default": None}))
    assert not torch.equal(omitted, generate_waveforms(free, [GenerationRequest(300)], sampling)[0])


def test_a_required_number_has_its_default_too(make):
    required = LEVEL.model_copy(update={"dropout": 0.0})
    assert generate_waveforms(make(required), [GenerationRequest(30)])[0].numel() == 30
    with pytest.raises(ConditionError, match=r"'level' is missing.*-40 to 0 dB"):
        generate_waveforms(
            make(required.model_copy(update={"default": None})), [GenerationRequest(30)]
        )


def test_a_derived_number_is_computed_from_the_whole_prompt(make):
    """The prompt may end in silence."""
    derived = make(LEVEL.model_copy(update={"derived_from": "loudness"}))
    prompt = torch.cat([0.1 * sine(1.0), torch.zeros(RATE)])
    level = 20 * math.log10(0.05 / 2)
    given, omitted = (
        GenerationRequest(100, conditions, prompt=prompt) for conditions in (DEFAULT, {})
    )
    model = derived.config.model
    assert with_defaults(omitted, model).conditions == pytest.approx({"level": level}, abs=0.01)
    assert with_defaults(given, model).conditions == DEFAULT
    quiet = replace(omitted, prompt=prompt / 10)
    assert with_defaults(quiet, model).conditions == {"level": LEVEL.low}
    assert with_defaults(omitted, make(LEVEL).config.model).conditions == DEFAULT
    waveforms = generate_waveforms(derived, [omitted, replace(omitted, conditions=DEFAULT)])
    assert not torch.equal(*waveforms)


def test_searches_and_step_views_apply_defaults_too(make):
    checkpoint = make(LEVEL)
    one, other = (
        beam_search(checkpoint, GenerationRequest(40, conditions), 2)
        for conditions in ({}, DEFAULT)
    )
    assert one.log_prob == other.log_prob
    codes = torch.full((40,), 100)
    one, other = (
        view_steps(checkpoint, GenerationRequest(40, conditions), codes, 10)
        for conditions in ({}, DEFAULT)
    )
    assert torch.equal(one.params, other.params)
    vocoder = make(LEVEL, MEL)
    frames = compute_frame_features(vocoder.config.model, RATE, sine(0.05))
    requests = [
        GenerationRequest(sine(0.05).numel(), conditions, frame_features=frames)
        for conditions in ({}, DEFAULT)
    ]
    one, other = (generate_with_candidates(vocoder, request, 2).waveform for request in requests)
    assert torch.equal(one, other)


def test_the_file_name_of_a_long_value_fits_every_file_system():
    """Regression: the limit counted letters, and 80 letters of three bytes were too long."""
    one, other = (clip_name("digits", {"title": "音" * n}, 7) for n in (80, 81))
    assert len(f"{one}.wav".encode()) <= 255
    assert one.startswith("digits_音音音") and one.endswith("_seed7")
    assert one != other
    assert clip_name("digits", {"digit": "7", "speaker": "a b"}, 1) == "digits_7_a-b_seed1"
