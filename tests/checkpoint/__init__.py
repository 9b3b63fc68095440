"""A tiny model for the tests of checkpoints, and the sentence with which one is refused."""

import json

import pytest
import torch

from wavenet import checkpoint
from wavenet.checkpoint import CheckpointConfig
from wavenet.config import parse_config
from wavenet.errors import CheckpointError

TINY = {
    "format_version": 1,
    "name": "tiny",
    "audio": {"sample_rate": 8000},
    "codec": {"bits": 6, "silence_code": 32},
    "model": {
        "residual_channels": 4,
        "gate_channels": 3,
        "skip_channels": 5,
        "dilations": [1, 2, 4],
        "conditions": [
            {"kind": "label", "name": "digit", "values": ["0", "1"], "channels": 2},
            {"kind": "position", "harmonics": 1},
        ],
        "condition_channels": 4,
    },
}


def make(**model):
    """Build a model with seeded weights, and its config."""
    values = {**TINY, "model": {**TINY["model"], **model}}
    config = parse_config(CheckpointConfig, json.dumps(values), "tiny")
    torch.manual_seed(0)
    return config, checkpoint.build(config)


def refusal(folder):
    """Load, and return the sentence of the refusal, the folder (which has the test's name) cut."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(folder)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert str(folder) in sentence
    return sentence.replace(str(folder), "")


def forward(model):
    codes = torch.randint(64, (2, 50), generator=torch.Generator().manual_seed(1))
    return model(codes, model.conditioning([{"digit": "0"}, {"digit": "1"}], [50, 60]))
