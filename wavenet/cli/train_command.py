"""`wavenet train`: a recipe and a folder of audio -> a checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    CHANNEL_HELP,
    NORMALIZE_HELP,
    ChannelChoice,
    DeviceOption,
    print_left_out,
    print_message,
)
from wavenet.errors import ConfigError
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from wavenet.checkpoint import Checkpoint
    from wavenet.training.dataset import Dataset
    from wavenet.training.distributed import Ranks
    from wavenet.training.recipe import RecipeConfig
    from wavenet.training.thread_choice import ThreadChoice


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or the name of a built-in recipe.")
    ] = "small",
    data: Annotated[
        Path | None, typer.Option(help="Folder of audio, or a prepared corpus.")
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help="Pattern of names: {digit}_{speaker}_* or {label}/{take}; * is ignored."),
    ] = None,
    metadata: Annotated[
        str | None,
        typer.Option(
            help="Table with the labels; default: metadata.jsonl, .csv, .tsv or .txt in the folder."
        ),
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="Label field to add to the conditions. Repeatable.")
    ] = None,
    channel: Annotated[
        ChannelChoice | None, typer.Option(help=f"{CHANNEL_HELP} Overrides the recipe.")
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option("--normalize/--no-normalize", help=f"{NORMALIZE_HELP} Overrides the recipe."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder of the run; runs/NAME by default.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue from the newest snapshot.")
    ] = False,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            help="With --resume: continue with other recordings or settings, such as more steps.",
        ),
    ] = False,
    initial_checkpoint: Annotated[
        Path | None,
        typer.Option("--from", help="Start with the weights and the model of this checkpoint."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Steps; overrides the recipe.")] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz; the recipe keeps its lengths in time.")
    ] = None,
    accumulation_steps: Annotated[
        int | None, typer.Option(help="Micro-batches per step: less memory on a GPU.")
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads per process; default: the fastest number, measured."),
    ] = None,
    device: DeviceOption = "auto",
    sample_seconds: Annotated[
        float | None,
        typer.Option(help="After every validation, write a clip of this length to OUT/samples."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show no progress while the recordings are read.")
    ] = False,
) -> None:
    """Train a model; Ctrl-C stops after the current step and keeps the result.

    With --resume, recordings and settings must be those of the interrupted run. To train a finished
    run longer, use --resume --accept-changes --steps N: the learning rate then follows the schedule
    of N steps. If the recordings have changed, --accept-changes starts the search for the best
    validation again. The card of the checkpoint lists the changes.

    With --from, training starts from the weights of a checkpoint, for example to learn another
    voice. Rate, codec and model of the checkpoint replace those of the recipe, and a line names the
    replaced settings; data and optimisation come from the recipe. The model must have the recipe's
    conditions. A recipe of your own must not state another rate or codec. Combine --from with
    --resume to continue such a run.
    With --sample-seconds, clips are generated from the best weights so far, always with the same
    seed and the first value of every label; a vocoder resynthesises a held-out clip, or a training
    clip if none is held out.

    To train on several GPUs or machines, start the same command with torchrun: "torchrun
    --nproc-per-node 2 -m wavenet train ...". A step has as many clips as with one process, divided
    among the processes. Use a private network: any process that reaches torchrun's port takes part.
    """
    from wavenet.training.thread_choice import use_passive_waits

    use_passive_waits()  # before torch is loaded
    from wavenet.training.distributed import init_ranks

    with init_ranks() as ranks:
        from wavenet.training.recipe import load_recipe
        from wavenet.training.recipe_options import describe_rate_change

        if accept_changes and not resume:
            raise ConfigError("--accept-changes continues a run; add --resume")
        original = load_recipe(recipe)
        chosen = apply_options(
            original, data, pattern, label, steps, sample_rate, accumulation_steps, metadata
        )
        chosen = apply_channel(chosen, channel, normalize)
        folder = out or Path("runs") / chosen.name
        initial = None
        if initial_checkpoint is not None:
            model_is_changed = bool(label) or sample_rate is not None
            initial, chosen, replaced = load_initial_checkpoint(
                initial_checkpoint, original, chosen, model_is_changed, resume
            )
            if replaced and ranks.is_main:
                print_message(f"note: {replaced}")
        elif chosen.audio != original.audio and ranks.is_main:
            print_message(describe_rate_change(original, chosen))
        options = (threads, device, sample_seconds, ranks, quiet)
        run(chosen, folder, resume, accept_changes, initial, *options)


def run(
    recipe: "RecipeConfig",
    folder: Path,
    resume: bool,
    accept_changes: bool,
    initial: "Checkpoint | None",
    threads: int | None,
    device_name: str,
    sample_seconds: float | None,
    ranks: "Ranks",
    quiet: bool,
) -> None:
    """Read the recordings and train; if there are several processes, only the first prints."""
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.cli.training_samples import with_preview_clips
    from wavenet.generation.request import samples_from_seconds
    from wavenet.training.dataset import read_dataset
    from wavenet.training.loop import is_restarted, train
    from wavenet.training.progress_report import show_progress
    from wavenet.training.resolve_config import resolve_config
    from wavenet.training.run_process import is_end_requested
    from wavenet.training.task import CodeLikelihoodTask

    report = print_message if ranks.is_main else _print_nothing
    # The options are checked before the recordings are read, which may need minutes.
    choice = make_thread_choice(threads or ranks.choose_threads())
    device, rate = ranks.choose_device(device_name), recipe.audio.sample_rate
    samples = None if sample_seconds is None else samples_from_seconds(sample_seconds, rate)
    if ranks.is_main:
        check_start(recipe, folder, resume or is_restarted(folder, ranks), accept_changes, initial)
    ranks.barrier()
    report("reading the recordings")
    shows_progress = ranks.is_main and not quiet
    with status_spinner("reading the recordings", not shows_progress):
        dataset = read_dataset(recipe.data, rate, recipe.model)
    seconds = sum(c.samples - c.context for c in dataset.train) / rate
    print_dataset(dataset, seconds, report)
    settings = recipe.train
    for sentence in describe_short_training(recipe, seconds, initial is not None):
        report(f"note: {sentence}")
    config = resolve_config(recipe, dataset, has_initial_weights=initial is not None)
    task = CodeLikelihoodTask(config, settings, dataset, initial)
    shown = show_progress(settings.steps, folder) if ranks.is_main else nullcontext(_print_nothing)
    with stop_on_interrupt(report, ranks.world_size > 1) as should_stop, shown as on_record:
        if is_end_requested(folder):
            raise KeyboardInterrupt
        if samples is not None and ranks.is_main:
            limit = None if ranks.world_size == 1 else ranks.max_wait_seconds
            on_record = with_preview_clips(
                on_record, folder, settings, dataset, samples, device_name, should_stop, limit
            )
        how = (accept_changes, report, choice if device.type == "cpu" else None)
        state = train(task, folder, resume, on_record, should_stop, device, ranks, *how)
    if state.step < settings.steps:
        report(f"stopped after step {state.step}; continue with the same command and --resume")
        raise typer.Exit(130)
    if ranks.is_main:
        store_rounding_costs(folder / "checkpoint", dataset, quiet)
        print_line(folder / "checkpoint")


def store_rounding_costs(folder: Path, dataset: "Dataset", quiet: bool) -> None:
    """Measure what rounded weights cost on the validation set, and store it in the checkpoint.

    Args:
        folder: of the checkpoint.
        dataset: of the training.
        quiet: show no progress.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.evaluation.rounding import describe_costs, measure_rounding_costs, store_costs

    if not (folder / checkpoints.WEIGHTS).exists():
        return  # no validation had a finite result
    loaded = checkpoints.load(folder)
    with status_spinner("measuring the cost of rounded weights", quiet):
        costs = measure_rounding_costs(loaded, dataset.validation)
    if costs is not None:
        store_costs(loaded, costs)
        print_message(describe_costs(costs))


