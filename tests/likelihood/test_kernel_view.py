"""The kernels of a state-space model: closed forms with one state, and the recurrence."""

import math
from itertools import pairwise

import pytest
import torch

from tests.conftest import tiny_model
from wavenet.errors import CheckpointError, ModelUnsupported
from wavenet.likelihood.kernel_view import has_kernels, view_kernels
from wavenet.model.recurrent import GRUConfig
from wavenet.model.state_space import StateSpace, StateSpaceConfig
from wavenet.model.state_space_layer import run_recurrence

CONFIG = StateSpaceConfig(channels=6, states=3, layers=2, output_channels=5)


def make_model(config: StateSpaceConfig = CONFIG) -> StateSpace:
    model = tiny_model(config)
    assert isinstance(model, StateSpace)
    return model


def test_a_state_without_frequency_decays_exponentially() -> None:
    """K_k = 2 C (1 - exp(-a)) / rate * exp(-a k), a = step * rate; the time constant is 1 / a."""
    model = make_model(StateSpaceConfig(channels=2, states=1, layers=1, output_channels=5))
    layer, rate, steps = model.blocks[0].layer, 0.5, torch.tensor([0.1, 0.04])
    with torch.no_grad():
        layer.log_decay.fill_(math.log(rate))
        layer.frequency.zero_()
        layer.log_step.copy_(steps.log())
        layer.readout_real.copy_(torch.tensor([[1.5], [-0.5]]))
    found = view_kernels(model, bins=1000, samples=100)
    assert found.edges == list(range(1, 102))
    a, k = (steps * rate).double(), torch.arange(100, dtype=torch.float64)
    kernels = 2 * torch.tensor([[1.5], [0.5]]) * (1 - torch.exp(-a))[:, None] / rate
    kernels = kernels * torch.exp(-a[:, None] * k)
    (view,) = found.layers
    torch.testing.assert_close(view.mean, kernels.mean(0), rtol=1e-4, atol=0)
    torch.testing.assert_close(view.largest, kernels.amax(0), rtol=1e-4, atol=0)
    torch.testing.assert_close(view.time_constants, 1 / a, rtol=1e-5, atol=0)


def test_kernels_are_the_responses_of_the_recurrence() -> None:
    """In bins of several samples: the mean and the largest magnitude of all of them."""
    model, samples = make_model(), 300
    impulse = torch.zeros(1, samples, 6)
    impulse[:, 0] = 1
    found = view_kernels(model, bins=20, samples=samples)
    assert found.edges[0] == 1 and found.edges[-1] == samples + 1
    widths = [end - begin for begin, end in pairwise(found.edges)]
    assert max(widths) > 1
    for block, view in zip(model.blocks, found.layers, strict=True):
        state = torch.zeros(1, 6, 3, dtype=torch.complex64)
        with torch.no_grad():
            outputs, _ = run_recurrence(block.layer.modes(), impulse, state)
        parts = outputs[0].abs().double().split(widths)
        expected = torch.stack([part.mean() for part in parts])
        torch.testing.assert_close(view.mean, expected, rtol=1e-3, atol=1e-6)
        expected = torch.stack([part.max() for part in parts])
        torch.testing.assert_close(view.largest, expected, rtol=1e-3, atol=1e-6)
        # negative control: the response one sample later
        later = outputs[0, 1:].abs().double().split([*widths[:-1], widths[-1] - 1])
        assert not torch.allclose(view.largest, torch.stack([part.max() for part in later]))


def test_other_models_are_refused() -> None:
    gru = tiny_model(GRUConfig(embedding_channels=8, hidden_channels=8, output_channels=8))
    assert has_kernels(make_model()) and not has_kernels(gru)
    with pytest.raises(ModelUnsupported, match="found the architecture 'gru'"):
        view_kernels(gru, bins=10)
    model = make_model()
    with torch.no_grad():
        model.blocks[1].layer.readout_real.fill_(math.inf)
    with pytest.raises(CheckpointError, match="not finite"):
        view_kernels(model, bins=10)
