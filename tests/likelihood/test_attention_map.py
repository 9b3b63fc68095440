"""An attention map has the weights with which a model predicts, by the age of a sample."""

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConditionError, ModelUnsupported
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood import attention_map
from wavenet.likelihood.attention_map import has_attention, view_attention, weights_by_age
from wavenet.model.attention_layers import AttentionModel
from wavenet.model.conditions import LabelCondition
from wavenet.model.linear_attention import LinearAttentionConfig
from wavenet.model.recurrent import GRUConfig
from wavenet.model.transformer import TransformerConfig

MakeCheckpoint = Callable[..., Checkpoint]
SAMPLES, STEPS = 60, 8
SIZES = {
    "channels": 12,
    "heads": 3,
    "layers": 2,
    "feedforward_channels": 10,
    "conditions": (LabelCondition(name="digit", values=("0", "1")),),
    "condition_channels": 4,
}
SLIDING = TransformerConfig(**SIZES, context=7)
FULL = TransformerConfig(**SIZES, context=64, sliding=False)
LINEAR = LinearAttentionConfig(**SIZES)
REQUEST = GenerationRequest(SAMPLES, {"digit": "1"})


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def view(checkpoint: Checkpoint, codes: torch.Tensor, first: int, **options: int) -> torch.Tensor:
    """Return the weights (blocks, n, heads, P)."""
    return torch.stack(list(view_attention(checkpoint, REQUEST, codes, first, **options)))


def map_by_definition(checkpoint: Checkpoint, codes: torch.Tensor) -> torch.Tensor:
    """Compute the weights of all pairs of positions of a clip: (blocks, heads, T, T)."""
    model, config = checkpoint.model, checkpoint.config.model
    assert isinstance(model, AttentionModel)
    inputs = F.pad(codes[:-1], (1, 0), value=model.start_code)[None]
    conditioning = model.conditioning([{"digit": "1"}], [SAMPLES])
    x = model._embed(inputs, conditioning, None, torch.zeros(1, dtype=torch.int64))
    age = torch.arange(len(codes))[:, None] - torch.arange(len(codes))
    found = []
    for block in model.blocks:
        q, k, v = (part[0].transpose(0, 1) for part in block.split(x))
        if isinstance(config, TransformerConfig):
            weights = (q @ k.transpose(1, 2) / math.sqrt(q.shape[2])).exp()
            weights = weights * ((age >= 0) & (age < config.context))
        else:
            weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(1, 2) * (age >= 0)
        found.append(weights / weights.sum(2, keepdim=True))
        x = block(x, (found[-1] @ v).transpose(0, 1)[None])
    return torch.stack(found)


@pytest.mark.parametrize("config", [SLIDING, FULL, LINEAR])
@pytest.mark.parametrize("first", [0, 3, SAMPLES - STEPS])
def test_weights_are_those_of_the_definition(
    make_checkpoint: MakeCheckpoint,
    config: TransformerConfig | LinearAttentionConfig,
    first: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Entry k is the position k before that of the query; position 0 has the start code."""
    monkeypatch.setattr(attention_map, "WINDOW", 16)
    checkpoint = make_checkpoint(config)
    codes = torch.randint(0, 256, (first + STEPS,))
    found = view(checkpoint, codes, first)
    past = found.shape[3]
    assert past == {SLIDING: 7, FULL: 64, LINEAR: 4_000}[config]
    torch.testing.assert_close(found.sum(3), torch.ones(2, STEPS, 3))
    expected = torch.zeros_like(found)
    whole = map_by_definition(checkpoint, codes)
    for n in range(STEPS):
        for age in range(min(past, first + n + 1)):
            expected[:, n, :, age] = whole[:, :, first + n, first + n - age]
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert (found[expected == 0] == 0).all()
    # negative control: another code in the past
    if first:
        codes[first - 1] += 1
        assert not torch.allclose(view(checkpoint, codes, first), expected, atol=1e-4)


@pytest.mark.parametrize("config", [FULL, LINEAR])
def test_a_limited_past_is_the_newest_part_of_the_whole(
    make_checkpoint: MakeCheckpoint, config: TransformerConfig | LinearAttentionConfig
) -> None:
    """The rest of each row is the share of the older samples."""
    checkpoint, codes = make_checkpoint(config), torch.randint(0, 256, (50,))
    whole = view(checkpoint, codes, 42)
    part = view(checkpoint, codes, 42, past=10)
    assert part.shape[3] == 10
    torch.testing.assert_close(part, whole[..., :10])
    rest = whole[..., 10:].sum(3)
    torch.testing.assert_close(1 - part.sum(3), rest)
    assert rest.mean() > 0.1


def test_age_counts_from_the_newest_position() -> None:
    """Query 0 is position 1, query 1 is position 2."""
    weights = torch.tensor([[[0.4, 0.6, 0.0], [0.1, 0.2, 0.7]]])
    expected = torch.tensor([[[0.6, 0.4, 0.0, 0.0]], [[0.7, 0.2, 0.1, 0.0]]])
    assert torch.equal(weights_by_age(weights, 4), expected)
    assert torch.equal(weights_by_age(weights, 2), expected[..., :2])


def test_other_architectures_and_samples_are_refused(make_checkpoint: MakeCheckpoint) -> None:
    gru = GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8)
    recurrent, codes = make_checkpoint(gru, name="gru"), torch.zeros(50, dtype=torch.int64)
    with pytest.raises(ModelUnsupported, match="found the architecture 'gru'"):
        next(view_attention(recurrent, GenerationRequest(60), codes, 42))
    checkpoint = make_checkpoint(SLIDING)
    assert has_attention(checkpoint.model) and not has_attention(recurrent.model)
    with pytest.raises(ConditionError, match="not inside a clip"):
        next(view_attention(checkpoint, REQUEST, codes, 50))