def make_thread_choice(threads: int | None) -> "ThreadChoice":
    """Return the choice of threads for all steps.

    Args:
        threads: this number only, which torch uses from now on; None: the fastest, up to the number
            of cores and of OMP_NUM_THREADS.
    """
    import torch

    from wavenet.devices import available_cores
    from wavenet.training.thread_choice import ThreadChoice, thread_candidates

    if threads is not None:
        torch.set_num_threads(threads)
        return ThreadChoice((threads,))
    return ThreadChoice(thread_candidates(min(torch.get_num_threads(), available_cores())))


def print_dataset(dataset: "Dataset", seconds: float, report: Callable[[str], None]) -> None:
    """Print what is used, what is left out, and what a user may not expect.

    Args:
        dataset: of the training.
        seconds: of its clips for training, together.
        report: receives each line.
    """
    from wavenet.recordings.left_out_files import shorten_list
    from wavenet.training.label_checks import describe_doubt

    for sentence in shorten_list(dataset.skipped):
        report(f"skipped: {sentence}")
    print_left_out(dataset.left_out, dataset.recording_count, report)
    for doubt in dataset.doubts:
        report(f"doubtful label: {describe_doubt(doubt)}")
    for sentence in dataset.levels.sentences():
        report(sentence)
    for sentence in dataset.notices:
        report(f"note: {sentence}")
    speeds = f", at {dataset.n_speeds} speeds" if dataset.n_speeds > 1 else ""
    test = f", {len(dataset.test)} kept for a test" if dataset.test else ""
    # the files that a corpus lacks were counted when it was prepared
    skipped = "" if dataset.corpus else f", {len(dataset.skipped)} files skipped"
    report(
        f"{len(dataset.train)} clips to train on ({seconds / 60:.1f} minutes{speeds}), "
        f"{len(dataset.validation)} to validate{test}{skipped}"
    )


