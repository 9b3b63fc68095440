"""`wavenet evaluate likelihood`: bits per sample by label, with intervals and baselines."""

from typing import Annotated, Any

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
    DeviceOption,
    EngineOption,
    JsonOption,
    OverwriteOption,
    PrecisionOption,
    create_folder,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.terminal import print_json, print_line


def likelihood(
    context: typer.Context,
    folder: FolderArgument,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    recipe: RecipeOption = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    test: TestOption = None,
    channel: RecordingChannelOption = None,
    normalize: RecordingNormalizeOption = None,
    split: Annotated[Split, typer.Option(help="Recordings to evaluate on.")] = Split.TEST,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Compute bits per sample of held-out recordings, by label, in comparison with baselines.

    Lower is better. The interval is the 95 % percentile interval of 1,000 bootstrap resamples of
    the recordings. The baselines are fitted to the training recordings and score the same codes: a
    histogram, a bigram, and linear prediction of order 16 with an adaptive logistic residual.
    """
    from dataclasses import replace

    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.baselines import fit_baselines
    from wavenet.evaluation.bits_per_sample import (
        encode_baseline_clips,
        score_recordings,
        summarise_bits,
    )
    from wavenet.evaluation.evaluation_plots import plot_bits
    from wavenet.evaluation.labelled_clips import UNLIMITED_SECONDS, shared_label_names
    from wavenet.evaluation.provenance import describe_provenance

    check_output_folder(out, (METRICS_FILE, "likelihood.png"), overwrite)
    if out is not None:
        create_folder(out)
    loaded = checkpoints.load(checkpoint, device_for(engine, device))
    loaded = replace(loaded, model=make_engine(engine, loaded.model, precision).model)
    dataset = read_dataset_with_split(
        *(loaded, folder, recipe, pattern, test, split.value, metadata, channel, normalize),
        max_seconds=UNLIMITED_SECONDS,
    )
    clips = dataset.test if split == Split.TEST else dataset.validation
    names = shared_label_names(loaded.config, clips)
    with status_spinner("fitting the baselines"):
        codes = encode_baseline_clips(loaded.config, dataset.train)
        baselines = fit_baselines(codes, loaded.config.codec)
    recordings = []
    with ProgressBar("recordings", len(clips)) as progress_bar:
        for recording in score_recordings(loaded, clips, baselines, names):
            recordings.append(recording)
            progress_bar.advance(1)
    rows = summarise_bits(recordings, names)
    settings = {"split": split.value, "precision": precision, "baseline_recordings": len(codes)}
    report = describe_provenance(loaded, settings, command_line(context))
    report |= {"rows": rows, "recordings": [vars(recording) for recording in recordings]}
    write_report(out, report, {"likelihood": plot_bits(rows)}, overwrite)
    if json_:
        print_json(report)
        return
    print_table(rows)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print bits per sample by label and method."""
    from wavenet.evaluation.evaluation_plots import row_label

    methods = list(rows[0]["bits_per_sample"])
    heads = [f"{method:>{max(9, len(method))}}" for method in methods]
    print_line(f"{'label':20} {'clips':>5} {'samples':>9} {'95 % interval':>14} {' '.join(heads)}")
    for row in rows:
        bounds = row["interval"]
        interval = "-" if bounds is None else f"{bounds[0]:.3f} - {bounds[1]:.3f}"
        values = [
            f"{row['bits_per_sample'][method]:{len(head)}.3f}"
            for method, head in zip(methods, heads, strict=True)
        ]
        print_line(
            f"{row_label(row)[:20]:20} {row['clips']:5} {row['samples']:9} {interval:>14} "
            f"{' '.join(values)}"
        )
