"""Models that expect nothing, or one thing too much."""

import math

import pytest
import torch

from tests.conftest import tiny_config


@pytest.fixture
def flat(make_checkpoint):
    """A model that expects nothing: 8 bits for every sample."""
    loaded = make_checkpoint(tiny_config(conditions="none"))
    loaded.model.output.weight.zero_()
    loaded.model.output.bias.zero_()
    return loaded


@pytest.fixture
def fragile(make_checkpoint):
    """A real model: a hum that, after a code at an end of the alphabet, is nothing but these."""
    loaded = make_checkpoint(tiny_config(1, (1,), "none"))
    model = loaded.model
    for parameter in model.parameters():
        parameter.zero_()
    ends, codes = torch.tensor([0, 255]), torch.arange(256.0)
    model.embedding.weight[:, 0] = -1
    model.embedding.weight[ends, 0] = 1
    (block,) = model.blocks
    gates = model.config.gate_channels
    block.conv.linear.weight[0, 0], block.conv.linear.bias[gates] = 5, 10
    model.skip.weight[0, 0] = model.hidden.weight[0, 0] = 1
    model.output.bias[:] = -((codes - 128) ** 2) / 200
    model.output.bias[ends] = model.output.bias.logsumexp(0) - math.log(2 * 400)
    model.output.weight[ends, 0] = 30
    return loaded
