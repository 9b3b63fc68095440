"""Train a model from Python, as `wavenet train` does.

Input: a recipe, a folder of recordings and options. Output: a run with its checkpoint, loaded as a
`Model`. Called through `wavenet.train`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from audio_utils.levels import Channel
from wavenet.devices import choose_device
from wavenet.errors import ConfigError, TrainingError
from wavenet.evaluation.rounding import store_rounding_costs
from wavenet.interface.argument_checks import check_count, check_flags, check_path
from wavenet.interface.loaded_model import Model, load
from wavenet.interrupts import stop_on_interrupt
from wavenet.terminal import print_message
from wavenet.training import loop
from wavenet.training.dataset import read_dataset
from wavenet.training.progress_report import show_progress
from wavenet.training.training_setup import (
    RecipeOptions,
    check_start,
    choose_threads,
    make_task,
    set_up_training,
)


def train(
    recipe: str | os.PathLike[str] = "small",
    data: str | os.PathLike[str] | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    labels: Sequence[str] = (),
    pattern: str | None = None,
    metadata: str | None = None,
    channel: Channel | None = None,
    normalize: bool | None = None,
    steps: int | None = None,
    sample_rate: int | None = None,
    accumulation_steps: int | None = None,
    initial_checkpoint: str | os.PathLike[str] | None = None,
    resume: bool = False,
    accept_changes: bool = False,
    threads: int | None = None,
    device: str = "auto",
    quiet: bool = False,
    on_record: Callable[[dict[str, Any]], None] | None = None,
) -> Model:
    """Train a model and load the checkpoint with the best validation.

    An interrupt (Ctrl-C, or the stop button of a notebook) ends the training after the current
    step; the model so far is returned, and `resume=True` continues.

    Args:
        recipe: a `.toml` file, or the name of a built-in recipe.
        data: a folder of audio, or a prepared corpus; None: that of the recipe.
        out: folder of the run; None: runs/NAME.
        labels: fields of the recordings to add to the conditions.
        pattern: of the names of files, such as `"{digit}_{speaker}_*"`; metadata: a table.
        channel, normalize: how recordings are read; None: as in the recipe.
        steps, sample_rate, accumulation_steps: replace those of the recipe.
        initial_checkpoint: start from the weights of this checkpoint.
        resume: continue from the newest snapshot in `out`.
        accept_changes: with `resume`, accept other recordings and settings.
        threads: CPU threads; None: the fastest number, measured.
        device: "auto", "cpu", "cuda" or "cuda:N".
        quiet: write no progress and no messages to stderr.
        on_record: called with the record of every step, such as its `loss_bits`.
    Raises:
        ConfigError: the recipe or an option is invalid.
        DataError: the recordings do not fit the recipe.
        TrainingError: the run exists, cannot be resumed, has a loss that is not finite, or was
            interrupted before the first validation.
    """
    check_flags(resume=resume, accept_changes=accept_changes, quiet=quiet)
    check_count("threads", threads, 1)
    recipe = check_path("recipe", recipe)
    data, out, initial = (
        None if path is None else check_path(name, path)
        for name, path in (
            ("data", data),
            ("out", out),
            ("initial_checkpoint", initial_checkpoint),
        )
    )
    if isinstance(labels, str):
        raise ConfigError(f"labels must be a list of names, found the text {labels!r}")
    if on_record is not None and not callable(on_record):
        raise ConfigError(f"on_record must be a function, found {on_record!r:.100}")
    if accept_changes and not resume:
        raise ConfigError("accept_changes continues a run; add resume=True")
    options = RecipeOptions(
        data=data,
        pattern=pattern,
        metadata=metadata,
        labels=labels,
        channel=channel,
        normalize=normalize,
        steps=steps,
        sample_rate=sample_rate,
        accumulation_steps=accumulation_steps,
    )
    setup = set_up_training(recipe, options, initial, resume)
    folder = Path(out) if out is not None else Path("runs") / setup.recipe.name
    report = _say_nothing if quiet else print_message
    chosen = choose_device(device)
    choice = choose_threads(threads) if chosen.type == "cpu" else None
    check_start(setup, folder, resume, accept_changes)
    if setup.note:
        report(setup.note)
    dataset = read_dataset(setup.recipe.data, setup.recipe.audio.sample_rate, setup.recipe.model)
    task = make_task(setup, dataset, report)
    steps = task.settings.steps
    with stop_on_interrupt(report) as should_stop, show_progress(steps, folder, quiet) as show:

        def record_step(record: dict[str, Any]) -> None:
            show(record)
            if on_record is not None:
                on_record(record)

        state = loop.train(
            task,
            folder,
            resume,
            record_step,
            should_stop,
            chosen,
            accept_changes=accept_changes,
            report=report,
            thread_choice=choice,
        )
    checkpoint = folder / loop.CHECKPOINT
    if state.step < steps:
        report(f"stopped after step {state.step}; continue with resume=True")
        if not checkpoint.is_dir():
            raise TrainingError(
                f"interrupted at step {state.step}, before the first validation; continue with "
                "resume=True"
            )
    else:
        cost = store_rounding_costs(checkpoint, dataset.validation)
        if cost:
            report(cost)
    return load(checkpoint, device=device)


def _say_nothing(text: object) -> None:
    """Do nothing."""
