"""`wavenet train`: a recipe and a folder of audio -> a checkpoint."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import DeviceOption, say
from wavenet.errors import ConfigError

if TYPE_CHECKING:
    from wavenet.checkpoint import Checkpoint
    from wavenet.config import RecipeConfig


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
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads.")] = None,
    device: DeviceOption = "auto",
    listen: Annotated[
        float | None,
        typer.Option(help="Seconds of a clip to make after every validation, in OUT/samples."),
    ] = None,
) -> None:
    """Train a model; Ctrl-C stops after the step and keeps what is there.

    With --from, a checkpoint learns more, such as another voice: its model takes the place of the
    recipe's, which then says only how to train, and on what. With --listen, clips of one seed are
    made of the best weights so far, with the first value of every label; a vocoder says a held-out
    clip again.
    """
    from wavenet.training.recipe import checkpoint_config, load_recipe

    chosen = amend(load_recipe(recipe), data, pattern, label, steps, sample_rate)
    folder = out or Path("runs") / chosen.name
    began = None
    if start is not None:
        began, chosen = begin_with(start, chosen, resume or bool(label) or sample_rate is not None)

    import torch

    from wavenet.cli.listening import listening
    from wavenet.devices import choose_device
    from wavenet.locks import refuse_held
    from wavenet.synthesis.items import samples_for
    from wavenet.training.data import read_dataset
    from wavenet.training.loop import train as run
    from wavenet.training.report import reporter

    if threads is not None:
        torch.set_num_threads(threads)
    # before minutes are spent on recordings
    place, rate = choose_device(device), chosen.audio.sample_rate
    samples = None if listen is None else samples_for(listen, rate)
    refuse_held(folder)
    say("reading the recordings")
    dataset = read_dataset(chosen.data, rate, chosen.model)
    for sentence in dataset.skipped:
        say(f"skipped: {sentence}")
    seconds = sum(c.samples - c.context for c in dataset.train) / rate
    say(
        f"{len(dataset.train)} clips to train on ({seconds / 60:.1f} minutes), "
        f"{len(dataset.validation)} to validate, {len(dataset.skipped)} files skipped"
    )
    config = checkpoint_config(chosen, dataset)
    with interruptible() as stopped, reporter(chosen.train.steps, folder) as report:
        if samples is not None:
            report = listening(report, folder, chosen.train, dataset, samples, device, stopped)
        state = run(config, chosen.train, dataset, folder, resume, report, stopped, began, place)
    if state.step < chosen.train.steps:
        say(f"stopped after step {state.step}; go on with the same command and --resume")
        raise typer.Exit(130)
    typer.echo(str(folder / "checkpoint"))


def amend(
    recipe: "RecipeConfig",
    data: Path | None,
    pattern: str | None,
    labels: list[str] | None,
    steps: int | None,
    sample_rate: int | None,
) -> "RecipeConfig":
    """Let options win over the recipe.

    Raises:
        ConfigError: a value out of its range.
    """
    from wavenet.conditions import LabelCondition
    from wavenet.config import (
        AudioConfig,
        DataConfig,
        ModelConfig,
        TrainConfig,
    )
    from wavenet.parsing import make

    parts: dict[str, Any] = dict(recipe)
    given = {"folder": str(data) if data else None, "pattern": pattern}
    chosen = {name: value for name, value in given.items() if value is not None}
    parts["data"] = make(DataConfig, "data", **{**dict(recipe.data), **chosen})
    if labels:
        conditions = tuple(make(LabelCondition, "--label", name=name) for name in labels)
        parts["model"] = make(
            ModelConfig, "model", **{**dict(recipe.model), "conditions": conditions}
        )
    if steps is not None:
        parts["train"] = make(TrainConfig, "--steps", **{**dict(recipe.train), "steps": steps})
    if sample_rate is not None:
        parts["audio"] = make(AudioConfig, "--sample-rate", sample_rate=sample_rate)
    return make(type(recipe), recipe.name, **parts)


def begin_with(
    folder: Path, recipe: "RecipeConfig", contradicted: bool
) -> tuple["Checkpoint", "RecipeConfig"]:
    """Load the checkpoint that a run begins with, and put its model into the recipe.

    Raises:
        ConfigError: an option says otherwise.
        CheckpointError: it cannot be used.
    """
    from wavenet import checkpoint
    from wavenet.config import RecipeConfig
    from wavenet.parsing import make

    if contradicted:
        raise ConfigError(
            "--from begins a new run with the model of a checkpoint; leave out --resume, --label "
            "and --sample-rate"
        )
    loaded = checkpoint.load(folder)
    model = {"audio": loaded.config.audio, "codec": loaded.config.codec}
    model |= {"model": loaded.config.model}
    return loaded, make(RecipeConfig, recipe.name, **{**dict(recipe), **model})


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a wish to stop; the second one ends at once."""
    wished = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal wished
        if wished:
            raise KeyboardInterrupt
        wished = True
        say("stopping after this step; Ctrl-C again to end at once")

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: wished
    finally:
        signal.signal(signal.SIGINT, before)
