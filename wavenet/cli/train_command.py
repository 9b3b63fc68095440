"""`wavenet train`: a recipe and a folder of audio -> a checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import DeviceOption, print_message
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from wavenet.checkpoint import Checkpoint
    from wavenet.training.ranks import Ranks
    from wavenet.training.recipe import RecipeConfig


def train(
    recipe: Annotated[
        str, typer.Argument(help="A recipe file, or the name of one of the project's own.")
    ] = "small",
    data: Annotated[Path | None, typer.Option(help="Folder of audio.")] = None,
    pattern: Annotated[
        str | None, typer.Option(help="Labels from file names, as {digit}_{speaker}_{index}.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option(help="A field to condition on. Repeatable.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stands.")] = False,
    start: Annotated[
        Path | None,
        typer.Option("--from", help="Begin with the weights and the model of this checkpoint."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    sample_rate: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Work off a step in so many parts: less memory on a GPU.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of a process.")] = None,
    device: DeviceOption = "auto",
    listen: Annotated[
        float | None,
        typer.Option(help="Seconds of a clip to make after every validation, in OUT/samples."),
    ] = None,
) -> None:
    """Train a model; Ctrl-C stops after the step and keeps what is there.

    With --from, a checkpoint learns more, such as another voice: its model takes the place of the
    recipe's, which then says only how to train, and on what. With --resume too, a run that was so
    begun goes on. With --listen, clips of one seed are made of the best weights so far, with the
    first value of every label; a vocoder says a held-out clip again.

    Several GPUs, or machines, train together when torchrun starts the same command in a process for
    each: "torchrun --nproc-per-node 2 -m wavenet train ...". A step takes as many clips as alone,
    divided among them. Their network must be private: whoever reaches torchrun's port takes part.
    """
    from wavenet.training.ranks import joined

    with joined() as ranks:
        from wavenet.training.recipe import load_recipe

        chosen = load_recipe(recipe)
        chosen = amend(chosen, data, pattern, label, steps, sample_rate, accumulate)
        folder = out or Path("runs") / chosen.name
        began = None
        if start is not None:
            other = bool(label) or sample_rate is not None
            began, chosen = begin_with(start, chosen, other)
        run(chosen, folder, resume, began, threads, device, listen, ranks)


def run(
    recipe: "RecipeConfig",
    folder: Path,
    resume: bool,
    start: "Checkpoint | None",
    threads: int | None,
    device: str,
    listen: float | None,
    ranks: "Ranks",
) -> None:
    """Read the recordings and train; only the first of several processes speaks."""
    import torch

    from wavenet.cli.listening import listening
    from wavenet.generation.request import samples_from_seconds
    from wavenet.locks import refuse_held
    from wavenet.training.child import is_asked_to_end
    from wavenet.training.data import read_dataset
    from wavenet.training.loop import train
    from wavenet.training.report import reporter
    from wavenet.training.run_config import checkpoint_config

    tell = print_message if ranks.is_first else _say_nothing
    threads = threads or ranks.choose_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    # before minutes are spent on recordings
    place, rate = ranks.choose_device(device), recipe.audio.sample_rate
    samples = None if listen is None else samples_from_seconds(listen, rate)
    if ranks.is_first:
        refuse_held(folder)
    ranks.meet()
    tell("reading the recordings")
    dataset = read_dataset(recipe.data, rate, recipe.model)
    for sentence in dataset.skipped:
        tell(f"skipped: {sentence}")
    seconds = sum(c.samples - c.context for c in dataset.train) / rate
    speeds = f", at {dataset.speeds} speeds" if dataset.speeds > 1 else ""
    tell(
        f"{len(dataset.train)} clips to train on ({seconds / 60:.1f} minutes{speeds}), "
        f"{len(dataset.validation)} to validate, {len(dataset.skipped)} files skipped"
    )
    config, settings = checkpoint_config(recipe, dataset), recipe.train
    shown = reporter(settings.steps, folder) if ranks.is_first else nullcontext(_say_nothing)
    with interruptible(tell, ranks.count > 1) as stopped, shown as report:
        if is_asked_to_end(folder):
            raise KeyboardInterrupt
        if samples is not None and ranks.is_first:
            most = None if ranks.count == 1 else ranks.most_seconds
            report = listening(report, folder, settings, dataset, samples, device, stopped, most)
        state = train(
            config, settings, dataset, folder, resume, report, stopped, start, place, ranks
        )
    if state.step < settings.steps:
        tell(f"stopped after step {state.step}; go on with the same command and --resume")
        raise typer.Exit(130)
    if ranks.is_first:
        typer.echo(str(folder / "checkpoint"))


def amend(
    recipe: "RecipeConfig",
    data: Path | None,
    pattern: str | None,
    labels: list[str] | None,
    steps: int | None,
    sample_rate: int | None,
    accumulate: int | None,
) -> "RecipeConfig":
    """Let options win over the recipe.

    Raises:
        ConfigError: a value out of its range.
    """
    from wavenet.checkpoint import AudioConfig
    from wavenet.config import make_config
    from wavenet.model.conditions import LabelCondition
    from wavenet.training.recipe import DataConfig, TrainConfig

    parts: dict[str, Any] = dict(recipe)
    given = {"folder": str(data) if data else None, "pattern": pattern}
    chosen = {name: value for name, value in given.items() if value is not None}
    parts["data"] = make_config(DataConfig, "data", **{**dict(recipe.data), **chosen})
    if labels:
        conditions = tuple(make_config(LabelCondition, "--label", name=name) for name in labels)
        parts["model"] = make_config(
            type(recipe.model), "model", **{**dict(recipe.model), "conditions": conditions}
        )
    for option, number in (("steps", steps), ("accumulate", accumulate)):
        if number is not None:
            settings = {**dict(parts["train"]), option: number}
            parts["train"] = make_config(TrainConfig, f"--{option}", **settings)
    if sample_rate is not None:
        parts["audio"] = make_config(AudioConfig, "--sample-rate", sample_rate=sample_rate)
    return make_config(type(recipe), recipe.name, **parts)


def begin_with(
    folder: Path, recipe: "RecipeConfig", contradicted: bool
) -> tuple["Checkpoint", "RecipeConfig"]:
    """Load the checkpoint that a run begins with, and put its model into the recipe.

    Raises:
        ConfigError: an option says otherwise.
        CheckpointError: it cannot be used.
    """
    from wavenet import checkpoint
    from wavenet.config import make_config
    from wavenet.training.recipe import RecipeConfig

    if contradicted:
        raise ConfigError(
            "--from takes the model of a checkpoint as it is; leave out --label and --sample-rate"
        )
    loaded = checkpoint.load(folder)
    config = loaded.config
    model = {"audio": config.audio, "codec": config.codec, "model": config.model}
    return loaded, make_config(RecipeConfig, recipe.name, **{**dict(recipe), **model})


@contextmanager
def interruptible(
    tell: Callable[[str], None] = print_message, several: bool = False
) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a wish to stop; the second one ends at once.

    Args:
        tell: says so.
        several: one of several processes, which torchrun also asks to end when one of them is gone:
            whether it was that, the next word with the others shows.
    """
    wished = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished and number == signal.SIGINT:
            raise KeyboardInterrupt
        wished = True
        if number == signal.SIGINT:
            tell("stopping after this step; Ctrl-C again to end at once")

    numbers = (signal.SIGINT, signal.SIGTERM) if several else (signal.SIGINT,)
    before = {number: signal.signal(number, on_interrupt) for number in numbers}
    try:
        yield lambda: wished
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say_nothing(text: object) -> None:
    """Stand in for what only the first process says."""
