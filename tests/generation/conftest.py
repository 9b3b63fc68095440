"""Two models for the tests of the guard: one without preferences, and one that degenerates."""

import math

import pytest
import torch

from tests.conftest import tiny_config


@pytest.fixture
def flat(make_checkpoint):
    """Make a model that predicts all codes with equal probability: 8 bits for every sample."""
    checkpoint = make_checkpoint(tiny_config(conditions="none"))
    checkpoint.model.output.weight.zero_()
    checkpoint.model.output.bias.zero_()
    return checkpoint


@pytest.fixture
def fragile(make_checkpoint):
    """Make a model of a hum; after code 0 or 255 it draws only these two codes."""
    checkpoint = make_checkpoint(tiny_config(1, (1,), "none"))
    model = checkpoint.model
    for parameter in model.parameters():
        parameter.zero_()
    extremes, codes = torch.tensor([0, 255]), torch.arange(256.0)
    model.embedding.weight[:, 0] = -1
    model.embedding.weight[extremes, 0] = 1
    (block,) = model.blocks
    gates = model.config.gate_channels
    block.conv.linear.weight[0, 0], block.conv.linear.bias[gates] = 5, 10
    model.skip.weight[0, 0] = model.hidden.weight[0, 0] = 1
    model.output.bias[:] = -((codes - 128) ** 2) / 200
    model.output.bias[extremes] = model.output.bias.logsumexp(0) - math.log(2 * 400)
    model.output.weight[extremes, 0] = 30
    return checkpoint
