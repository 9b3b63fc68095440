"""Train an effect on dry and wet recordings.

Input: pairs, a config and settings. Output: the folder of the effect with the weights of the
smallest error, which is written after every validation that finds a smaller one. The error is the
mean of the ESRs of all pairs on their validation parts, with averaged weights. An interrupted
training continues from `training.safetensors`: every step depends on the seed and its number only,
and not on the number of threads. Called by the command line and by the studio.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.effects.knob_wavenet import KnobWaveNet
from wavenet.effects.training.effect_errors import mean_error, measure_errors
from wavenet.effects.training.effect_losses import (
    LossWeights,
    WetPower,
    measure_power,
    window_loss,
)
from wavenet.effects.training.effect_pairs import (
    EffectWindow,
    SplitPair,
    WindowSource,
    digest_pairs,
)
from wavenet.effects.training.fused_effect_layers import fused_valid_outputs, supports_fused_layers
from wavenet.effects.training.trained_effect import (
    TrainedEffect,
    TrainedEffectConfig,
    save_effect_folder,
)
from wavenet.effects.training.weight_average import WeightAverage
from wavenet.errors import TrainingError
from wavenet.network_training import (
    NetworkState,
    StepSettings,
    apply_gradients,
    step_generator,
    train_network,
)

METRICS = "metrics.jsonl"


class EffectTrainingSettings(StepSettings):
    """The settings of the training of an effect.

    Attributes:
        windows_per_step: parts of recordings in a batch.
        window_samples: outputs of such a part.
        weight_decay: of the optimizer.
        average_decay: of the average of the weights, per step.
        validate_every: steps.
        patience: validations without a smaller error after which the training ends; None: never.
        loss: weights of the losses.
    """

    steps: int = Field(default=6000, ge=1, le=10_000_000)
    learning_rate: float = Field(default=4e-3, gt=0, le=1)
    windows_per_step: int = Field(default=4, ge=1, le=4096)
    window_samples: int = Field(default=8192, ge=64, le=1 << 20)
    weight_decay: float = Field(default=0.0, ge=0, le=10)
    average_decay: float = Field(default=0.995, ge=0, lt=1)
    validate_every: int = Field(default=200, ge=1)
    patience: int | None = Field(default=None, ge=1)
    loss: LossWeights = LossWeights()


class _DataSettings(EffectTrainingSettings):
    """The settings that the state of a training contains.

    Attributes:
        recordings: digest of the data, which must not change.
    """

    recordings: str


@dataclass(frozen=True)
class EffectProgress:
    """The result of a validation.

    Attributes:
        step: number of steps so far.
        loss: mean since the validation before.
        errors: ESR of the validation part of each pair; None without one.
        mean_error: their mean.
        best_error, best_step: the smallest mean so far, and its step.
    """

    step: int
    loss: float
    errors: tuple[float | None, ...]
    mean_error: float
    best_error: float
    best_step: int


def train_effect(
    config: TrainedEffectConfig,
    settings: EffectTrainingSettings,
    pairs: Sequence[SplitPair],
    folder: Path,
    threads: int = 1,
    report: Callable[[int, EffectProgress | None], None] = lambda step, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainedEffect:
    """Train until the last step, no progress, or `should_stop`; continue a training in `folder`.

    Args:
        config: of the effect; the settings of the pairs have its knobs in its order.
        settings: of the training.
        pairs: of `split_pairs`.
        folder: of the effect.
        threads: windows that are computed at the same time.
        report: called after every step with its number and, after a validation, its result.
        should_stop: called after every step.
    Returns:
        The effect with the best weights.
    Raises:
        TrainingError: a loss that is not finite, or the folder has another training.
        FolderInUse: another process trains into the folder.
        CheckpointError: the folder cannot be written.
    """
    saved_settings = _DataSettings(**dict(settings), recordings=digest_pairs(pairs))
    with window_workers(threads) as pool:
        training = _EffectTraining(config, settings, pairs, folder, pool)
        train_network(
            lambda: TrainedEffect(config),
            config,
            saved_settings,
            folder,
            training.do_step,
            training.measure,
            lambda network: training.save(),
            report,
            should_stop,
            keep=training.keep,
            is_finished=training.is_finished,
            validate_every=settings.validate_every,
            weight_decay=settings.weight_decay,
        )
        return training.average.best_network()


@contextmanager
def window_workers(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose threads compute one window each, without further threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # also of the loop: its tensors are small
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


class _EffectTraining:
    """The parts of one training that `train_network` calls, and what they share."""

    average: WeightAverage[TrainedEffect]

    def __init__(
        self,
        config: TrainedEffectConfig,
        settings: EffectTrainingSettings,
        pairs: Sequence[SplitPair],
        folder: Path,
        pool: ThreadPoolExecutor,
    ):
        self._settings, self._pairs, self._folder, self._pool = settings, pairs, folder, pool
        self._powers = wet_powers(pairs, settings.loss)
        field = config.architecture.shape.own_receptive_field
        self._source = WindowSource(pairs, field, settings.window_samples)
        self._step = 0
        self._losses: list[float] = []
        self._history: list[EffectProgress] = []

    def keep(self, network: TrainedEffect) -> dict[str, Tensor]:
        """Start the average of a new network; return the tensors of the state."""
        self.average = WeightAverage(network, self._settings.average_decay)
        return dict(self.average.kept_tensors())

    def do_step(self, state: NetworkState[TrainedEffect]) -> None:
        """Draw windows, compute the gradient, change the weights and their average."""
        generator = step_generator(self._settings, state.step)
        windows = self._source.draw(self._settings.windows_per_step, generator)
        loss = compute_gradients(
            state.model, windows, self._powers, self._settings.loss, self._pool
        )
        apply_gradients(state, self._settings, loss)
        self.average.update(state.model, state.step - 1)
        self._losses.append(loss)
        self._step = state.step

    def measure(self, _: TrainedEffect) -> EffectProgress:
        """Measure the average; a validation at a regular step may be the best."""
        errors = measure_errors(self.average.network, self._pairs)
        mean = mean_error(errors)
        is_regular = self._step % self._settings.validate_every == 0
        if is_regular or self._step == self._settings.steps:
            self.average.record(mean, self._step)
        loss = sum(self._losses) / len(self._losses)
        self._losses.clear()
        progress = EffectProgress(
            self._step, loss, errors, mean, self.average.best_error, self.average.best_step
        )
        self._history.append(progress)
        return progress

    def save(self) -> None:
        """Write the best weights and the metrics."""
        save_effect_folder(self._folder, self.average.best_network())
        first = self._history[0].step
        earlier = [row for row in read_metrics(self._folder) if row["step"] < first]
        rows = [*earlier, *(_metrics_row(progress) for progress in self._history)]
        write_metrics(self._folder, rows)

    def is_finished(self) -> bool:
        """Return whether there was no smaller error for too many validations."""
        patience = self._settings.patience
        if patience is None:
            return False
        return self.average.has_stalled(patience * self._settings.validate_every)


def wet_powers(pairs: Sequence[SplitPair], loss: LossWeights) -> list[WetPower | None]:
    """Return the power of the training part of each pair; None if it has none."""
    return [
        measure_power(split.wet_of(split.training), loss.pre_emphasis) if split.training else None
        for split in pairs
    ]


def compute_gradients(
    effect: TrainedEffect,
    windows: Sequence[EffectWindow],
    powers: Sequence[WetPower | None],
    weights: LossWeights,
    pool: ThreadPoolExecutor,
) -> float:
    """Set the gradients of the mean loss of windows, each computed by one thread; return the loss.

    The sums have a fixed order, so the result does not depend on the number of threads.
    """
    parameters = list(effect.parameters())

    def compute(window: EffectWindow) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        power = powers[window.pair]
        assert power is not None
        outputs = window_outputs(effect, window)
        loss = window_loss(outputs, window.wet, power, weights) / len(windows)
        return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    for parameter in parameters:
        # zeros also for the last residual, which nothing reads: the optimizer has a state for all
        parameter.grad = torch.zeros_like(parameter)
    total = 0.0
    for loss, gradients in pool.map(compute, windows):
        total += float(loss)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None and parameter.grad is not None:
                parameter.grad.add_(gradient)
    return total


def window_outputs(effect: TrainedEffect, window: EffectWindow) -> Tensor:
    """Return the outputs (N,) for a window, with gradients."""
    if not supports_fused_layers(effect.wavenet):
        return effect.valid_outputs(window.dry[None, None], window.values[None])[0, 0]
    constants = None
    if isinstance(effect.network, KnobWaveNet):
        constants = effect.network.features(window.values[None])[0]
    return fused_valid_outputs(effect.wavenet, window.dry, constants)


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the metrics of a training; none if there is no file."""
    path = folder / METRICS
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path} is damaged: {error}; delete it") from None


def write_metrics(folder: Path, rows: Sequence[dict[str, object]]) -> None:
    """Write the rows of the metrics, completely or not at all."""
    try:
        with atomic_file(folder / METRICS) as path:
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise TrainingError(
            f"{folder / METRICS} cannot be written: {os_error_reason(error)}"
        ) from None


def _metrics_row(progress: EffectProgress) -> dict[str, object]:
    return {
        "step": progress.step,
        "loss": progress.loss,
        "mean_esr": progress.mean_error,
        "best_step": progress.best_step,
        "esr": list(progress.errors),
    }
