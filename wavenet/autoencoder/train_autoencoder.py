"""Train an autoencoder of mel frames.

Input: frames of recordings, a config and settings. Output: the folder of the autoencoder, which is
written after every validation, with `training.safetensors`, from which an interrupted training
continues: every batch depends on the seed and the step only. Called by the command line.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from torch import Tensor

from wavenet.autoencoder.autoencoder_folder import save_autoencoder
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.errors import DataError
from wavenet.model.frame_scales import MEL_SPAN
from wavenet.network_training import (
    NetworkState,
    StepSettings,
    apply_step,
    step_generator,
    train_network,
)


class AutoencoderSettings(StepSettings):
    """The settings of the training of an autoencoder.

    Attributes:
        clips_per_step: parts of recordings in a batch.
        frames: of such a part; shorter recordings are continued by their last frame.
    """

    clips_per_step: int = Field(default=32, ge=1, le=65_536)
    frames: int = Field(default=24, ge=1, le=65_536)


@dataclass(frozen=True)
class AutoencoderMeasures:
    """How well an autoencoder represents recordings.

    Attributes:
        error_db: root of the mean squared error of the frames, dB.
        perplexity: of the frequencies of the codes: n_codes if all are equally frequent.
        used_codes: number of codes that occur.
    """

    error_db: float
    perplexity: float
    used_codes: int


def train_autoencoder(
    config: AutoencoderConfig,
    settings: AutoencoderSettings,
    training: Sequence[Tensor],
    validation: Sequence[Tensor],
    folder: Path,
    report: Callable[[int, AutoencoderMeasures | None], None] = lambda step, measures: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> MelAutoencoder:
    """Train to the last step, or until `should_stop` returns true; continue a training in `folder`.

    Args:
        config: of the autoencoder.
        settings: of the training.
        training, validation: frames (F, bands) of recordings, scaled as `frame_features` does.
        folder: of the autoencoder.
        report: called after every step with its number and, after a validation, its measures.
        should_stop: called after every step.
    Raises:
        DataError: there are no recordings to train on.
        TrainingError: a loss that is not finite, or the folder has another training.
        FolderInUse: another process trains into the folder.
        CheckpointError: the folder cannot be written.
    """
    if not training:
        raise DataError("there are no recordings to train the autoencoder on")
    return train_network(
        lambda: MelAutoencoder(config),
        config,
        settings,
        folder,
        lambda state: train_step(state, settings, training),
        lambda model: measure_autoencoder(model, validation or training),
        lambda model: save_autoencoder(folder, model),
        report,
        should_stop,
    )


def train_step(
    state: NetworkState[MelAutoencoder], settings: AutoencoderSettings, training: Sequence[Tensor]
) -> float:
    """Do one step of the optimizer and one of the quantiser; return the loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    generator = step_generator(settings, state.step)
    frames = draw_batch(training, settings, generator)
    decoded, latents, quantized = state.model.reconstruct(frames)
    loss = (decoded - frames).square().mean() + quantized.loss
    apply_step(state, settings, loss)
    vectors, codes = latents.detach().flatten(0, -2), quantized.codes.flatten()
    state.model.quantizer.observe(vectors, codes, generator)
    return loss.item()


def draw_batch(
    recordings: Sequence[Tensor], settings: AutoencoderSettings, generator: torch.Generator
) -> Tensor:
    """Return random parts of random recordings (clips_per_step, frames, bands)."""
    parts = []
    for index in torch.randint(
        len(recordings), (settings.clips_per_step,), generator=generator
    ).tolist():
        frames = recordings[index]
        surplus = len(frames) - settings.frames
        start = int(torch.randint(max(0, surplus) + 1, (), generator=generator))
        positions = torch.arange(start, start + settings.frames).clamp(max=len(frames) - 1)
        parts.append(frames[positions])
    return torch.stack(parts)


@torch.no_grad()
def measure_autoencoder(model: MelAutoencoder, recordings: Sequence[Tensor]) -> AutoencoderMeasures:
    """Encode and decode whole recordings; compare the frames and count the codes."""
    squares, numbers = 0.0, 0
    counts = torch.zeros(model.quantizer.n_codes, dtype=torch.float64)
    for frames in recordings:
        codes = model.encode(frames[None])
        squares += (model.decode(codes)[0] - frames).square().sum().item()
        numbers += frames.numel()
        counts += codes.flatten().bincount(minlength=len(counts))
    frequencies = counts[counts > 0] / counts.sum()
    return AutoencoderMeasures(
        error_db=math.sqrt(squares / numbers) * MEL_SPAN,
        perplexity=math.exp(-(frequencies * frequencies.log()).sum().item()),
        used_codes=len(frequencies),
    )
