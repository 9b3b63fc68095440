"""What many tests share: tiny models, tiny checkpoints, sounds made here, one thread."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wavenet import checkpoint
from wavenet.config import (
    AudioConfig,
    CheckpointConfig,
    CodecConfig,
    LabelCondition,
    ModelConfig,
    PositionCondition,
)
from wavenet.model.wavenet import WaveNet

RATE = 8000


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Small tensors gain nothing from threads, and sums keep their order."""
    torch.set_num_threads(1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def tiny_config(
    kernel_size: int = 2,
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2),
    conditions: str = "both",
    hop: int = 7,
    widths: tuple[int, int, int] = (8, 12, 10),
) -> ModelConfig:
    """Make a small network; conditions: none, label, position or both."""
    chosen: list[LabelCondition | PositionCondition] = []
    if conditions in ("label", "both"):
        chosen.append(LabelCondition(name="digit", values=("a", "b", "c"), channels=4))
    if conditions in ("position", "both"):
        chosen.append(PositionCondition(harmonics=2))
    return ModelConfig(
        residual_channels=widths[0],
        gate_channels=widths[1],
        skip_channels=widths[2],
        kernel_size=kernel_size,
        dilations=dilations,
        conditions=tuple(chosen),
        condition_channels=8,
        condition_hop=hop,
    )


def tiny_model(config: ModelConfig | None = None, bits: int = 5, seed: int = 0) -> WaveNet:
    """Make a small network whose weights are large enough for predictions that differ."""
    torch.manual_seed(seed)
    model = WaveNet(config or tiny_config(), bits, RATE).requires_grad_(False).eval()
    for parameter in model.parameters():
        parameter.mul_(2)
    model.output.weight.mul_(10)
    return model


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., checkpoint.Checkpoint]:
    """Give a function that saves a small checkpoint and loads it again."""

    def make(config: ModelConfig | None = None, bits: int = 8, name: str = "tiny") -> object:
        config = config or tiny_config()
        codec = CodecConfig(bits=bits, silence_code=1 << (bits - 1))
        whole = CheckpointConfig(
            name=name,
            audio=AudioConfig(sample_rate=RATE),
            codec=codec,
            model=config,
            default_seconds=0.05,
        )
        checkpoint.save(tmp_path / name, whole, tiny_model(config, bits))
        return checkpoint.load(tmp_path / name)

    return make


def sine(seconds: float = 0.5, frequency: float = 440.0, rate: int = RATE) -> torch.Tensor:
    """Make (T,) of a sine at half of full scale."""
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(round(seconds * rate)) / rate)
