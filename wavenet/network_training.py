"""Steps of AdamW for a small network, with a state that an interrupted training continues from.

The learning rate rises linearly and falls as half a cosine. The state has the weights, the moments
of the optimizer and the step; with it are saved the config of the network and the settings of the
training, and a training with others is refused. Every step depends on the seed and its number only,
so an interrupted training continues as if it had not been interrupted. A training may keep further
tensors in the state, such as averages of the weights. Called by the trainings of autoencoders,
acoustic models and effects; models of samples have the richer `training` package.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.optim import AdamW

from audio_utils.atomic_files import atomic_file
from wavenet.config import StrictConfig
from wavenet.errors import TrainingError
from wavenet.folder_lock import lock_folder

STATE = "training.safetensors"
VALIDATE_EVERY = 500  # steps
WARMUP_STEPS = 100
FINAL_SHARE = 0.01  # of the learning rate, at the last step
GRADIENT_CLIP = 1.0
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.01


class StepSettings(StrictConfig):
    """The settings of the steps and of the optimizer.

    Attributes:
        steps: number of updates of the weights.
        learning_rate: the highest, after the warm-up.
        seed: of the first weights and of the batches.
    """

    steps: int = Field(default=3000, ge=1, le=10_000_000)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    seed: int = Field(default=0, ge=0, le=(1 << 31) - 1)


Network = TypeVar("Network", bound=nn.Module)
Measures = TypeVar("Measures")


@dataclass
class NetworkState(Generic[Network]):
    """All values that change during training.

    Attributes:
        kept: further tensors by name, which the training changes in place.
    """

    model: Network
    optimizer: AdamW
    step: int = 0
    kept: Mapping[str, Tensor] = field(default_factory=dict)


def train_network(
    build: Callable[[], Network],
    config: StrictConfig,
    settings: StepSettings,
    folder: Path,
    do_step: Callable[[NetworkState[Network]], object],
    measure: Callable[[Network], Measures],
    save: Callable[[Network], None],
    report: Callable[[int, Measures | None], None],
    should_stop: Callable[[], bool],
    keep: Callable[[Network], Mapping[str, Tensor]] = lambda network: {},
    is_finished: Callable[[], bool] = lambda: False,
    validate_every: int | None = None,
    weight_decay: float = WEIGHT_DECAY,
) -> Network:
    """Train to the last step, or until `should_stop` returns true; continue a training in `folder`.

    Args:
        build: returns the network with random weights.
        config: of the network; settings: of the training.
        folder: of the state of the training.
        do_step: changes the state by one step; it depends on the seed and the step only.
        measure: returns the measures of a validation.
        save: called after every validation, before the state is saved.
        report: called after every step with its number and, after a validation, the measures.
        should_stop: called after every step.
        keep: returns tensors for the state of a new network; see `NetworkState.kept`.
        is_finished: called before the first step and after every validation; true ends the
            training before the last step.
        validate_every: steps; None for `VALIDATE_EVERY`.
        weight_decay: of the optimizer.
    Returns:
        The network, for evaluation.
    Raises:
        TrainingError: a loss that is not finite, or the folder has another training.
        FolderInUse: another process trains into the folder.
    """
    with lock_folder(folder):
        torch.manual_seed(settings.seed)
        network = build()
        state = make_state(network, keep(network), weight_decay)
        if (folder / STATE).exists():
            load_state(folder / STATE, state, config, settings)
        is_last = state.step >= settings.steps or is_finished()
        while not is_last:
            do_step(state)
            is_last = state.step == settings.steps or should_stop()
            measures = None
            if is_last or state.step % (validate_every or VALIDATE_EVERY) == 0:
                measures = measure(state.model)
                is_last = is_last or is_finished()
                save(state.model)
                save_state(folder / STATE, state, config, settings)
            report(state.step, measures)
    return state.model.eval()


def make_state(
    model: Network,
    kept: Mapping[str, Tensor] | None = None,
    weight_decay: float = WEIGHT_DECAY,
) -> NetworkState[Network]:
    """Return the state of a network before the first step."""
    optimizer = AdamW(model.parameters(), betas=BETAS, weight_decay=weight_decay)
    return NetworkState(model, optimizer, kept=kept or {})


def step_generator(settings: StepSettings, step: int) -> torch.Generator:
    """Return the generator of a step; it depends on the seed and the step only."""
    return torch.Generator().manual_seed((settings.seed << 24) + step)


def learning_rate(settings: StepSettings, step: int) -> float:
    """Return the rate of a step: it rises linearly, then falls as half a cosine."""
    warm_up = min(1.0, (step + 1) / min(WARMUP_STEPS, settings.steps))
    fall = (1 + math.cos(math.pi * step / settings.steps)) / 2
    return settings.learning_rate * warm_up * (FINAL_SHARE + (1 - FINAL_SHARE) * fall)


def apply_step(state: NetworkState[Network], settings: StepSettings, loss: Tensor) -> None:
    """Change the weights by the gradient of a loss.

    Raises:
        TrainingError: the loss is not finite.
    """
    value = loss.item()
    check_loss(state, value)
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    apply_gradients(state, settings, value)


def check_loss(state: NetworkState[Network], loss: float) -> None:
    """Check the loss of the next step.

    Raises:
        TrainingError: it is not finite.
    """
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss of step {state.step + 1} is {loss}; use a lower learning rate"
        )


def apply_gradients(state: NetworkState[Network], settings: StepSettings, loss: float) -> None:
    """Change the weights by their gradients, which were computed by the caller.

    Raises:
        TrainingError: the loss is not finite.
    """
    check_loss(state, loss)
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(settings, state.step)
    torch.nn.utils.clip_grad_norm_(state.model.parameters(), GRADIENT_CLIP)
    state.optimizer.step()
    state.step += 1


def save_state(
    path: Path, state: NetworkState[Network], config: StrictConfig, settings: StrictConfig
) -> None:
    """Write weights, moments of the optimizer and step, completely or not at all.

    Raises:
        TrainingError: the file cannot be written.
    """
    description = {
        "step": str(state.step),
        "config": config.model_dump_json(),
        "settings": settings.model_dump_json(),
    }
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(save_tensors(dict(_state_tensors(state)), description))
    except OSError as error:
        raise TrainingError(f"{path} cannot be written: {error}") from None


def load_state(
    path: Path, state: NetworkState[Network], config: StrictConfig, settings: StrictConfig
) -> None:
    """Continue from a saved state.

    Raises:
        TrainingError: it is damaged, or of another network or other settings.
    """
    wanted = {"config": config, "settings": settings}
    for parameter in state.model.parameters():  # which the first step creates otherwise
        moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
        state.optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
    tensors = _state_tensors(state)
    try:
        with safe_open(path, framework="pt") as file:
            found = file.metadata() or {}
            for name, expected in wanted.items():
                _check_equal(path.parent, json.loads(found[name]), expected)
            saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        state.step = int(found["step"])
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it to train from the beginning"
        ) from None


def _check_equal(folder: Path, saved: dict[str, object], config: StrictConfig) -> None:
    """Raise TrainingError if a setting differs from that of the saved training."""
    now = json.loads(config.model_dump_json())
    for name, value in now.items():
        if saved.get(name) != value:
            if isinstance(value, dict | list) or name == "recordings":
                raise TrainingError(
                    f"{folder} has a training with other values of {name}; use the same options "
                    "and recordings to continue it, or choose another folder"
                )
            raise TrainingError(
                f"{folder} has a training with {name} {saved.get(name)}, found {value}; use the "
                "same options to continue it, or choose another folder"
            )


def _state_tensors(state: NetworkState[Network]) -> Mapping[str, Tensor]:
    """Return all tensors by their names in the file, not copied."""
    tensors = {f"model.{name}": tensor for name, tensor in state.model.state_dict().items()}
    for name, parameter in state.model.named_parameters():
        for key, value in state.optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    tensors |= {f"kept.{name}": tensor for name, tensor in state.kept.items()}
    return tensors
