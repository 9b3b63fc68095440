"""`wavenet evaluate digits`: are generated clips what their labels say, varied, and no copies?"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.evaluating import (
    FolderArgument,
    OutOption,
    PatternOption,
    RecipeOption,
    TestOption,
    keep,
    read_recordings,
    repeat,
    show_share,
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GuidanceOption,
    JsonOption,
    PrecisionOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    create_folder,
    print_message,
)
from wavenet.errors import ConditionError

if TYPE_CHECKING:
    from pathlib import Path

    from wavenet.checkpoint import Checkpoint
    from wavenet.engines.base import Engine
    from wavenet.evaluation.clips import MadeClips
    from wavenet.evaluation.digits import Reference
    from wavenet.evaluation.recordings import Labelled
    from wavenet.generation.request import GenerationRequest
    from wavenet.sampling import SamplingConfig
    from wavenet.training.data import Dataset

ROW = "{:30} {:>9} {:>9}  {}"


def digits(
    context: typer.Context,
    folder: FolderArgument,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    recipe: RecipeOption = None,
    pattern: PatternOption = None,
    test: TestOption = None,
    count: Annotated[int, typer.Option(min=2, help="How many clips to generate.")] = 300,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    guidance: GuidanceOption = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    trade_off: Annotated[
        bool, typer.Option("--trade-off", help="Judge other temperatures, top-p, guidance, too.")
    ] = False,
    clips: Annotated[bool, typer.Option("--clips", help="Keep the clips, in OUT/clips.")] = False,
    out: OutOption = None,
    json_: JsonOption = False,
) -> None:
    """Generate clips of all labels and judge them beside real ones: words, voices, or other labels.

    Two classifiers that learnt from real recordings alone say what they hear: a support-vector
    machine on MFCCs, and a small convolutional network on log-mel. Diversity is the mean distance
    of two clips with the same labels. A clip nearer to a recording that was learnt from than any
    real test clip counts as a copy. The Fréchet distance is that of the network's embedding to
    that of the test clips. Labels come in turn, lengths are those of real recordings with the same
    labels, and seeds count up from --seed. --trade-off moves temperature, top-p and guidance, one
    at a time, and draws how clear clips are against how varied.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.clips import plan_clips
    from wavenet.evaluation.digits import Reference
    from wavenet.evaluation.pictures import plot_accuracy, plot_nearest, plot_trade_off
    from wavenet.evaluation.record import describe
    from wavenet.sampling import resolve_sampling

    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "guidance": guidance}
    if clips and out is None:
        raise ConditionError("--clips needs a folder; give --out")
    if out is not None:
        create_folder(out)
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    sampling = resolve_sampling(loaded.config.sampling, **values)
    dataset = read_recordings(loaded, folder, recipe, pattern, test)
    learnt, held = divide(loaded, dataset)
    items = plan_clips(learnt, count, seed)
    runner = make_engine(engine, loaded.model, precision, threads)
    made = generate(loaded, items, sampling, runner)
    with status_spinner("training the judges"):
        reference = Reference(learnt, held, loaded.config.audio.sample_rate)
    found = reference.compare(reference.measure(made.clips))
    settings = {**sampling.model_dump(), "count": count, "seed": seed, "precision": precision}
    report = describe(loaded, settings, repeat(context))
    report |= {"drawn_again": made.drawn_again, "learnt_from": len(learnt), **found}
    pictures = {"accuracy": plot_accuracy(found["values"])}
    pictures["nearest"] = plot_nearest(found["nearest"]["distances"])
    if trade_off:
        report["trade_off"] = compare(loaded, reference, items, runner)
        pictures["trade_off"] = plot_trade_off(report["trade_off"])
    keep(out, report, pictures)
    if clips and out is not None:
        write(out / "clips", made, loaded.config.audio.sample_rate)
    if json_:
        typer.echo(json.dumps(report))
        return
    show(report)


