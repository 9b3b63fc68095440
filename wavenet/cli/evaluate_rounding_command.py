"""`wavenet evaluate rounding`: what it costs to round the weights, in bits per sample."""

from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.evaluate_common import (
    METRICS_FILE,
    FolderArgument,
    MetadataOption,
    OutOption,
    PatternOption,
    RecipeOption,
    RecordingChannelOption,
    RecordingNormalizeOption,
    Split,
    TestOption,
    command_line,
    read_dataset_with_split,
    write_report,
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    JsonOption,
    OverwriteOption,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.rounding_costs import RoundingCosts


def rounding(
    context: typer.Context,
    folder: FolderArgument,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    recipe: RecipeOption = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    test: TestOption = None,
    channel: RecordingChannelOption = None,
    normalize: RecordingNormalizeOption = None,
    split: Annotated[Split, typer.Option(help="Recordings to measure on.")] = Split.VALIDATION,
    store: Annotated[
        bool,
        typer.Option("--store", help="Write the costs to the checkpoint, for --precision auto."),
    ] = False,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Compute how many bits per sample rounded weights cost on held-out recordings.

    The interval is the 95 % percentile interval of 1,000 bootstrap resamples of the recordings.
    --precision auto uses a precision only if its whole interval is below 0.002. `wavenet train`
    stores these costs after its last step; --store does so for other checkpoints.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.evaluation.labelled_clips import UNLIMITED_SECONDS
    from wavenet.evaluation.provenance import describe_provenance
    from wavenet.evaluation.rounding import measure_rounding_costs, store_costs

    check_output_folder(out, (METRICS_FILE,), overwrite)
    if out is not None:
        create_folder(out)
    loaded = checkpoints.load(checkpoint)
    dataset = read_dataset_with_split(
        *(loaded, folder, recipe, pattern, test, split.value, metadata, channel, normalize),
        max_seconds=UNLIMITED_SECONDS,
    )
    clips = dataset.test if split == Split.TEST else dataset.validation
    with status_spinner("scoring with exact and with rounded weights"):
        costs = measure_rounding_costs(loaded, clips, split.value)
    if costs is None:
        raise DataError(
            "the costs need a WaveNet with finite predictions and two held-out recordings or more; "
            f"found {type(loaded.model).__name__} and {len(clips)}"
        )
    if store:
        store_costs(loaded, costs)
    report = describe_provenance(loaded, {"split": split.value}, command_line(context))
    report |= {"rounding": costs.model_dump()}
    write_report(out, report, {}, overwrite)
    if json_:
        print_json(report)
        return
    print_table(costs)
    if store:
        print_message(f"stored in {loaded.folder / checkpoints.CONFIG}")


def print_table(costs: "RoundingCosts") -> None:
    """Print the cost of each precision, and which ones --precision auto uses."""
    accepted = costs.accepted_precisions()
    print_line(f"measured on {costs.measured_on}, {costs.samples:,} samples")
    print_line(f"{'precision':10} {'bits per sample':>15} {'95 % interval':>20}  auto")
    for precision, cost in costs.costs.items():
        interval = f"{cost.low:+.5f} to {cost.high:+.5f}"
        if precision in accepted:
            use = "first choice" if precision == accepted[0] else "if no faster one works"
        else:
            use = "no"
        print_line(f"{precision:10} {cost.bits:+15.5f} {interval:>20}  {use}")
