"""Train the network of a compressor.

Input: features of recordings (`training_clips`), a config and settings. Output: the folder of the
compressor, written after every validation, with `training.safetensors`, from which an interrupted
training continues. Called by scripts and tests.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from wavenet.compression.compression_network import (
    CompressionNetwork,
    CompressionNetworkConfig,
    mixture_bits,
)
from wavenet.compression.training_clips import TrainingClips
from wavenet.network_training import (
    NetworkState,
    StepSettings,
    apply_step,
    step_generator,
    train_network,
)


class CompressorSettings(StepSettings):
    """The settings of the training of a compressor.

    Attributes:
        parts_per_step: parts of recordings in a batch.
        part_samples: whose loss counts, per part.
    """

    parts_per_step: int = Field(default=32, ge=1, le=65_536)
    part_samples: int = Field(default=1024, ge=1, le=1 << 20)


def train_compressor(
    config: CompressionNetworkConfig,
    settings: CompressorSettings,
    training: TrainingClips,
    validation: TrainingClips,
    folder: Path,
    save: Callable[[CompressionNetwork], None],
    report: Callable[[int, float | None], None] = lambda step, bits: None,
    should_stop: Callable[[], bool] = lambda: False,
    start: CompressionNetwork | None = None,
) -> CompressionNetwork:
    """Train to the last step, or until `should_stop` returns true; continue a training in `folder`.

    Args:
        save: writes the network after a validation.
        report: called after every step with its number and, after a validation, the bits per
            sample of the network alone.
        start: whose weights are the first ones; None for random weights.
    Raises:
        TrainingError: a loss that is not finite, or the folder has another training.
        FolderInUse: another process trains into the folder.
    """

    def build() -> CompressionNetwork:
        network = CompressionNetwork(config)
        if start is not None:
            network.load_state_dict(start.state_dict())
        return network

    return train_network(
        build,
        config,
        settings,
        folder,
        lambda state: train_step(state, settings, training),
        lambda network: measure_network(network, validation),
        save,
        report,
        should_stop,
        weight_decay=0.0,
    )


def train_step(
    state: NetworkState[CompressionNetwork], settings: CompressorSettings, clips: TrainingClips
) -> float:
    """Do one step of the optimizer; return the loss in bits per sample."""
    generator = step_generator(settings, state.step)
    context = state.model.config.receptive_field - 1
    features, errors = draw_parts(clips, settings, context, generator)
    bits = mixture_bits(state.model(features), errors[:, 0], errors[:, 1])
    loss = bits[:, context:].mean()
    apply_step(state, settings, loss)
    return loss.item()


def draw_parts(
    clips: TrainingClips, settings: CompressorSettings, context: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return random parts with the samples before them.

    Every sample of every recording is equally probable, except near the ends of recordings.

    Returns:
        features (B, features, context + samples); errors and scales (B, 2, context + samples).
    """
    total = int(clips.starts[-1])
    parts = []
    for place in torch.randint(total, (settings.parts_per_step,), generator=generator).tolist():
        recording = int(np.searchsorted(clips.starts, place, side="right")) - 1
        start, end = int(clips.starts[recording]), int(clips.starts[recording + 1])
        first = min(place, max(start, end - settings.part_samples))
        parts.append(_part(clips, start, end, first, context, settings.part_samples))
    features, errors = zip(*parts, strict=True)
    return torch.stack(features), torch.stack(errors)


def _part(
    clips: TrainingClips, start: int, end: int, first: int, context: int, samples: int
) -> tuple[Tensor, Tensor]:
    """Return one part; zeros follow a recording that is too short."""
    available = min(end - first, samples)
    features, errors = clips.part(start, first - context, context + available)
    missing = samples - available
    if missing:
        features = torch.nn.functional.pad(features, (0, missing))
        errors = torch.nn.functional.pad(errors, (0, missing), value=1.0)
    return features, errors


@torch.no_grad()
def measure_network(network: CompressionNetwork, clips: TrainingClips) -> float:
    """Return the bits per sample of all recordings under the network alone."""
    total = 0.0
    for start, end in zip(clips.starts[:-1].tolist(), clips.starts[1:].tolist(), strict=True):
        features, errors = clips.part(start, start, end - start)
        bits = mixture_bits(network(features[None]), errors[None, 0], errors[None, 1])
        total += bits.double().sum().item()
    return total / int(clips.starts[-1])