def divide(loaded: "Checkpoint", dataset: "Dataset") -> "tuple[list[Labelled], list[Labelled]]":
    """Give the recordings to learn from and those to test on, with the labels to be judged.

    Raises:
        ConditionError: there are none.
    """
    from wavenet.evaluation.recordings import label_names, labelled

    learnt, held = [*dataset.train, *dataset.validation], dataset.test
    names = label_names(loaded.config, [*learnt, *held])
    if not names:
        raise ConditionError(
            f"{loaded.folder} is conditioned on no label that all recordings have; give a "
            "--pattern that names its labels, or a checkpoint that has some"
        )
    return labelled(learnt, names), labelled(held, names)


def generate(
    loaded: "Checkpoint",
    items: "list[GenerationRequest]",
    sampling: "SamplingConfig",
    runner: "Engine[Any]",
) -> "MadeClips":
    """Make the clips behind a progress bar."""
    from wavenet.cli.progress_bars import progress_bar
    from wavenet.evaluation.clips import make_planned

    with progress_bar("samples", sum(item.samples for item in items)) as advance:
        return make_planned(loaded, items, sampling, runner, advance, print_message)


def compare(
    loaded: "Checkpoint",
    reference: "Reference",
    items: "list[GenerationRequest]",
    runner: "Engine[Any]",
) -> list[dict[str, Any]]:
    """Judge clips that are drawn in other ways, behind a progress bar."""
    from wavenet.cli.progress_bars import progress_bar
    from wavenet.evaluation.trade_off import compare_settings, settings_to_try

    samples = sum(item.samples for item in items)
    # plain drawing stands in every line of the picture, and is made once
    ways = len({way if way[1] != 1 else None for way in settings_to_try(loaded)})
    with progress_bar("samples", samples * ways) as advance:
        return compare_settings(loaded, reference, items, runner, advance)


def write(folder: "Path", made: "MadeClips", rate: int) -> None:
    """Write the clips, by the name of their labels and seed."""
    from audio_utils import io

    create_folder(folder)
    for clip in made.clips:
        io.write(folder / f"{clip.name}.wav", clip.waveform, rate)


def show(report: dict[str, Any]) -> None:
    """Print the table."""
    typer.echo(ROW.format("measure", "real", "generated", "95 % interval").rstrip())
    real, made = report["accuracy"]["real"], report["accuracy"]["generated"]
    for judge, labels in made.items():
        for name, found in labels.items():
            low, high = (show_share(bound) for bound in found["interval"])
            shares = show_share(real[judge][name]["share"]), show_share(found["share"])
            typer.echo(ROW.format(f"{judge}: {name} right, %", *shares, f"{low} - {high}"))
    near, varied, frechet = report["nearest"], report["diversity"], report["frechet"]
    rows = [
        ("diversity within a class", varied["real"], varied["generated"]),
        ("nearest learnt from, median", near["real"]["median"], near["generated"]["median"]),
        (".. smallest", near["real"]["smallest"], near["generated"]["smallest"]),
        ("Fréchet distance", frechet["real"], frechet["generated"]),
    ]
    for title, *numbers in rows:
        written = ["-" if number is None else f"{number:.3f}" for number in numbers]
        typer.echo(ROW.format(title, *written, "").rstrip())
    chance = f"of {report['clips']['generated']}; by chance about {near['copies_by_chance']:.1f}"
    typer.echo(ROW.format("copies", "-", near["copies"], chance))
    typer.echo(ROW.format("drawn again by the guard", "-", report["drawn_again"], "").rstrip())
    if "trade_off" in report:
        typer.echo(
            f"\n{'setting':12} {'value':>6} {'clear, %':>9} {'varied, %':>10} {'Fréchet':>8}"
        )
    for row in report.get("trade_off", []):
        varied = "-" if row["diversity"] is None else show_share(row["diversity"])
        typer.echo(
            f"{row['setting']:12} {row['value']:>6g} {show_share(row['accuracy']):>9} {varied:>10} "
            f"{row['frechet']:>8.1f}"
        )
