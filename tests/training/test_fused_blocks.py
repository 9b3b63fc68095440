"""The fused blocks and their backward pass equal the definition, gradients included."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tests.conftest import make_condition_values, make_frame_features, tiny_config
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.model.wavenet import WaveNet
from wavenet.training import fused_blocks
from wavenet.training.batches import Batch

from . import batch_nll

CONTEXT, RECORDING = 11, 700  # samples


def make_model(**settings):
    """Build a small WaveNet."""
    torch.manual_seed(3)
    config = tiny_config(**settings)
    return WaveNet(config, 8 if config.output.kind == "categorical" else 16, 8000)


def make_batch(model, lengths=(300, 131, 256), starts=(0, 45, 7)):
    """Return a batch of random codes; clips that begin later have context."""
    torch.manual_seed(5)
    codes = torch.randint(0, model.n_classes, (len(lengths), max(lengths)))
    mask = torch.zeros_like(codes, dtype=torch.bool)
    for row, (length, start) in enumerate(zip(lengths, starts, strict=True)):
        mask[row, CONTEXT * (start > 0) : length] = True
    rows = range(len(lengths))
    return Batch(
        codes,
        mask,
        torch.tensor(starts),
        [make_condition_values(model, n) for n in rows],
        [RECORDING] * len(lengths),
        [make_frame_features(model, n, RECORDING) for n in rows],
        [0] * len(lengths),
    )


def defined_nll(model, batch):
    """Compute the mean loss with the definition of the model."""
    conditioning = model.conditioning(
        batch.conditions, batch.total_samples, batch.frame_features, batch.first_frame
    )
    params = model(batch.codes, conditioning, batch.start).float()
    if model.config.output.kind == "categorical":
        return F.cross_entropy(params.transpose(1, 2)[batch.mask], batch.codes[batch.mask])
    return -model.distribution.log_prob(params, batch.codes)[batch.mask].mean()


def gradients(model, loss):
    """Return the gradients of a loss by parameter name."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def differences(one, other):
    """Return the relative difference of two sets of gradients by parameter name."""
    assert one.keys() == other.keys()
    return {n: float((one[n] - other[n]).norm() / (other[n].norm() + 1e-12)) for n in one}


@pytest.mark.parametrize("conditions", ["none", "both", "all"])
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_loss_and_gradients_are_those_of_the_definition(kernel_size, conditions):
    model = make_model(kernel_size=kernel_size, conditions=conditions, dilations=(1, 4, 64, 1, 2))
    batch = make_batch(model)
    expected = defined_nll(model, batch)
    found = batch_nll(model, batch)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    right = gradients(model, expected)
    assert max(differences(gradients(model, found), right).values()) < 2e-5
    # negative control: one layer has a dilation that is longer by one sample
    if kernel_size > 1:
        wrong = copy.deepcopy(model)
        wrong.blocks[1].conv.dilation = 5
        off = differences(gradients(wrong, batch_nll(wrong, batch)), right)
        assert off["blocks.1.conv.linear.weight"] > 0.05


@pytest.mark.parametrize("output", [LogisticOutput(components=3), GaussianOutput()])
def test_mixtures_have_the_loss_of_the_definition(output):
    model = make_model(output=output, conditions="label")
    batch = make_batch(model)
    expected, found = defined_nll(model, batch), batch_nll(model, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    right = gradients(model, expected)
    assert max(differences(gradients(model, found), right).values()) < 1e-4


def test_dilations_longer_than_a_clip_see_nothing():
    # 383: the last sample of 384 still depends on the first
    model = make_model(dilations=(1, 383, 400, 1000, 2), kernel_size=3)
    batch = make_batch(model, (60, 384), (0, 0))
    expected, found = defined_nll(model, batch), batch_nll(model, batch)
    assert found.item() == pytest.approx(expected.item(), abs=1e-5)
    assert max(differences(gradients(model, found), gradients(model, expected)).values()) < 2e-5


def test_a_row_without_targets_adds_nothing():
    model = make_model(conditions="both")
    batch = make_batch(model)
    alone = batch_nll(model, make_batch(model, (300,), (0,)))
    batch.mask[1:] = False
    batch.codes[0, :300] = make_batch(model, (300,), (0,)).codes[0]
    assert batch_nll(model, batch).item() == pytest.approx(alone.item(), abs=1e-5)


def test_the_backward_pass_is_the_derivative():
    """Compared with finite differences in float64, independent of the definition."""
    model = make_model(kernel_size=2, dilations=(1, 3, 2), widths=(3, 2, 4), conditions="none")
    model.double()
    weights = [p for block in model.blocks for p in fused_blocks._block_parameters(block)]
    x = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
    biases = torch.randn(3, 9, 4, dtype=torch.float64, requires_grad=True)

    def run(x, biases, *weights):
        for block, four in zip(model.blocks, zip(*[iter(weights)] * 4, strict=True), strict=True):
            for own, new in zip(fused_blocks._block_parameters(block), four, strict=True):
                if own is not None:
                    own.data.copy_(new.detach())
        blocks = fused_blocks.cast_blocks(model, torch.float64)
        return fused_blocks._FusedBlocks.apply(x, biases, blocks, *weights)

    copies = [None if w is None else w.detach().clone().requires_grad_() for w in weights]
    assert torch.autograd.gradcheck(run, (x, biases, *copies))


def test_in_bf16_gradients_are_as_close_to_float32_as_those_of_the_definition():
    model = make_model(widths=(32, 32, 32), dilations=(1, 2, 4, 8) * 2)
    batch = make_batch(model)
    exact = gradients(model, defined_nll(model, batch))
    with torch.autocast("cpu", torch.bfloat16):
        expected, found = defined_nll(model, batch), batch_nll(model, batch)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item(), abs=2e-3)
    theirs = differences(gradients(model, expected), exact)
    ours = differences(gradients(model, found), exact)
    assert sum(ours.values()) < 1.2 * sum(theirs.values())
    assert 1e-4 < max(ours.values()) < 0.1  # negative control: it ran in bf16


def test_no_graph_is_kept_if_no_gradient_is_needed():
    model = make_model().requires_grad_(False)
    batch = make_batch(model)
    with torch.no_grad():
        assert not batch_nll(model, batch).requires_grad
    assert not batch_nll(model, batch).requires_grad
