"""A whole training of an effect: from recordings to a folder with weights, results, card and plots.

Input: a recipe and recordings. Output: the folder of the effect. A time budget is converted to a
number of steps by measuring some of them. Called by the command line and by the studio.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from audio_utils.plots import save_figure
from wavenet.config import make_config
from wavenet.effects.training.effect_card import write_effect_card
from wavenet.effects.training.effect_errors import compute_outputs, measure_errors
from wavenet.effects.training.effect_pairs import EffectPair, SplitPair, WindowSource, split_pairs
from wavenet.effects.training.effect_recipe import EffectRecipe
from wavenet.effects.training.train_effect import (
    EffectProgress,
    EffectTrainingSettings,
    compute_gradients,
    read_metrics,
    train_effect,
    wet_powers,
    window_workers,
)
from wavenet.effects.training.trained_effect import EffectKnob, TrainedEffect, TrainedEffectConfig
from wavenet.effects.training.training_plots import (
    plot_error_history,
    plot_error_spectrum,
    plot_waveforms,
)
from wavenet.effects.training.training_results import (
    TrainingResults,
    measure_results,
    save_results,
)
from wavenet.errors import TrainingError
from wavenet.network_training import STATE, step_generator

MEASURED_SECONDS = 4.0  # of steps, for a time budget
_MIN_MEASURED = 3  # steps
PLOTS = ("waveforms.png", "error_spectrum.png", "error_history.png")


@dataclass(frozen=True)
class EffectJob:
    """What is trained on what.

    Attributes:
        recipe: settings.
        pairs: aligned recordings, all with the same knobs in the same order.
        knobs: of the device.
        sample_rate: Hz.
        teacher: whether the wet recordings are those of another model.
    """

    recipe: EffectRecipe
    pairs: Sequence[EffectPair]
    knobs: tuple[EffectKnob, ...]
    sample_rate: int
    teacher: bool = False

    @property
    def config(self) -> TrainedEffectConfig:
        """The config of the effect."""
        return make_config(
            TrainedEffectConfig,
            "the effect",
            name=self.recipe.name,
            sample_rate=self.sample_rate,
            architecture=self.recipe.architecture,
            knobs=self.knobs,
            knob_channels=self.recipe.knob_channels,
            knob_hidden=self.recipe.knob_hidden,
        )

    def split(self) -> list[SplitPair]:
        """Return the recordings with their parts.

        Raises:
            DataError: as `split_pairs`.
        """
        field = self.recipe.architecture.shape.own_receptive_field
        return split_pairs(self.pairs, self.recipe.data, field)


def run_effect_job(
    job: EffectJob,
    folder: Path,
    threads: int = 1,
    minutes: float | None = None,
    on_start: Callable[[int], None] = lambda steps: None,
    report: Callable[[int, EffectProgress | None], None] = lambda step, progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> TrainingResults | None:
    """Train, or continue a training; then measure the effect and write its files.

    Args:
        job: recordings and settings.
        folder: of the effect.
        threads: windows that are computed at the same time.
        minutes: time budget, instead of the steps of the recipe; a training that is continued keeps
            its number of steps.
        on_start: called with the number of steps before the first one.
        report, should_stop: as in `train_effect`.
    Returns:
        The results; None if `should_stop` ended the training.
    Raises:
        DataError, TrainingError, FolderInUse, CheckpointError: as `train_effect`.
    """
    start, pairs, config, settings = time.monotonic(), job.split(), job.config, job.recipe.training
    if minutes is not None:
        steps = saved_steps(folder)
        if steps is None:
            steps = count_steps(config, settings, pairs, threads, 60 * minutes)
        settings = make_config(
            EffectTrainingSettings, "--minutes", **dict(settings) | {"steps": steps}
        )
    on_start(settings.steps)
    is_stopped = False

    def stop() -> bool:
        nonlocal is_stopped
        is_stopped = is_stopped or should_stop()
        return is_stopped

    last = 0

    def on_step(step: int, progress: EffectProgress | None) -> None:
        nonlocal last
        last = step
        report(step, progress)

    effect = train_effect(config, settings, pairs, folder, threads, on_step, stop)
    rows = read_metrics(folder)
    if is_stopped and last < settings.steps:
        return None
    best = rows[-1]["best_step"]
    seconds = time.monotonic() - start
    results = measure_results(effect, pairs, best, rows[-1]["step"], seconds, job.teacher)
    save_results(folder, results)
    write_effect_card(folder, effect, results)
    write_plots(folder, effect, pairs)
    return results


def count_steps(
    config: TrainedEffectConfig,
    settings: EffectTrainingSettings,
    pairs: Sequence[SplitPair],
    threads: int,
    seconds: float,
) -> int:
    """Return how many steps, with their validations, fit into a time, by measuring some."""
    effect, powers = TrainedEffect(config), wet_powers(pairs, settings.loss)
    source = WindowSource(pairs, effect.receptive_field, settings.window_samples)
    measure_errors(effect, pairs)  # compiles the engine
    start = time.monotonic()
    measure_errors(effect, pairs)
    validation = time.monotonic() - start
    with window_workers(threads) as pool:
        count, begin = 0, time.monotonic()
        while count <= _MIN_MEASURED or time.monotonic() - begin < MEASURED_SECONDS:
            windows = source.draw(settings.windows_per_step, step_generator(settings, count))
            compute_gradients(effect, windows, powers, settings.loss, pool)
            count += 1
            if count == 1:  # not measured: threads are started, and memory is allocated
                begin = time.monotonic()
        step = (time.monotonic() - begin) / (count - 1)
    return max(1, round(seconds / (step + validation / settings.validate_every)))


def saved_steps(folder: Path) -> int | None:
    """Return the number of steps of the training in a folder; None if there is none.

    Raises:
        TrainingError: its state is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            return int(json.loads((file.metadata() or {})["settings"])["steps"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it to train from the beginning"
        ) from None


def write_plots(folder: Path, effect: TrainedEffect, pairs: Sequence[SplitPair]) -> None:
    """Write the plots of the last pair with a validation part, usually the most distorted one.

    Raises:
        AudioError: a file cannot be written.
    """
    split = next(split for split in reversed(pairs) if split.validation)
    wet = split.wet_of(split.validation)
    outputs = compute_outputs(effect, split, split.validation)
    rate = effect.config.sample_rate
    names = [
        " ".join(f"{name}={value:g}" for name, value in p.pair.setting.items()) or p.pair.name
        for p in pairs
    ]
    figures = (
        plot_waveforms(wet, outputs, rate),
        plot_error_spectrum(wet, outputs, rate),
        plot_error_history(read_metrics(folder), names),
    )
    for name, figure in zip(PLOTS, figures, strict=True):
        save_figure(figure, folder / name)
