"""What is shown of the inside of a model is what the model did."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from wavenet.engines.registry import make_engine
from wavenet.errors import CheckpointError, ConditionError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.step_view import MAX_STEPS, draw_codes, skip_contributions, view_steps
from wavenet.model.model_config import GaussianOutput
from wavenet.sampling import SamplingConfig, probabilities

from ..conftest import given_for, local_for, tiny_config

SAMPLES = 90


def drawn(
    checkpoint: Any, item: GenerationRequest, last: int, engine: str = "cached"
) -> torch.Tensor:
    return torch.cat(list(draw_codes(checkpoint, item, last, engine)))


def item_for(checkpoint: Any, samples: int = SAMPLES, seed: int = 3) -> GenerationRequest:
    local = local_for(checkpoint.model, 0, samples)
    return GenerationRequest(
        samples,
        given_for(checkpoint.model, 0),
        seed,
        frame_features=local if local.numel() else None,
    )


@pytest.mark.parametrize("engine", ["reference", "cached", "cpu"])
def test_the_codes_are_those_of_generate(make_checkpoint: Callable[..., Any], engine: str) -> None:
    checkpoint = make_checkpoint()
    item = item_for(checkpoint)
    whole = torch.cat([c.codes[0] for c in generate(checkpoint, [item], engine=engine, guard=None)])
    for last in (1, 47, SAMPLES):
        assert torch.equal(drawn(checkpoint, item, last, engine), whole[:last])


@pytest.mark.parametrize("first", [0, 1, 5, 60])
@pytest.mark.parametrize("kind", ["both", "all"])
def test_the_predictions_are_those_that_were_drawn_from(
    make_checkpoint: Callable[..., Any], kind: str, first: int
) -> None:
    """From the beginning, within the first receptive field, and long after it."""
    checkpoint = make_checkpoint(tiny_config(conditions=kind))
    item = item_for(checkpoint)
    codes = drawn(checkpoint, item, 70)
    steps = view_steps(checkpoint, item, codes, first)
    engine = make_engine("cached", checkpoint.model)
    local = [local_for(checkpoint.model, 0, SAMPLES)]
    state = engine.start(checkpoint.model.conditioning([item.conditions], [SAMPLES], local))
    stepped = torch.cat([engine.step(state, code[None]) for code in codes])
    assert torch.equal(steps.codes, codes[first:])
    assert torch.allclose(steps.params, stepped[first:], atol=1e-4)


def test_the_contributions_sum_up_to_the_skip_sum_of_the_model(
    make_checkpoint: Callable[..., Any],
) -> None:
    checkpoint = make_checkpoint()
    model, item = checkpoint.model, item_for(checkpoint)
    codes = drawn(checkpoint, item, SAMPLES)
    inputs = torch.nn.functional.pad(codes[:-1], (1, 0), value=model.start_code)[None]
    gated = model.layers(inputs, model.conditioning([item.conditions], [SAMPLES]))[1]
    parts = torch.stack(list(skip_contributions(model, gated)))
    assert parts.shape == (len(model.blocks), 1, SAMPLES, model.config.skip_channels)
    assert torch.allclose(parts.sum(0) + model.skip.bias, model.skip(gated), atol=1e-5)
    steps = view_steps(checkpoint, item, codes, 40)
    sizes = parts[:, 0, 40:].square().mean(2).sqrt().T
    assert torch.allclose(steps.skips, sizes, atol=1e-5)
    layers = gated[0, 40:].chunk(len(model.blocks), dim=1)
    gates = torch.stack([z.abs().mean(1) for z in layers], dim=1)
    assert torch.allclose(steps.gates, gates, atol=1e-5)


def test_a_layer_without_weights_is_seen_to_be_silent(
    make_checkpoint: Callable[..., Any],
) -> None:
    checkpoint = make_checkpoint()
    gate = checkpoint.model.config.gate_channels
    with torch.no_grad():
        checkpoint.model.skip.weight[:, 2 * gate : 3 * gate] = 0
    item = item_for(checkpoint)
    steps = view_steps(checkpoint, item, drawn(checkpoint, item, 20), 0)
    assert (steps.skips == 0).nonzero()[:, 1].unique().tolist() == [2]
    assert bool((steps.gates > 0).all())


def test_surprise_and_entropy_agree_with_the_likelihood(
    make_checkpoint: Callable[..., Any],
) -> None:
    """The numbers beside the curve are worked out from these params; the mean surprise of a clip
    drawn from its own model comes close to the mean entropy."""
    checkpoint = make_checkpoint()
    item = item_for(checkpoint, samples=400)
    codes = drawn(checkpoint, item, 400, "cpu")
    steps = view_steps(checkpoint, item, codes, 0)
    p = probabilities(steps.params, SamplingConfig())
    assert torch.allclose(p.sum(1), torch.ones(400, dtype=torch.float64))
    surprise = -p.gather(1, codes[:, None])[:, 0].log2()
    with torch.no_grad():
        params = checkpoint.model(
            codes[None], checkpoint.model.conditioning([item.conditions], [400])
        )
    nats = -checkpoint.model.distribution.log_prob(params, codes[None])[0]
    assert torch.allclose(surprise.float(), nats / math.log(2), atol=1e-3)
    entropy = -torch.where(p > 0, p * p.log2(), 0).sum(1)
    assert abs(float((surprise - entropy).mean())) < 0.35


def test_a_mixture_and_a_recording_can_be_looked_at(make_checkpoint: Callable[..., Any]) -> None:
    config = tiny_config(conditions="none", output=GaussianOutput(components=2))
    checkpoint = make_checkpoint(config, bits=16)
    codes = torch.arange(30_000, 30_050)
    steps = view_steps(checkpoint, GenerationRequest(50), codes, 10)
    assert steps.params.shape == (40, 6)
    assert steps.gates.shape == steps.skips.shape == (40, 5)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [(5, 5, "do not lie"), (-1, 5, "do not lie"), (0, 1001, "do not lie"), (0, 401, "at most 400")],
)
def test_steps_that_are_not_there_are_refused(
    make_checkpoint: Callable[..., Any], first: int, last: int, words: str
) -> None:
    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    with pytest.raises(ConditionError, match=words):
        view_steps(checkpoint, GenerationRequest(1000), torch.zeros(last, dtype=torch.int64), first)
    assert MAX_STEPS == 400


def test_what_the_clip_needs_is_asked_for(make_checkpoint: Callable[..., Any]) -> None:
    codes = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(ConditionError, match="digit"):
        view_steps(make_checkpoint(), GenerationRequest(10), codes, 0)
    vocoder = make_checkpoint(tiny_config(conditions="frames"), name="vocoder")
    with pytest.raises(ConditionError, match="curve"):
        view_steps(vocoder, GenerationRequest(10), codes, 0)
    with pytest.raises(ConditionError, match="curve"):
        draw_codes(vocoder, GenerationRequest(10), 10)


def test_a_prediction_that_overflows_is_one_sentence(make_checkpoint: Callable[..., Any]) -> None:
    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    with torch.no_grad():
        checkpoint.model.output.weight.fill_(3e38)
    with pytest.raises(CheckpointError, match="sample 4 is not finite"):
        view_steps(checkpoint, GenerationRequest(10), torch.full((10,), 128), 4)
