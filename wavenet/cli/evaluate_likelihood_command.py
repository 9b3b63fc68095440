"""`wavenet evaluate likelihood`: bits per sample by label, with intervals, beside baselines."""

import json
from enum import StrEnum
from typing import Annotated, Any

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
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    create_folder,
)


class Split(StrEnum):
    """Recordings that a model may be measured on."""

    TEST = "test"
    VALIDATION = "validation"


def likelihood(
    context: typer.Context,
    folder: FolderArgument,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    recipe: RecipeOption = None,
    pattern: PatternOption = None,
    test: TestOption = None,
    split: Annotated[Split, typer.Option(help="Which recordings to measure on.")] = Split.TEST,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    out: OutOption = None,
    json_: JsonOption = False,
) -> None:
    """Bits per sample of held-out recordings (lower is better), by label, beside baselines.

    The interval is that of 95 % of 1,000 bootstrap resamples of the recordings. The baselines
    learn from the recordings that training would learn from, and pay for the same codes:
    a histogram, a bigram, and linear prediction of order 16 with an adaptive logistic residual.
    """
    from dataclasses import replace

    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import progress_bar, status_spinner
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.baselines import fit_baselines
    from wavenet.evaluation.likelihood import codes_to_fit, measure, summarise
    from wavenet.evaluation.pictures import plot_bits
    from wavenet.evaluation.record import describe
    from wavenet.evaluation.recordings import label_names

    if out is not None:
        create_folder(out)
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    loaded = replace(loaded, model=make_engine(engine, loaded.model, precision).model)
    dataset = read_recordings(loaded, folder, recipe, pattern, test, split.value)
    clips = dataset.test if split == Split.TEST else dataset.validation
    names = label_names(loaded.config, clips)
    with status_spinner("fitting the baselines"):
        codes = codes_to_fit(loaded.config, dataset.train)
        baselines = fit_baselines(codes, loaded.config.codec)
    costs = []
    with progress_bar("recordings", len(clips)) as advance:
        for cost in measure(loaded, clips, baselines, names):
            costs.append(cost)
            advance(1)
    rows = summarise(costs, names)
    settings = {"split": split.value, "precision": precision, "fitted_to": len(codes)}
    report = describe(loaded, settings, repeat(context))
    report |= {"rows": rows, "recordings": [vars(cost) for cost in costs]}
    keep(out, report, {"likelihood": plot_bits(rows)})
    if json_:
        typer.echo(json.dumps(report))
        return
    show(rows)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    from wavenet.evaluation.pictures import row_name

    methods = list(rows[0]["bits_per_sample"])
    heads = [f"{method:>{max(9, len(method))}}" for method in methods]
    typer.echo(f"{'label':20} {'clips':>5} {'samples':>9} {'95 % interval':>14} {' '.join(heads)}")
    for row in rows:
        bounds = row["interval"]
        between = "-" if bounds is None else f"{bounds[0]:.3f} - {bounds[1]:.3f}"
        values = [
            f"{row['bits_per_sample'][method]:{len(head)}.3f}"
            for method, head in zip(methods, heads, strict=True)
        ]
        typer.echo(
            f"{row_name(row)[:20]:20} {row['clips']:5} {row['samples']:9} {between:>14} "
            f"{' '.join(values)}"
        )
