"""A folder with one small random checkpoint, as the studio expects it."""

from pathlib import Path

import pytest
import torch

from wavenet import checkpoint
from wavenet.conditions import LabelCondition, PositionCondition
from wavenet.config import AudioConfig, CheckpointConfig, CodecConfig, ModelConfig

RATE = 8000
SPEAKERS = ("george", "jackson", "<img src=x onerror=alert(1)>")


@torch.no_grad()
def save_checkpoint(root: Path, name: str, rate: int, labels: dict[str, tuple[str, ...]]) -> None:
    sets = tuple(LabelCondition(name=key, values=values) for key, values in labels.items())
    model = ModelConfig(
        residual_channels=8,
        gate_channels=8,
        skip_channels=16,
        dilations=(1, 2, 4, 8, 16),
        conditions=(*sets, PositionCondition()),
        condition_channels=16,
    )
    config = CheckpointConfig(
        name=name,
        audio=AudioConfig(sample_rate=rate),
        codec=CodecConfig(),
        model=model,
        default_seconds=0.5,
    )
    torch.manual_seed(0)
    network = checkpoint.build(config)
    # Fresh predictions are almost uniform; these depend on the past and on the labels.
    network.output.weight.mul_(100)
    checkpoint.save(root / name, config, network)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two checkpoints: digits at 8 kHz, and one with another label set at 16 kHz."""
    folder = tmp_path_factory.mktemp("studio") / "checkpoints"
    digits = {"digit": tuple("0123456789"), "speaker": SPEAKERS}
    save_checkpoint(folder, "digits", RATE, digits)
    save_checkpoint(folder, "notes", 2 * RATE, {"instrument": ("flute", "horn")})
    return folder
