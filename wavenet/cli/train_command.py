"""`wavenet train`: a recipe and a folder of audio -> a checkpoint."""

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import (
    CHANNEL_HELP,
    NORMALIZE_HELP,
    ChannelChoice,
    DeviceOption,
    print_message,
)
from wavenet.errors import ConfigError
from wavenet.interrupts import stop_on_interrupt
from wavenet.terminal import print_line

if TYPE_CHECKING:
    from wavenet.training.distributed import Ranks
    from wavenet.training.training_setup import TrainingSetup


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
    vocoder: Annotated[
        Path | None,
        typer.Option(help="For a voice: use this vocoder as it is, instead of training one."),
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
    The recipe voice trains a voice that speaks English text. --data is then a folder in the layout
    of LJSpeech: metadata.csv with lines ID|TEXT, and wavs/ID.wav or .flac. The clips are aligned,
    then the acoustic model and the vocoder are trained, each for --steps steps; --from is a voice
    from which both start, or a checkpoint from which the vocoder starts. The voice is the folder
    OUT/voice. --resume continues after any interruption.
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
        from wavenet.training.recipe import is_voice_recipe
        from wavenet.training.training_setup import RecipeOptions, set_up_training

        if accept_changes and not resume:
            raise ConfigError("--accept-changes continues a run; add --resume")
        is_voice = is_voice_recipe(recipe)
        if vocoder is not None and not is_voice:
            raise ConfigError("--vocoder is for the recipe of a voice, such as voice; omit it")
        options = RecipeOptions(
            data=str(data) if data else None,
            pattern=pattern,
            metadata=metadata,
            labels=label or (),
            channel=channel.value if channel else None,
            normalize=normalize,
            steps=steps,
            sample_rate=sample_rate,
            accumulation_steps=accumulation_steps,
        )
        if is_voice:
            from wavenet.cli.voice_training import VoiceOptions, train_voice_from

            train_voice_from(
                recipe,
                options,
                VoiceOptions(
                    out, resume, accept_changes, initial_checkpoint, vocoder, threads, quiet
                ),
                ranks,
                lambda setup, folder, has_run: run(
                    setup, folder, has_run, False, threads, device, sample_seconds, ranks, quiet
                ),
            )
            return
        setup = set_up_training(recipe, options, initial_checkpoint, resume)
        if setup.note and ranks.is_main:
            print_message(setup.note)
        folder = out or Path("runs") / setup.recipe.name
        run(setup, folder, resume, accept_changes, threads, device, sample_seconds, ranks, quiet)
        if ranks.is_main:
            print_line(folder / "checkpoint")


def run(
    setup: "TrainingSetup",
    folder: Path,
    resume: bool,
    accept_changes: bool,
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
    from wavenet.training.run_process import is_end_requested
    from wavenet.training.training_setup import check_start, choose_threads, make_task

    report = print_message if ranks.is_main else _print_nothing
    # The options are checked before the recordings are read, which may need minutes.
    choice = choose_threads(threads or ranks.choose_threads())
    device, rate = ranks.choose_device(device_name), setup.recipe.audio.sample_rate
    samples = None if sample_seconds is None else samples_from_seconds(sample_seconds, rate)
    if ranks.is_main:
        check_start(setup, folder, resume or is_restarted(folder, ranks), accept_changes)
    ranks.barrier()
    report("reading the recordings")
    with status_spinner("reading the recordings", quiet or not ranks.is_main):
        dataset = read_dataset(setup.recipe.data, rate, setup.recipe.model)
    task = make_task(setup, dataset, report)
    steps = task.settings.steps
    shown = show_progress(steps, folder) if ranks.is_main else nullcontext(_print_nothing)
    with stop_on_interrupt(report, ranks.world_size > 1) as should_stop, shown as on_record:
        if is_end_requested(folder):
            raise KeyboardInterrupt
        if samples is not None and ranks.is_main:
            limit = None if ranks.world_size == 1 else ranks.max_wait_seconds
            on_record = with_preview_clips(
                on_record, folder, task.settings, dataset, samples, device_name, should_stop, limit
            )
        how = (accept_changes, report, choice if device.type == "cpu" else None)
        state = train(task, folder, resume, on_record, should_stop, device, ranks, *how)
    if state.step < steps:
        report(f"stopped after step {state.step}; continue with the same command and --resume")
        raise typer.Exit(130)
    if ranks.is_main:
        from wavenet.evaluation.rounding import store_rounding_costs

        with status_spinner("measuring the cost of rounded weights", quiet):
            cost = store_rounding_costs(folder / "checkpoint", dataset.validation)
        if cost:
            print_message(cost)


def _print_nothing(text: object) -> None:
    """Do nothing; used by all processes except the first, which prints."""
