"""The networks that are measured: named ones with random weights, or a checkpoint.

A name or a folder enters, a `Network` leaves. Speed depends on the sizes alone, so random weights
tell as much as trained ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from wavenet import checkpoint
from wavenet.config import ModelConfig
from wavenet.errors import ConditionError
from wavenet.model.wavenet import WaveNet

SAMPLE_RATE = 16_000  # Hz
BITS = 8
SEED = 0
BYTES_PER_WEIGHT = {"fp32": 4, "bf16": 2}

# without conditions: their network runs at frame rate and costs next to nothing
CONFIGURATIONS: Mapping[str, ModelConfig] = {
    "A": ModelConfig(
        residual_channels=64,
        gate_channels=64,
        skip_channels=256,
        kernel_size=2,
        dilations=tuple(1 << n for n in range(10)) * 2,
    ),
    "B": ModelConfig(
        residual_channels=128,
        gate_channels=128,
        skip_channels=128,
        kernel_size=3,
        dilations=tuple(1 << n for n in range(10)) * 3,
    ),
    "S": ModelConfig(
        residual_channels=32,
        gate_channels=32,
        skip_channels=128,
        kernel_size=2,
        dilations=tuple(1 << n for n in range(8)) * 3,
    ),
}


@dataclass(frozen=True)
class Network:
    """A model to measure.

    Attributes:
        name: of its configuration or checkpoint.
        labels: label by condition name, given to every stream.
    """

    name: str
    model: WaveNet
    labels: Mapping[str, str]

    @property
    def weights(self) -> int:
        """Weights of all matrices: read once a step, and one multiply-add each for a sample."""
        return self.model.macs_per_sample

    def weight_bytes(self, precision: str) -> int:
        """Give what the matrices take in memory, in bytes."""
        return self.weights * BYTES_PER_WEIGHT[precision]


def make_network(name: str) -> Network:
    """Make a named network, with the same random weights every time.

    Raises:
        ConditionError: no configuration has this name.
    """
    if name not in CONFIGURATIONS:
        known = ", ".join(CONFIGURATIONS)
        raise ConditionError(f"the configuration {name!r} is not known; choose one of {known}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = WaveNet(CONFIGURATIONS[name], BITS, SAMPLE_RATE)
    return Network(name, model.requires_grad_(False).eval(), {})


def load_network(folder: Path) -> Network:
    """Load a checkpoint, to be measured with the first label of each of its conditions.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    loaded = checkpoint.load(folder)
    labels = {condition.name: condition.values[0] for condition in loaded.config.model.labels}
    return Network(loaded.config.name, loaded.model, labels)
