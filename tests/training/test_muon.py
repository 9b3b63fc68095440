"""Muon: it agrees with PyTorch's own, and a resumed run goes on with it."""

import itertools

import pytest
import torch
from torch import nn

from wavenet.training import snapshots
from wavenet.training.loop import train
from wavenet.training.muon import Muon, orthogonalize
from wavenet.training.state import make_state

from . import CPU, make_config, make_dataset, make_settings

SHAPES = [(8, 8), (8, 8), (24, 8), (8, 40), (3, 5)]


def make_matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def steps(optimizer, matrices, count=4):
    """Make steps with the same made-up gradients whoever is asked."""
    generator = torch.Generator().manual_seed(9)
    for _ in range(count):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()


def distance(one, other):
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_it_makes_the_steps_of_pytorch(decay):
    ours, theirs, began = make_matrices(), make_matrices(), make_matrices()
    # theirs multiplies in bf16, of which both of us then see the rounding
    steps(Muon(ours, 0.02, decay, torch.bfloat16), ours)
    steps(
        torch.optim.Muon(
            theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        ),
        theirs,
    )  # fmt: skip
    moved = distance(ours, began)
    assert moved > 0.01
    assert distance(ours, theirs) < 0.03 * moved
    other = make_matrices()  # the control: a step of another size
    steps(Muon(other, 0.022, decay, torch.bfloat16), other)
    assert distance(other, theirs) > 0.03 * moved


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 40)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    made = orthogonalize(matrices, torch.float32)
    assert (made.shape, made.dtype) == (matrices.shape, torch.float32)
    values = torch.linalg.svdvals(made)
    assert values.min() > 0.3 and values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 3
    # U and V of the matrix turn the answer into a diagonal
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ made @ v.mT
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-3


def test_a_zero_gradient_moves_nothing():
    matrices = make_matrices()
    optimizer = Muon(matrices, 0.1, 0.0, torch.float32)
    for matrix in matrices:
        matrix.grad = torch.zeros_like(matrix)
    optimizer.step()
    assert distance(matrices, make_matrices()) == 0


def test_a_step_that_is_called_off_changes_no_weight():
    matrices = make_matrices()
    optimizer = Muon(matrices, 0.1, 0.5, torch.float32)
    optimizer.found_inf = torch.ones(())
    for matrix in matrices:
        matrix.grad = torch.full_like(matrix, torch.nan)
    optimizer.step()
    assert distance(matrices, make_matrices()) == 0
    optimizer = Muon(matrices, 0.1, 0.5, torch.float32)
    optimizer.found_inf = torch.zeros(())
    steps(optimizer, matrices, 1)
    assert distance(matrices, make_matrices()) > 0.01


def test_matrices_between_the_layers_go_to_muon_and_all_else_to_adam():
    state = make_state(make_config(), make_settings(learning_rate=0.01, muon_rate=0.03))
    adam, muon = state.optimizers
    names = {id(p): name for name, p in state.model.named_parameters()}
    taken = [names[id(p)] for p in muon.param_groups[0]["params"]]
    left = [names[id(p)] for group in adam.param_groups for p in group["params"]]
    assert sorted([*taken, *left]) == sorted(names.values())
    assert "blocks.0.conv.linear.weight" in taken and "skip.weight" in taken
    assert {"embedding.weight", "output.weight", "skip.bias"} <= set(left)
    state.set_rate(0.005)
    assert muon.param_groups[0]["lr"] == pytest.approx(0.015)
    assert {group["lr"] for group in adam.param_groups} == {0.005}


def test_a_resumed_run_goes_on_bit_for_bit(tmp_path):
    settings, asked = make_settings(muon_rate=0.01), itertools.count(1)
    config, dataset = make_config(), make_dataset()
    whole = train(config, settings, dataset, tmp_path / "whole", device=CPU)
    folder = tmp_path / "parts"
    train(config, settings, dataset, folder, should_stop=lambda: next(asked) == 4, device=CPU)
    parts = train(config, settings, dataset, folder, resume=True, device=CPU)
    one, other = snapshots._tensors(whole), snapshots._tensors(parts)
    assert any(name.endswith("momentum") for name in one)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = train(config, make_settings(), dataset, tmp_path / "plain", device=CPU)
    assert not torch.equal(plain.model.skip.weight, whole.model.skip.weight)
