"""`transformer`: the window of attention, its ring of keys and values, and the longest clip."""

import pytest
import torch

from tests.conftest import RATE, sine, tiny_model
from wavenet.config import make_config
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError, ConfigError
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.generation.search import beam_search
from wavenet.likelihood.score import score, score_blocks
from wavenet.model.attention_layers import Heads
from wavenet.model.transformer import TransformerConfig, attend_to_window, window_weights
from wavenet.training.dataset import Dataset
from wavenet.training.recipe import DataConfig, RecipeConfig, load_recipe
from wavenet.training.resolve_config import resolve_config
from wavenet.training.segmentation import TrainingClip

SIZES = {"channels": 12, "heads": 2, "layers": 2, "feedforward_channels": 10}
SLIDING = TransformerConfig(**SIZES, context=7)
FULL = TransformerConfig(**SIZES, context=200, sliding=False)


def attend_by_definition(heads, window):
    """Compute the attention with a matrix of all pairs of positions."""
    q, k, v = (part.double().transpose(1, 2) for part in heads)
    weights = q @ k.transpose(2, 3) / q.shape[3] ** 0.5
    times = torch.arange(q.shape[2])
    age = times[:, None] - times
    weights = weights.masked_fill((age < 0) | (age >= window), -torch.inf)
    return (weights.softmax(dim=3) @ v).transpose(1, 2).float()


@pytest.mark.parametrize("window", [1, 2, 3, 7, 8, 20])
def test_the_attention_in_blocks_is_that_of_the_definition(window):
    torch.manual_seed(0)
    for samples in (1, 2, 3, 6, 7, 8, 9, 20, 21, 50):
        heads = Heads(*torch.randn(3, 2, samples, 3, 4))
        found = attend_to_window(heads, window)
        torch.testing.assert_close(found, attend_by_definition(heads, window), atol=1e-5, rtol=0)
        # negative control: a window that is longer by one
        if samples > window:
            assert not torch.allclose(found, attend_by_definition(heads, window + 1), atol=1e-3)


@pytest.mark.parametrize(("window", "samples"), [(1, 6), (4, 9), (20, 9)])
def test_the_shown_weights_are_those_of_the_attention(window, samples):
    """Each row sums to 1, is 0 outside the window, and its mean of the values is the attention."""
    torch.manual_seed(0)
    heads = Heads(*torch.randn(3, 2, samples, 3, 4))
    weights = window_weights(heads, 5, window)
    assert weights.shape == (2, 3, 5, samples)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, 3, 5))
    age = torch.arange(samples - 5, samples)[:, None] - torch.arange(samples)
    is_read = (age >= 0) & (age < window)
    assert (weights[..., ~is_read] == 0).all() and (weights[..., is_read] > 0).all()
    attended = torch.einsum("bhts,bshd->bthd", weights, heads.values)
    expected = attend_to_window(heads, window)[:, -5:]
    torch.testing.assert_close(attended, expected, atol=1e-5, rtol=0)
    # negative control: other keys
    other = window_weights(heads._replace(keys=heads.queries), 5, window)
    assert window == 1 or not torch.allclose(other, weights, atol=1e-2)


def reached(model, samples):
    """Return the inputs that change the last hidden state, by the gradient: (samples,) bool."""
    model.requires_grad_(True)
    inputs = torch.arange(samples)[None]  # a different code at every sample
    hidden = model.hidden_states(inputs, model.conditioning([{}], [samples]))
    (gradient,) = torch.autograd.grad(hidden[0, -1].square().sum(), model.embedding.weight)
    return gradient[:samples].abs().amax(dim=1) > 0


@pytest.mark.parametrize(("layers", "context"), [(1, 1), (1, 5), (2, 7), (3, 4)])
def test_the_receptive_field_is_exact(layers, context):
    config = TransformerConfig(**{**SIZES, "layers": layers}, context=context)
    field = 1 + layers * (context - 1)
    assert config.receptive_field == field
    assert reached(tiny_model(config), field + 5).tolist() == [False] * 5 + [True] * field


def test_full_attention_reaches_the_first_sample():
    assert FULL.receptive_field is None
    assert reached(tiny_model(FULL), 30).all()


def test_full_and_sliding_attention_are_equal_in_a_clip_of_one_context():
    codes = torch.arange(20)[None] % 32
    models = [
        tiny_model(TransformerConfig(**SIZES, context=20, sliding=sliding))
        for sliding in (True, False)
    ]
    sliding, full = (model(codes, model.conditioning([{}], [20])) for model in models)
    assert torch.equal(sliding, full)


