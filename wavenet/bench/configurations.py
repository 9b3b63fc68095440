"""The networks that are measured: named ones with random weights, or a checkpoint.

A name or a folder enters, a `Network` leaves. Speed depends on the sizes alone, so random weights
tell as much as trained ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wavenet import checkpoint
from wavenet.codec import LinearCodec, MuLawCodec
from wavenet.errors import ConditionError
from wavenet.model.base import AutoregressiveModel
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.model.wavenet import WaveNet, WaveNetConfig

SAMPLE_RATE = 16_000  # Hz
BITS = 8
SEED = 0
BYTES_PER_WEIGHT = {"fp32": 4, "bf16": 2}

# without conditions, and with classes as outputs; see below for what others cost
CONFIGURATIONS: Mapping[str, WaveNetConfig] = {
    "A": WaveNetConfig(
        residual_channels=64,
        gate_channels=64,
        skip_channels=256,
        kernel_size=2,
        dilations=tuple(1 << n for n in range(10)) * 2,
    ),
    "B": WaveNetConfig(
        residual_channels=128,
        gate_channels=128,
        skip_channels=128,
        kernel_size=3,
        dilations=tuple(1 << n for n in range(10)) * 3,
    ),
    "S": WaveNetConfig(
        residual_channels=32,
        gate_channels=32,
        skip_channels=128,
        kernel_size=2,
        dilations=tuple(1 << n for n in range(8)) * 3,
    ),
}

# A with conditions or another output: asked for by name, to be compared with A
VARIANTS: Mapping[str, WaveNetConfig] = {
    "A-mel": CONFIGURATIONS["A"].model_copy(
        update={"conditions": (MelCondition(n_mels=80, win_length=1024),)}
    ),
    "A-logistic": CONFIGURATIONS["A"].model_copy(update={"output": LogisticOutput()}),
    "A-gaussian": CONFIGURATIONS["A"].model_copy(update={"output": GaussianOutput()}),
}


@dataclass(frozen=True)
class Network:
    """A model to measure.

    Attributes:
        name: of its configuration or checkpoint.
    """

    name: str
    model: AutoregressiveModel[Any]

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
    configurations = {**CONFIGURATIONS, **VARIANTS}
    if name not in configurations:
        known = ", ".join(configurations)
        raise ConditionError(f"the configuration {name!r} is not known; choose one of {known}")
    config = configurations[name]
    is_categorical = config.output.kind == "categorical"
    codec = MuLawCodec(bits=BITS) if is_categorical else LinearCodec()
    return random_network(name, config, codec.bits, SAMPLE_RATE)


def random_network(name: str, config: WaveNetConfig, bits: int, sample_rate: int) -> Network:
    """Make a network of any sizes, with the same random weights every time.

    Args:
        bits: of the codec.
        sample_rate: Hz.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = WaveNet(config, bits, sample_rate, start_code=1 << (bits - 1))
    return Network(name, model.requires_grad_(False).eval())


def load_network(folder: Path) -> Network:
    """Load a checkpoint, to be measured with an example of each of its conditions.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    loaded = checkpoint.load(folder)
    return Network(loaded.config.name, loaded.model)
