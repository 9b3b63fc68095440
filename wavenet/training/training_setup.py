"""Everything before the first step of a training: recipe, options, checks, recordings, task.

Input: the name of a recipe and the options of a user. Output: a `TrainingSetup`, then a task for
`loop.train`. Called by the command line and by `wavenet.train`.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audio_utils.levels import Channel
from wavenet import checkpoint
from wavenet.checkpoint import Checkpoint, check_label_names
from wavenet.config import make_config
from wavenet.devices import available_cores
from wavenet.errors import ConfigError
from wavenet.folder_lock import lock_folder
from wavenet.recordings.left_out_files import describe_left_out_files, shorten_list
from wavenet.training import snapshots
from wavenet.training.dataset import Dataset
from wavenet.training.label_checks import describe_doubt
from wavenet.training.recipe import (
    DataConfig,
    RecipeConfig,
    TrainConfig,
    is_built_in,
    load_recipe,
)
from wavenet.training.recipe_options import (
    add_labels,
    change_sample_rate,
    check_conditions,
    check_same_codes,
    describe_rate_change,
    describe_replaced,
    use_model_of,
)
from wavenet.training.resolve_config import check_fields, resolve_config
from wavenet.training.run_identity import RunIdentity
from wavenet.training.task import CodeLikelihoodTask, describe_checkpoint
from wavenet.training.thread_choice import ThreadChoice, thread_candidates


@dataclass(frozen=True)
class RecipeOptions:
    """Options that change a recipe; None, or empty, keeps its setting.

    Attributes:
        data: folder of recordings, or a prepared corpus.
        pattern: of names; metadata: a table. One of them replaces the other of the recipe.
        labels: fields to add to the conditions.
        channel, normalize: how recordings are read.
        sample_rate: Hz; settings in samples keep their length in time.
        accumulation_steps: micro-batches per step.
    """

    data: str | None = None
    pattern: str | None = None
    metadata: str | None = None
    labels: Sequence[str] = ()
    channel: Channel | None = None
    normalize: bool | None = None
    steps: int | None = None
    sample_rate: int | None = None
    accumulation_steps: int | None = None


@dataclass(frozen=True)
class TrainingSetup:
    """A training that is completely described, before its recordings are read.

    Attributes:
        recipe: with the values of the options and, with an initial checkpoint, its model.
        initial: the checkpoint whose weights are the first; None: random weights.
        note: one sentence on what the options or the checkpoint changed; None: nothing.
    """

    recipe: RecipeConfig
    initial: Checkpoint | None = None
    note: str | None = None


def set_up_training(
    recipe: str,
    options: RecipeOptions,
    initial_checkpoint: str | Path | None = None,
    is_resumed: bool = False,
) -> TrainingSetup:
    """Read a recipe, apply the options, and load the initial checkpoint.

    Args:
        recipe: a file, or the name of a built-in recipe.
        initial_checkpoint: folder or name of the checkpoint that provides weights and model.
        is_resumed: whether the run has started already, with the model of this checkpoint.
    Raises:
        ConfigError: no such recipe; a value out of its range; with an initial checkpoint, an option
            changes the model, or the recipe states another rate or codec, or a condition that the
            checkpoint lacks.
        CheckpointError: the checkpoint cannot be used.
    """
    return set_up_recipe(load_recipe(recipe), options, initial_checkpoint, is_resumed)


def set_up_recipe(
    original: RecipeConfig,
    options: RecipeOptions,
    initial_checkpoint: str | Path | None = None,
    is_resumed: bool = False,
) -> TrainingSetup:
    """Apply the options to a recipe, and load the initial checkpoint; see `set_up_training`."""
    chosen = apply_options(original, options)
    if initial_checkpoint is None:
        if chosen.audio == original.audio:
            return TrainingSetup(chosen)
        return TrainingSetup(chosen, note=describe_rate_change(original, chosen))
    if options.labels or options.sample_rate is not None:
        raise ConfigError(
            "--from uses the model of a checkpoint as it is; omit --label and --sample-rate"
        )
    initial = checkpoint.load(initial_checkpoint)
    chosen = use_model_of(chosen, initial.config)
    # A built-in recipe, whose rate the user did not choose, may have another rate or codec.
    if not is_resumed and not is_built_in(original):
        check_same_codes(original, initial.config)
    replaced = describe_replaced(original, initial.config, chosen)
    return TrainingSetup(chosen, initial, replaced and f"note: {replaced}")


def apply_options(recipe: RecipeConfig, options: RecipeOptions) -> RecipeConfig:
    """Return the recipe with the values of the options; its conditions stay.

    Raises:
        ConfigError: a value out of its range.
    """
    data: dict[str, Any] = _given(
        folder=options.data,
        pattern=options.pattern,
        metadata=options.metadata,
        channel=options.channel,
        normalize=options.normalize,
    )
    if data.keys() & {"pattern", "metadata"}:
        # one source of fields replaces the other of the recipe
        data = {"pattern": None, "metadata": None, **data}
    parts: dict[str, Any] = dict(recipe)
    parts["data"] = make_config(DataConfig, "data", **{**dict(recipe.data), **data})
    numbers = _given(steps=options.steps, accumulation_steps=options.accumulation_steps)
    for name, number in numbers.items():
        settings = {**dict(parts["train"]), name: number}
        parts["train"] = make_config(TrainConfig, f"--{name.replace('_', '-')}", **settings)
    changed = make_config(type(recipe), recipe.name, **parts)
    if options.labels:
        changed = add_labels(changed, options.labels)
    if options.sample_rate is None:
        return changed
    return change_sample_rate(changed, options.sample_rate)


def check_start(setup: TrainingSetup, folder: Path, resume: bool, accept_changes: bool) -> None:
    """Check everything about a run that starts or resumes, except its recordings.

    Changes of a resumed run that can be accepted are not refused yet: the recordings may have
    changed, too, and a user must know all changes to accept them.

    Raises:
        ConfigError, ConditionError: a setting of the model is impossible.
        DataError: the recordings lack fields, or their folder cannot be used.
        TrainingError: as `snapshots.open_run`; FolderError: as `lock_folder`.
    """
    recipe, initial = setup.recipe, setup.initial
    check_label_names(recipe.model)
    # locked only briefly, to check that the folder can be written
    with lock_folder(folder):
        path = snapshots.find_snapshot(folder, resume)
    if path is not None:
        info = snapshots.read_info(path)
        known = RunIdentity(
            audio=recipe.audio,
            codec=recipe.codec,
            data=recipe.data,
            recordings=info.identity.recordings if info.identity else {},
            corpus=info.identity.corpus if info.identity else None,
            initial_checkpoint=None if initial is None else describe_checkpoint(initial),
        )
        if accept_changes:
            snapshots.compare(path, info, recipe.train, known, accept_changes)
        else:  # `snapshots.open_run` names other settings together with other recordings
            snapshots.find_changes(path, info, recipe.train, known)
    check_conditions(recipe.model, recipe.audio.sample_rate)
    check_fields(recipe)


def choose_threads(threads: int | None) -> ThreadChoice:
    """Return the choice of CPU threads for all steps.

    Args:
        threads: this number only, which torch uses from now on; None: the fastest, up to the number
            of cores and of OMP_NUM_THREADS.
    """
    if threads is not None:
        torch.set_num_threads(threads)
        return ThreadChoice((threads,))
    return ThreadChoice(thread_candidates(min(torch.get_num_threads(), available_cores())))


def make_task(
    setup: TrainingSetup, dataset: Dataset, report: Callable[[str], None]
) -> CodeLikelihoodTask:
    """Return the task of a training; report what is used, left out, and unexpected.

    Args:
        dataset: from `read_dataset`.
        report: receives each line.
    Raises:
        DataError: the recordings do not fit the recipe.
    """
    recipe, has_initial = setup.recipe, setup.initial is not None
    seconds = sum(c.samples - c.context for c in dataset.train) / recipe.audio.sample_rate
    for line in describe_dataset(dataset, seconds):
        report(line)
    for sentence in describe_short_training(recipe, seconds, has_initial):
        report(f"note: {sentence}")
    config = resolve_config(recipe, dataset, has_initial_weights=has_initial)
    return CodeLikelihoodTask(config, recipe.train, dataset, setup.initial)


def describe_dataset(dataset: Dataset, seconds: float) -> Iterator[str]:
    """Yield lines on what is used, what is left out, and what a user may not expect.

    Args:
        dataset: of the training.
        seconds: of its clips for training, together.
    """
    for sentence in shorten_list(dataset.skipped):
        yield f"skipped: {sentence}"
    yield from describe_left_out_files(dataset.left_out, dataset.recording_count)
    for doubt in dataset.doubts:
        yield f"doubtful label: {describe_doubt(doubt)}"
    yield from dataset.levels.sentences()
    for sentence in dataset.notices:
        yield f"note: {sentence}"
    speeds = f", at {dataset.n_speeds} speeds" if dataset.n_speeds > 1 else ""
    test = f", {len(dataset.test)} kept for a test" if dataset.test else ""
    # the files that a corpus lacks were counted when it was prepared
    skipped = "" if dataset.corpus else f", {len(dataset.skipped)} files skipped"
    yield (
        f"{len(dataset.train)} clips to train on ({seconds / 60:.1f} minutes{speeds}), "
        f"{len(dataset.validation)} to validate{test}{skipped}"
    )


def describe_short_training(
    recipe: RecipeConfig, seconds: float, has_initial_weights: bool
) -> list[str]:
    """Return a sentence for each reason why the steps are too few.

    Args:
        recipe: with its number of steps.
        seconds: of the clips for training, together.
        has_initial_weights: whether the weights are those of a checkpoint, which knows the labels.
    """
    steps, warm_up = recipe.train.steps, recipe.train.warmup_steps
    notes = []
    if steps < warm_up:
        notes.append(f"all {steps:,} steps are in the warm-up of {warm_up:,} steps")
    share = steps * recipe.train.samples_per_step / recipe.audio.sample_rate / seconds
    if recipe.model.labels and share < 1 and not has_initial_weights:
        notes.append(
            f"{steps:,} steps read {share:.0%} of the clips; labels of the others are not learned"
        )
    return notes


def _given(**values: Any) -> dict[str, Any]:
    """Return the values that are not None."""
    return {name: value for name, value in values.items() if value is not None}