def clip_of(model, samples=40):
    codes = torch.randint(model.n_classes, (1, samples), generator=torch.Generator().manual_seed(0))
    return codes, model.conditioning([{}], [samples])


@pytest.mark.parametrize("config", [SLIDING, FULL])
def test_a_prompt_is_read_as_by_single_steps(config):
    """With sliding attention, the parallel pass reads the last receptive field of the prompt."""
    model = tiny_model(config)
    codes, conditioning = clip_of(model)
    engine = make_engine("cached", model)
    read, stepped = engine.start(conditioning), engine.start(conditioning)
    engine.prefill(read, [codes[0, :30]])
    for t in range(30):
        engine.accept(stepped, codes[:, t])
    for t in range(30, 40):
        torch.testing.assert_close(
            engine.predict(read), engine.predict(stepped), atol=1e-4, rtol=1e-5
        )
        for state in (read, stepped):
            engine.accept(state, codes[:, t])


@pytest.mark.parametrize("moved", ["nothing", "keys", "both", "positions"])
def test_a_shifted_ring_is_noticed(moved):
    """The next input overwrites the oldest slot; in a shifted ring that is another one."""
    model = tiny_model(SLIDING)
    codes, conditioning = clip_of(model)
    expected = model.hidden_states(codes, conditioning)[0, 20:22]
    expected = model.output_params(expected)
    memory = model.initial_memory(1)
    model.hidden_states(codes[:, :20], conditioning, None, memory)
    keys, values, positions = memory.tensors
    if moved in ("keys", "both"):
        keys.copy_(keys.roll(1, dims=2))
    if moved == "both":
        values.copy_(values.roll(1, dims=2))
    if moved == "positions":
        positions.add_(1)
    found = torch.cat([model.step(memory, codes[:, t], None) for t in (20, 21)])
    assert torch.allclose(found, expected, atol=1e-4) == (moved == "nothing")


@pytest.fixture
def full(make_checkpoint):
    """Return a checkpoint with full attention to 200 samples."""
    return make_checkpoint(FULL)


def test_a_clip_as_long_as_the_context_is_generated_and_scored(full):
    prompt = sine(0.01)
    request = GenerationRequest(200 - prompt.numel(), prompt=prompt)
    assert len(generate_waveforms(full, [request])[0]) == request.samples
    waveform = sine(200 / RATE)
    whole = score(full, waveform).surprise
    parts = torch.cat(list(score_blocks(full, waveform.split(70), 200, window=33)))
    torch.testing.assert_close(parts, whole, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "call",
    [
        lambda full: generate_waveforms(full, [GenerationRequest(201)]),
        lambda full: generate_waveforms(full, [GenerationRequest(121, prompt=sine(0.01))]),
        lambda full: beam_search(full, GenerationRequest(201), 1),
        lambda full: score(full, sine(201 / RATE)),
        lambda full: list(score_blocks(full, sine(201 / RATE).split(70), 201)),
    ],
    ids=["generate", "prompt", "search", "score", "blocks"],
)
def test_a_longer_clip_is_refused(full, call):
    with pytest.raises(
        ConditionError, match=r"at most 200 samples \(0.025 s\).* found 201 samples"
    ):
        call(full)


def recipe_of(model, **data):
    """Return the recipe tiny with another model."""
    parts = {**dict(load_recipe("tiny")), "model": model, "data": DataConfig(**data)}
    return make_config(RecipeConfig, "recipe", **parts)


def test_a_recipe_with_longer_segments_is_refused():
    seconds = 200 / RATE
    assert recipe_of(FULL, max_seconds=seconds).model.longest_clip == 200
    assert recipe_of(SLIDING, max_seconds=4.0).model.longest_clip is None
    with pytest.raises(
        ConfigError, match=r"data.max_seconds must be at most 0.025, .* found 0.03;"
    ):
        recipe_of(FULL, max_seconds=0.03)


def test_the_default_length_of_a_trained_model_is_one_that_it_can_generate():
    clips = [TrainingClip(torch.zeros(200), {}, 0, samples, 0, "a.wav") for samples in (150, 900)]
    recipe = recipe_of(FULL, max_seconds=200 / RATE)
    for total, expected in ((150, 0.019), (900, 0.025)):
        clip = next(clip for clip in clips if clip.total_samples == total)
        config = resolve_config(recipe, Dataset(train=[clip], validation=[]))
        assert config.default_seconds == expected
