"""`linear_attention`: the formula, chunks, and numbers that stay finite."""

import pytest
import torch

from tests.conftest import tiny_model
from wavenet.model.attention_layers import Heads
from wavenet.model.linear_attention import (
    CHUNK,
    LinearAttentionConfig,
    attend_in_chunks,
    linear_weights,
)

CONFIG = LinearAttentionConfig(channels=12, heads=2, layers=2, feedforward_channels=10)


def random_heads(samples, scale=1.0):
    return Heads(*torch.randn(3, 2, samples, 3, 4) * scale)


def attend_by_definition(heads):
    """Compute the attention with a matrix of all pairs of positions, in float64."""
    q, k, v = (part.double().transpose(1, 2) for part in heads)
    q, k = (torch.nn.functional.elu(part) + 1 for part in (q, k))
    weights = (q @ k.transpose(2, 3)).tril()
    return (weights @ v / weights.sum(dim=3, keepdim=True)).transpose(1, 2).float()


@pytest.mark.parametrize("samples", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_the_attention_in_chunks_is_that_of_the_definition(samples):
    torch.manual_seed(0)
    heads = random_heads(samples)
    found, _ = attend_in_chunks(heads, None)
    torch.testing.assert_close(found, attend_by_definition(heads), atol=1e-5, rtol=1e-5)
    if samples > 1:  # negative control: the keys of other samples
        moved = heads._replace(keys=heads.keys.roll(1, dims=1))
        assert not torch.allclose(attend_in_chunks(moved, None)[0], found, atol=1e-3)


@pytest.mark.parametrize("split", [1, CHUNK, 50])
def test_the_sums_of_a_part_are_all_that_the_rest_needs(split):
    torch.manual_seed(0)
    heads = random_heads(100)
    whole, sums = attend_in_chunks(heads, None)
    first, between = attend_in_chunks(Heads(*(part[:, :split] for part in heads)), None)
    second, after = attend_in_chunks(Heads(*(part[:, split:] for part in heads)), between)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(after, sums)
    # negative control: without the sums of the first part
    alone, _ = attend_in_chunks(Heads(*(part[:, split:] for part in heads)), None)
    assert not torch.allclose(alone, second, atol=1e-3)


def test_the_shown_weights_are_those_of_the_attention():
    """A row sums to 1, is 0 after its position, and its mean of the values is the attention."""
    torch.manual_seed(0)
    heads = random_heads(50)
    weights = linear_weights(heads, 5, None)
    assert weights.shape == (2, 3, 5, 50)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(2, 3, 5))
    is_read = torch.arange(45, 50)[:, None] >= torch.arange(50)
    assert (weights[..., ~is_read] == 0).all() and (weights[..., is_read] > 0).all()
    attended = torch.einsum("bhts,bshd->bthd", weights, heads.values)
    expected = attend_by_definition(heads)[:, -5:]
    torch.testing.assert_close(attended, expected, atol=1e-5, rtol=1e-5)


def test_the_shown_weights_of_a_part_are_those_of_the_whole():
    """The positions before the part have the rest of each row."""
    torch.manual_seed(0)
    heads = random_heads(50)
    whole = linear_weights(heads, 5, None)
    first, second = (Heads(*(part[:, cut] for part in heads)) for cut in (slice(30), slice(30, 50)))
    _, sums = attend_in_chunks(first, None)
    weights = linear_weights(second, 5, sums)
    torch.testing.assert_close(weights, whole[..., 30:])
    torch.testing.assert_close(1 - weights.sum(dim=3), whole[..., :30].sum(dim=3))
    # negative control: without the sums of the first part
    assert not torch.allclose(linear_weights(second, 5, None), weights, atol=1e-3)


def test_the_sums_are_those_of_the_formula():
    heads = Heads(*torch.tensor([[-1.0, 2.0], [0.0, 1.0], [3.0, 5.0]])[:, None, :, None, None])
    attended, sums = attend_in_chunks(heads, None)
    # f(k) = 1 and 2: S = 1 * 3 + 2 * 5, z = 1 + 2
    assert sums.flatten().tolist() == [13, 3]
    torch.testing.assert_close(attended.flatten(), torch.tensor([3.0, 13 / 3]))


@pytest.mark.parametrize("offset", [-20.0, -200.0])
def test_small_weights_stay_exact_or_finite(offset):
    """elu(x) + 1 is 0 for keys of -20 in float32: the quotient would be 0 / 0."""
    torch.manual_seed(0)
    heads = random_heads(80)
    heads = heads._replace(keys=torch.full_like(heads.keys, offset))
    heads.keys.requires_grad_(True)
    found, _ = attend_in_chunks(heads, None)
    (gradient,) = torch.autograd.grad(found.square().sum(), heads.keys)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    if offset == -20.0:  # equal weights: the mean of the values
        mean = heads.values.cumsum(dim=1) / torch.arange(1, 81)[:, None, None]
        torch.testing.assert_close(found, mean, atol=1e-3, rtol=0)


def test_a_step_late_in_a_long_clip_is_finite():
    model = tiny_model(CONFIG)
    memory = model.initial_memory(1)
    sums, positions = memory.tensors
    sums[..., -1] = 1e7
    positions.fill_(10_000_000)
    assert model.step(memory, torch.tensor([9]), None).isfinite().all()
    assert int(positions) == 10_000_001


def test_the_sums_are_float32_in_a_pass_in_bf16():
    torch.manual_seed(0)
    model = tiny_model(CONFIG)
    heads = Heads(*torch.randn(3, 1, 500, 2, 6))
    expected, _ = attend_in_chunks(heads, None)
    with torch.autocast("cpu", torch.bfloat16):
        found = model._attend(0, heads, torch.zeros(1, dtype=torch.int64), None)
    assert torch.equal(found, expected)
