"""Models to measure: named ones with random weights, or a checkpoint.

Input: a name or a checkpoint folder. Output: a `BenchmarkModel`. The speed depends on the sizes
only, so that random weights are as good as trained ones. Called by `wavenet bench`, the studio and
`benchmarks/`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wavenet import checkpoint
from wavenet.codec import MuLawCodec, Pcm16Codec
from wavenet.errors import ConfigError
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditions import MelCondition
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.model.wavenet import WaveNet, WaveNetConfig

SAMPLE_RATE = 16_000  # Hz
BITS = 8
SEED = 0
BYTES_PER_WEIGHT = {"fp32": 4, "bf16": 2, "int8": 1}

# Without conditions and with a categorical output; `VARIANTS` measure the cost of others.
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

# A with conditions or another output, to be compared with A; measured only if named.
VARIANTS: Mapping[str, WaveNetConfig] = {
    "A-mel": CONFIGURATIONS["A"].model_copy(
        update={"conditions": (MelCondition(n_mels=80, win_length=1024),)}
    ),
    "A-logistic": CONFIGURATIONS["A"].model_copy(update={"output": LogisticOutput()}),
    "A-gaussian": CONFIGURATIONS["A"].model_copy(update={"output": GaussianOutput()}),
}


@dataclass(frozen=True)
class BenchmarkModel:
    """A model to measure.

    Attributes:
        name: of its configuration or checkpoint.
        model: the network.
    """

    name: str
    model: AutoregressiveModel[Any]

    @property
    def matrix_weights(self) -> int:
        """Number of weights in all matrices.

        Each is read once per step, and multiplied and added once per sample.
        """
        return self.model.macs_per_sample

    def weight_bytes(self, precision: str) -> int:
        """Return the size of all matrices in memory, in bytes."""
        return self.matrix_weights * BYTES_PER_WEIGHT[precision]


def build_named_model(name: str) -> BenchmarkModel:
    """Build a named model, always with the same random weights.

    Raises:
        ConfigError: no configuration has this name.
    """
    configurations = {**CONFIGURATIONS, **VARIANTS}
    if name not in configurations:
        expected = ", ".join(configurations)
        raise ConfigError(f"unknown configuration {name!r}; expected one of {expected}")
    config = configurations[name]
    is_categorical = config.output.kind == "categorical"
    codec = MuLawCodec(bits=BITS) if is_categorical else Pcm16Codec()
    return build_random_model(name, config, codec.bits, SAMPLE_RATE)


def build_random_model(
    name: str, config: WaveNetConfig, bits: int, sample_rate: int
) -> BenchmarkModel:
    """Build a model of any sizes, always with the same random weights.

    Args:
        name: of the model.
        config: its sizes.
        bits: of the codec.
        sample_rate: Hz.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = WaveNet(config, bits, sample_rate, start_code=1 << (bits - 1))
    return BenchmarkModel(name, model.requires_grad_(False).eval())


def load_checkpoint_model(folder: Path) -> BenchmarkModel:
    """Load a checkpoint, to be measured with an example value of each of its conditions.

    Raises:
        CheckpointError: it cannot be loaded.
    """
    loaded = checkpoint.load(folder)
    return BenchmarkModel(loaded.config.name, loaded.model)