def describe_short_training(
    recipe: "RecipeConfig", seconds: float, has_initial_weights: bool
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


def check_start(
    recipe: "RecipeConfig",
    folder: Path,
    resume: bool,
    accept_changes: bool,
    initial: "Checkpoint | None",
) -> None:
    """Check everything about a run that starts or resumes, except its recordings.

    Changes of a resumed run that can be accepted are not refused yet: the recordings may have
    changed, too, and a user must know all changes to accept them.

    Raises:
        ConfigError, ConditionError: a setting of the model is impossible.
        DataError: the recordings lack fields, or their folder cannot be used.
        TrainingError: as `snapshots.open_run`; FolderError: as `lock_folder`.
    """
    from wavenet.checkpoint import check_label_names
    from wavenet.folder_lock import lock_folder
    from wavenet.training import snapshots
    from wavenet.training.recipe_options import check_conditions
    from wavenet.training.resolve_config import check_fields
    from wavenet.training.run_identity import RunIdentity
    from wavenet.training.task import describe_checkpoint

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


def apply_options(
    recipe: "RecipeConfig",
    data: Path | None,
    pattern: str | None,
    labels: list[str] | None,
    steps: int | None,
    sample_rate: int | None,
    accumulation_steps: int | None,
    metadata: str | None = None,
) -> "RecipeConfig":
    """Return the recipe with the values of the options; its conditions stay.

    Raises:
        ConfigError: a value out of its range.
    """
    from wavenet.config import make_config
    from wavenet.training.recipe import DataConfig, TrainConfig
    from wavenet.training.recipe_options import add_labels, change_sample_rate

    parts: dict[str, Any] = dict(recipe)
    options = {"folder": str(data) if data else None, "pattern": pattern, "metadata": metadata}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if given.keys() & {"pattern", "metadata"}:
        # one source of fields replaces the other of the recipe
        given = {"pattern": None, "metadata": None, **given}
    parts["data"] = make_config(DataConfig, "data", **{**dict(recipe.data), **given})
    for name, number in (("steps", steps), ("accumulation_steps", accumulation_steps)):
        if number is not None:
            settings = {**dict(parts["train"]), name: number}
            parts["train"] = make_config(TrainConfig, f"--{name.replace('_', '-')}", **settings)
    changed = make_config(type(recipe), recipe.name, **parts)
    if labels:
        changed = add_labels(changed, labels)
    return changed if sample_rate is None else change_sample_rate(changed, sample_rate)


def apply_channel(
    recipe: "RecipeConfig", channel: ChannelChoice | None, normalize: bool | None
) -> "RecipeConfig":
    """Return the recipe with the options that determine how recordings are read."""
    from wavenet.config import make_config
    from wavenet.training.recipe import DataConfig

    options = {"channel": channel and channel.value, "normalize": normalize}
    given = {name: value for name, value in options.items() if value is not None}
    data = make_config(DataConfig, "data", **{**dict(recipe.data), **given})
    return make_config(type(recipe), recipe.name, **{**dict(recipe), "data": data})


def load_initial_checkpoint(
    folder: Path,
    original: "RecipeConfig",
    recipe: "RecipeConfig",
    model_is_changed: bool,
    is_resumed: bool,
) -> tuple["Checkpoint", "RecipeConfig", str | None]:
    """Load the initial checkpoint of a run.

    Args:
        folder: of the checkpoint.
        original: the recipe as it was read. A built-in one, whose rate the user did not choose, may
            have another rate or codec.
        recipe: with the values of the options.
        model_is_changed: whether an option changes the model of the recipe.
        is_resumed: whether the run has started already, with the model of this checkpoint.
    Returns:
        The checkpoint, the recipe with its model, and a sentence on the replaced settings, if any.
    Raises:
        ConfigError: an option changes the model, the recipe states another rate or codec, or it has
            a condition that the checkpoint lacks.
        CheckpointError: the checkpoint cannot be used.
    """
    from wavenet import checkpoint
    from wavenet.training.recipe import is_built_in
    from wavenet.training.recipe_options import (
        check_same_codes,
        describe_replaced,
        use_model_of,
    )

    if model_is_changed:
        raise ConfigError(
            "--from uses the model of a checkpoint as it is; omit --label and --sample-rate"
        )
    loaded = checkpoint.load(folder)
    chosen = use_model_of(recipe, loaded.config)
    if not is_resumed and not is_built_in(original):
        check_same_codes(original, loaded.config)
    return loaded, chosen, describe_replaced(original, loaded.config, chosen)


@contextmanager
def stop_on_interrupt(
    report: Callable[[str], None] = print_message, is_distributed: bool = False
) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; a second Ctrl-C ends at once.

    Args:
        report: prints a message.
        is_distributed: whether this is one of several processes. When one process has ended,
            torchrun sends SIGTERM to the others. That is treated as a request to stop; the next
            communication with the others shows whether they have ended.
    """
    requested = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = True
        if number == signal.SIGINT:
            report("stopping after this step; Ctrl-C again to end at once")

    previous = signal.signal(signal.SIGINT, on_signal)
    if is_distributed:
        # Not restored: torchrun's SIGTERM may arrive while the error is being printed.
        signal.signal(signal.SIGTERM, on_signal)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, previous)


def _print_nothing(text: object) -> None:
    """Do nothing; used by all processes except the first, which prints."""
