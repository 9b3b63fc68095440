"""Muon: it agrees with PyTorch's own, and a resumed run continues with it."""

import itertools

import pytest
import torch
from torch import nn

from wavenet.training import snapshots
from wavenet.training.muon import Muon, orthogonalize

from . import initial_state, make_config, make_dataset, make_settings, train

SHAPES = [(8, 8), (8, 8), (24, 8), (8, 40), (3, 5)]


def make_matrices(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def do_steps(optimizer, matrices, count=4):
    """Do steps with random gradients, the same for every optimizer."""
    generator = torch.Generator().manual_seed(9)
    for _ in range(count):
        for matrix in matrices:
            matrix.grad = torch.randn(matrix.shape, generator=generator)
        optimizer.step()


def distance(one, other):
    return max(float((a - b).detach().abs().max()) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_muon_does_the_steps_of_pytorch(decay):
    ours, theirs, initial = make_matrices(), make_matrices(), make_matrices()
    # PyTorch's multiplies in bf16, so both have its rounding
    do_steps(Muon(ours, 0.02, decay, torch.bfloat16), ours)
    do_steps(
        torch.optim.Muon(
            theirs, lr=0.02, weight_decay=decay, adjust_lr_fn="match_rms_adamw"
        ),
        theirs,
    )  # fmt: skip
    moved = distance(ours, initial)
    assert moved > 0.01
    assert distance(ours, theirs) < 0.03 * moved
    other = make_matrices()  # negative control: steps of another size
    do_steps(Muon(other, 0.022, decay, torch.bfloat16), other)
    assert distance(other, theirs) > 0.03 * moved


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 40)])
def test_singular_values_come_near_one_and_singular_vectors_stay(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1))
    result = orthogonalize(matrices, torch.float32)
    assert (result.shape, result.dtype) == (matrices.shape, torch.float32)
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.3 and values.max() < 1.3
    assert torch.linalg.svdvals(matrices).max() > 3
    # U and V of the matrices diagonalise the result
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ result @ v.mT
    off = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert off.abs().max() < 1e-3


def test_a_zero_gradient_moves_nothing():
    matrices = make_matrices()
    optimizer = Muon(matrices, 0.1, 0.0, torch.float32)
    for matrix in matrices:
        matrix.grad = torch.zeros_like(matrix)
    optimizer.step()
    assert distance(matrices, make_matrices()) == 0


def test_found_inf_keeps_every_weight_unchanged():
    matrices = make_matrices()
    optimizer = Muon(matrices, 0.1, 0.5, torch.float32)
    optimizer.found_inf = torch.ones(())
    for matrix in matrices:
        matrix.grad = torch.full_like(matrix, torch.nan)
    optimizer.step()
    assert distance(matrices, make_matrices()) == 0
    optimizer = Muon(matrices, 0.1, 0.5, torch.float32)
    optimizer.found_inf = torch.zeros(())
    do_steps(optimizer, matrices, 1)
    assert distance(matrices, make_matrices()) > 0.01


def test_muon_gets_the_matrices_between_the_layers_and_adamw_all_other_parameters():
    settings = make_settings(learning_rate=0.01, muon_learning_rate=0.03)
    state = initial_state(settings=settings)
    adamw, muon = state.optimizers
    names = {id(p): name for name, p in state.model.named_parameters()}
    hidden = [names[id(p)] for p in muon.param_groups[0]["params"]]
    others = [names[id(p)] for group in adamw.param_groups for p in group["params"]]
    assert sorted([*hidden, *others]) == sorted(names.values())
    assert "blocks.0.conv.linear.weight" in hidden and "skip.weight" in hidden
    assert {"embedding.weight", "output.weight", "skip.bias"} <= set(others)
    state.set_learning_rate(0.005)
    assert muon.param_groups[0]["lr"] == pytest.approx(0.015)
    assert {group["lr"] for group in adamw.param_groups} == {0.005}


def test_a_resumed_run_continues_bit_for_bit(tmp_path):
    settings, calls = make_settings(muon_learning_rate=0.01), itertools.count(1)
    config, dataset = make_config(), make_dataset()
    whole = train(config, settings, dataset, tmp_path / "whole")
    folder = tmp_path / "parts"
    train(config, settings, dataset, folder, should_stop=lambda: next(calls) == 4)
    parts = train(config, settings, dataset, folder, resume=True)
    one, other = snapshots.state_tensors(whole), snapshots.state_tensors(parts)
    assert any(name.endswith("momentum") for name in one)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    plain = train(config, make_settings(), dataset, tmp_path / "plain")
    assert not torch.equal(plain.model.skip.weight, whole.model.skip.weight)
