"""A step view has the predictions of the model and statistics of its activations."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, tiny_config
from wavenet.checkpoint import Checkpoint
from wavenet.engines.registry import make_engine
from wavenet.errors import CheckpointError, ConditionError
from wavenet.generation.generate import generate
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood import step_view
from wavenet.likelihood.step_view import (
    MAX_STEPS,
    draw_first_codes,
    skip_contributions,
    view_steps,
)
from wavenet.model.model_config import GaussianOutput, ModelConfig
from wavenet.model.recurrent import GRUConfig
from wavenet.model.transformer import TransformerConfig
from wavenet.sampling import SamplingConfig, probabilities

SAMPLES = 90
GRU = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8)
ATTENTION = {"channels": 8, "heads": 2, "layers": 1, "feedforward_channels": 8}
MakeCheckpoint = Callable[..., Checkpoint]


def draw(
    checkpoint: Checkpoint, request: GenerationRequest, last: int, engine: str = "cached"
) -> torch.Tensor:
    return torch.cat(list(draw_first_codes(checkpoint, request, last, engine)))


def make_request(
    checkpoint: Checkpoint, samples: int = SAMPLES, seed: int = 3
) -> GenerationRequest:
    frames = make_frame_features(checkpoint.model, 0, samples)
    return GenerationRequest(
        samples,
        make_condition_values(checkpoint.model, 0),
        seed=3,
        frame_features=frames if frames.numel() else None,
    )


@pytest.mark.parametrize("engine", ["reference", "cached", "cpu"])
def test_codes_are_drawn_by_plain_sampling(make_checkpoint: MakeCheckpoint, engine: str) -> None:
    checkpoint = make_checkpoint()
    # the defaults of the checkpoint are not used: they would not fit the predictions
    config = checkpoint.config.model_copy(update={"sampling": SamplingConfig(temperature=0.5)})
    checkpoint = replace(checkpoint, config=config)
    request = make_request(checkpoint)
    chunks = generate(checkpoint, [request], SamplingConfig(), engine, guard=None)
    whole = torch.cat([chunk.codes[0] for chunk in chunks])
    for last in (1, 47, SAMPLES):
        assert torch.equal(draw(checkpoint, request, last, engine), whole[:last])


@pytest.mark.parametrize("first", [0, 1, 5, 60])
@pytest.mark.parametrize("conditions", ["both", "all"])
def test_the_predictions_are_those_that_an_engine_drew_from(
    make_checkpoint: MakeCheckpoint, conditions: str, first: int
) -> None:
    """From the beginning, within the first receptive field, and long after it."""
    checkpoint = make_checkpoint(tiny_config(conditions=conditions))
    request = make_request(checkpoint)
    codes = draw(checkpoint, request, 70)
    view = view_steps(checkpoint, request, codes, first)
    engine = make_engine("cached", checkpoint.model)
    frames = [make_frame_features(checkpoint.model, 0, SAMPLES)]
    state = engine.start(checkpoint.model.conditioning([request.conditions], [SAMPLES], frames))
    predicted = []
    for code in codes:
        predicted.append(engine.predict(state))
        engine.accept(state, code[None])
    params = torch.cat(predicted)
    assert torch.equal(view.codes, codes[first:])
    assert torch.allclose(view.params, params[first:], atol=1e-4)
    # negative control: the predictions of the next samples differ
    assert not torch.allclose(view.params[:-1], params[first + 1 :], atol=1e-2)


def test_the_contributions_sum_to_the_skip_sum_of_the_model(
    make_checkpoint: MakeCheckpoint,
) -> None:
    checkpoint = make_checkpoint()
    model, request = checkpoint.model, make_request(checkpoint)
    codes = draw(checkpoint, request, SAMPLES)
    inputs = torch.nn.functional.pad(codes[:-1], (1, 0), value=model.start_code)[None]
    gated = model.hidden_states(inputs, model.conditioning([request.conditions], [SAMPLES]))
    parts = torch.stack(list(skip_contributions(model, gated)))
    assert parts.shape == (len(model.blocks), 1, SAMPLES, model.config.skip_channels)
    assert torch.allclose(parts.sum(0) + model.skip.bias, model.skip(gated), atol=1e-5)
    view = view_steps(checkpoint, request, codes, 40)
    sizes = parts[:, 0, 40:].square().mean(2).sqrt().T
    assert torch.allclose(view.activations.skips, sizes, atol=1e-5)
    layers = gated[0, 40:].chunk(len(model.blocks), dim=1)
    gates = torch.stack([z.abs().mean(1) for z in layers], dim=1)
    assert torch.allclose(view.activations.gated_magnitude, gates, atol=1e-5)


def test_a_layer_without_skip_weights_contributes_nothing(make_checkpoint: MakeCheckpoint) -> None:
    checkpoint = make_checkpoint()
    gate = checkpoint.model.config.gate_channels
    with torch.no_grad():
        checkpoint.model.skip.weight[:, 2 * gate : 3 * gate] = 0
    request = make_request(checkpoint)
    view = view_steps(checkpoint, request, draw(checkpoint, request, 20), 0)
    assert (view.activations.skips == 0).nonzero()[:, 1].unique().tolist() == [2]
    assert bool((view.activations.gated_magnitude > 0).all())


def test_surprise_and_entropy_agree_with_the_likelihood(make_checkpoint: MakeCheckpoint) -> None:
    """The studio computes both from these params.

    The mean surprise of a clip drawn from its own model is close to the mean entropy.
    """
    checkpoint = make_checkpoint()
    request = make_request(checkpoint, samples=400)
    codes = draw(checkpoint, request, 400, "cpu")
    view = view_steps(checkpoint, request, codes, 0)
    p = probabilities(view.params, SamplingConfig())
    assert torch.allclose(p.sum(1), torch.ones(400, dtype=torch.float64))
    surprise = -p.gather(1, codes[:, None])[:, 0].log2()
    conditioning = checkpoint.model.conditioning([request.conditions], [400])
    with torch.no_grad():
        params = checkpoint.model(codes[None], conditioning)
    nats = -checkpoint.model.distribution.log_prob(params, codes[None])[0]
    assert torch.allclose(surprise.float(), nats / math.log(2), atol=1e-3)
    entropy = -torch.where(p > 0, p * p.log2(), 0).sum(1)
    assert abs(float((surprise - entropy).mean())) < 0.35


def test_a_mixture_and_a_recording_can_be_viewed(make_checkpoint: MakeCheckpoint) -> None:
    config = tiny_config(conditions="none", output=GaussianOutput(components=2))
    checkpoint = make_checkpoint(config, bits=16)
    codes = torch.arange(30_000, 30_050)
    view = view_steps(checkpoint, GenerationRequest(50), codes, 10)
    assert view.params.shape == (40, 6)
    assert view.activations.gated_magnitude.shape == view.activations.skips.shape == (40, 5)


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        (5, 5, "0 samples from sample 5 .*1000"),
        (-1, 5, "6 samples from sample -1 .*1000"),
        (0, 1001, "1001 samples from sample 0 .*1000"),
        (0, 401, "at most 400 .*401"),
    ],
)
def test_steps_outside_the_clip_and_too_many_steps_are_refused(
    make_checkpoint: MakeCheckpoint, first: int, last: int, words: str
) -> None:
    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    with pytest.raises(ConditionError, match=words):
        view_steps(checkpoint, GenerationRequest(1000), torch.zeros(last, dtype=torch.int64), first)
    assert MAX_STEPS == 400


def test_a_missing_condition_is_named(make_checkpoint: MakeCheckpoint) -> None:
    codes = torch.zeros(10, dtype=torch.int64)
    with pytest.raises(ConditionError, match="digit"):
        view_steps(make_checkpoint(), GenerationRequest(10), codes, 0)
    vocoder = make_checkpoint(tiny_config(conditions="frames"), name="vocoder")
    with pytest.raises(ConditionError, match="curve"):
        view_steps(vocoder, GenerationRequest(10), codes, 0)
    with pytest.raises(ConditionError, match="curve"):
        draw_first_codes(vocoder, GenerationRequest(10), 10)


@pytest.mark.parametrize("config", [GRU, TransformerConfig(**ATTENTION, context=16, sliding=True)])
def test_another_architecture_has_predictions_only(
    make_checkpoint: MakeCheckpoint, monkeypatch: pytest.MonkeyPatch, config: ModelConfig
) -> None:
    """The steps may lie in two windows of the recording, with limited or unlimited past."""
    checkpoint = make_checkpoint(config)
    codes = torch.randint(256, (70,), generator=torch.Generator().manual_seed(0))
    whole = checkpoint.model(codes[None], checkpoint.model.conditioning([{}], [70]))
    monkeypatch.setattr(step_view, "WINDOW", 32)
    view = view_steps(checkpoint, GenerationRequest(70), codes, 60)
    assert view.activations is None
    assert torch.equal(view.codes, codes[60:])
    assert torch.allclose(view.params, whole[0].T[60:], atol=1e-5)
    shorter = view_steps(checkpoint, GenerationRequest(70), codes[:64], 62)
    assert torch.allclose(shorter.params, whole[0].T[62:64], atol=1e-5)


def test_a_prediction_that_overflows_is_reported_with_its_sample(
    make_checkpoint: MakeCheckpoint,
) -> None:
    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    with torch.no_grad():
        checkpoint.model.output.weight.fill_(3e38)
    with pytest.raises(CheckpointError, match="sample 4 is not finite"):
        view_steps(checkpoint, GenerationRequest(10), torch.full((10,), 128), 4)
