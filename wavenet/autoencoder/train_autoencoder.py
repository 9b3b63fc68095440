"""Train an autoencoder of mel frames.

Input: frames of recordings, a config and settings. Output: the folder of the autoencoder, which is
written after every validation, with `training.safetensors`, from which an interrupted training
continues: every batch depends on the seed and the step only. Called by the command line.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor
from torch.optim import AdamW

from audio_utils.atomic_files import atomic_file
from wavenet.autoencoder.autoencoder_folder import save_autoencoder
from wavenet.autoencoder.mel_autoencoder import AutoencoderConfig, MelAutoencoder
from wavenet.config import StrictConfig
from wavenet.errors import DataError, TrainingError
from wavenet.folder_lock import lock_folder
from wavenet.model.frame_scales import MEL_SPAN

STATE = "training.safetensors"
WARMUP_STEPS = 100
FINAL_SHARE = 0.01  # of the learning rate, at the last step
GRADIENT_CLIP = 1.0
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.01
VALIDATE_EVERY = 500  # steps


class AutoencoderSettings(StrictConfig):
    """The settings of the steps and of the optimizer.

    Attributes:
        steps: number of updates of the weights.
        clips_per_step: parts of recordings in a batch.
        frames: of such a part; shorter recordings are continued by their last frame.
        learning_rate: the highest, after the warm-up.
        seed: of the first weights and of the batches.
    """

    steps: int = Field(default=3000, ge=1, le=10_000_000)
    clips_per_step: int = Field(default=32, ge=1, le=65_536)
    frames: int = Field(default=24, ge=1, le=65_536)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    seed: int = Field(default=0, ge=0, le=(1 << 31) - 1)


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


@dataclass
class AutoencoderState:
    """All values that change during training."""

    model: MelAutoencoder
    optimizer: AdamW
    step: int = 0


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
    with lock_folder(folder):
        state = _make_state(config, settings)
        if (folder / STATE).exists():
            _load_state(folder / STATE, state, settings)
        is_last = state.step >= settings.steps
        while not is_last:
            train_step(state, settings, training)
            is_last = state.step == settings.steps or should_stop()
            measures = None
            if is_last or state.step % VALIDATE_EVERY == 0:
                measures = measure_autoencoder(state.model, validation or training)
                save_autoencoder(folder, state.model)
                _save_state(folder / STATE, state, settings)
            report(state.step, measures)
    return state.model.eval()


def train_step(
    state: AutoencoderState, settings: AutoencoderSettings, training: Sequence[Tensor]
) -> float:
    """Do one step of the optimizer and one of the quantiser; return the loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    generator = torch.Generator().manual_seed((settings.seed << 24) + state.step)
    frames = draw_batch(training, settings, generator)
    for group in state.optimizer.param_groups:
        group["lr"] = _learning_rate(settings, state.step)
    decoded, latents, quantized = state.model.reconstruct(frames)
    loss = (decoded - frames).square().mean() + quantized.loss
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"the loss of step {state.step + 1} is {loss.item()}; use a lower learning rate"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), GRADIENT_CLIP)
    state.optimizer.step()
    vectors, codes = latents.detach().flatten(0, -2), quantized.codes.flatten()
    state.model.quantizer.observe(vectors, codes, generator)
    state.step += 1
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


def _make_state(config: AutoencoderConfig, settings: AutoencoderSettings) -> AutoencoderState:
    torch.manual_seed(settings.seed)
    model = MelAutoencoder(config)
    optimizer = AdamW(model.parameters(), betas=BETAS, weight_decay=WEIGHT_DECAY)
    return AutoencoderState(model, optimizer)


def _learning_rate(settings: AutoencoderSettings, step: int) -> float:
    """Return the rate of a step: it rises linearly, then falls as half a cosine."""
    warm_up = min(1.0, (step + 1) / min(WARMUP_STEPS, settings.steps))
    fall = (1 + math.cos(math.pi * step / settings.steps)) / 2
    return settings.learning_rate * warm_up * (FINAL_SHARE + (1 - FINAL_SHARE) * fall)


def _save_state(path: Path, state: AutoencoderState, settings: AutoencoderSettings) -> None:
    """Write model, moments of the optimizer and step, completely or not at all."""
    description = {
        "step": str(state.step),
        "config": state.model.config.model_dump_json(),
        "settings": settings.model_dump_json(),
    }
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(save_tensors(dict(_state_tensors(state)), description))
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {error}") from None


def _load_state(path: Path, state: AutoencoderState, settings: AutoencoderSettings) -> None:
    """Continue from a saved state.

    Raises:
        TrainingError: it is damaged, or of another autoencoder or other settings.
    """
    wanted = {"config": state.model.config, "settings": settings}
    for parameter in state.model.parameters():  # which the first step creates otherwise
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        state.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    tensors = _state_tensors(state)
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            for name, config in wanted.items():
                _check_equal(path.parent, json.loads(found[name]), config)
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        state.step = int(found["step"])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it to train the autoencoder again"
        ) from None


def _check_equal(folder: Path, saved: dict[str, object], config: StrictConfig) -> None:
    """Raise TrainingError if a setting differs from that of the saved training."""
    now = json.loads(config.model_dump_json())
    for name, value in now.items():
        if saved.get(name) != value:
            raise TrainingError(
                f"{folder} has the training of an autoencoder with {name} {saved.get(name)}, found "
                f"{value}; use the same options to continue it, or choose another folder"
            )


def _state_tensors(state: AutoencoderState) -> Mapping[str, Tensor]:
    """Return all tensors by their names in the file, not copied."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    return tensors
