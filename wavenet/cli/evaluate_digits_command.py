"""`wavenet evaluate digits`: accuracy, diversity and copies of clips generated from labels."""

from typing import TYPE_CHECKING, Annotated, Any

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
    TestOption,
    command_line,
    format_percent,
    read_dataset_with_split,
    write_report,
)
from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    CheckpointOption,
    DeviceOption,
    EngineOption,
    GuidanceOption,
    JsonOption,
    OverwriteOption,
    PrecisionOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    TopKOption,
    TopPOption,
    create_folder,
)
from wavenet.cli.output_paths import check_new_folder, check_output_folder
from wavenet.errors import ConditionError, ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from pathlib import Path

    from wavenet.checkpoint import Checkpoint
    from wavenet.engines.engine import Engine
    from wavenet.evaluation.label_evaluation import ClipEvaluator
    from wavenet.evaluation.labelled_clips import GeneratedClips, LabelledClip
    from wavenet.generation.request import GenerationRequest
    from wavenet.sampling import SamplingConfig
    from wavenet.training.dataset import Dataset

ROW = "{:30} {:>9} {:>9}  {}"


def digits(
    context: typer.Context,
    folder: FolderArgument,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    recipe: RecipeOption = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    test: TestOption = None,
    channel: RecordingChannelOption = None,
    normalize: RecordingNormalizeOption = None,
    count: Annotated[
        int, typer.Option("--count", "-n", min=2, help="Number of clips to generate.")
    ] = 300,
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    guidance: GuidanceOption = None,
    engine_name: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    trade_off: Annotated[
        bool, typer.Option("--trade-off", help="Also vary temperature, top-p and guidance.")
    ] = False,
    clips: Annotated[bool, typer.Option("--clips", help="Write the clips to OUT/clips.")] = False,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Generate clips of all labels (digits, speakers, or others) and compare them with real ones.

    Two classifiers, trained on real recordings only, predict the labels: a support-vector machine
    on MFCCs, and a small convolutional network on log-mel spectrograms. Diversity is the mean
    distance of two clips with the same labels. A clip counts as a copy if it is nearer to a
    training recording than every real test clip is. The Fréchet distance compares the network's
    embeddings with those of the test clips. Every combination of labels is generated equally often,
    with the lengths of real recordings with these labels, and seeds count up from --seed.
    --trade-off varies temperature, top-p and guidance, one at a time, and plots accuracy against
    diversity.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import status_spinner
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.evaluation_plots import (
        plot_accuracy,
        plot_nearest_distances,
        plot_trade_off,
    )
    from wavenet.evaluation.label_evaluation import ClipEvaluator
    from wavenet.evaluation.labelled_clips import plan_requests
    from wavenet.evaluation.provenance import describe_provenance
    from wavenet.sampling import resolve_sampling

    values = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "guidance": guidance}
    if clips and out is None:
        raise ConfigError("--clips needs a folder; add --out")
    names = ["accuracy.png", "nearest.png", *(["trade_off.png"] if trade_off else [])]
    check_output_folder(out, [METRICS_FILE, *names], overwrite)
    if out is not None:
        if clips:
            check_new_folder(out / "clips", overwrite)
        create_folder(out)
    loaded = checkpoints.load(checkpoint, device_for(engine_name, device))
    sampling = resolve_sampling(loaded.config.sampling, **values)
    sources = (folder, recipe, pattern, test)
    dataset = read_dataset_with_split(
        loaded, *sources, metadata=metadata, channel=channel, normalize=normalize
    )
    training, held_out = split_by_use(loaded, dataset)
    requests = plan_requests(training, count, seed)
    engine = make_engine(engine_name, loaded.model, precision, threads)
    generated = generate_clips_for_evaluation(loaded, requests, sampling, engine)
    with status_spinner("training the classifiers"):
        evaluator = ClipEvaluator(training, held_out, loaded.config.audio.sample_rate)
    comparison = evaluator.compare(evaluator.measure(generated.clips))
    settings = {**sampling.model_dump(), "count": count, "seed": seed, "precision": precision}
    report = describe_provenance(loaded, settings, command_line(context))
    report["clips_with_retries"] = generated.clips_with_retries
    report |= {"training_recordings": len(training), **comparison}
    figures = {"accuracy": plot_accuracy(comparison["accuracy_by_value"])}
    figures["nearest"] = plot_nearest_distances(comparison["nearest"]["distances"])
    if trade_off:
        report["trade_off"] = evaluate_trade_off(loaded, evaluator, requests, engine)
        figures["trade_off"] = plot_trade_off(report["trade_off"])
    write_report(out, report, figures, overwrite)
    if clips and out is not None:
        write_clips(out / "clips", generated, loaded.config.audio.sample_rate, overwrite)
    if json_:
        print_json(report)
        return
    print_table(report)


def split_by_use(
    loaded: "Checkpoint", dataset: "Dataset"
) -> "tuple[list[LabelledClip], list[LabelledClip]]":
    """Return the recordings for training and those for test, with the labels to evaluate.

    Raises:
        ConditionError: no label condition has a value in all recordings.
    """
    from wavenet.evaluation.labelled_clips import shared_label_names, to_labelled_clips

    training, held_out = [*dataset.train, *dataset.validation], dataset.test
    names = shared_label_names(loaded.config, [*training, *held_out])
    if not names:
        raise ConditionError(
            f"{loaded.folder} has no label condition with a value in all recordings; use a "
            "--pattern with its labels, or another checkpoint"
        )
    return to_labelled_clips(training, names), to_labelled_clips(held_out, names)


def generate_clips_for_evaluation(
    loaded: "Checkpoint",
    requests: "list[GenerationRequest]",
    sampling: "SamplingConfig",
    engine: "Engine[Any]",
) -> "GeneratedClips":
    """Generate the clips with a progress bar."""
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.evaluation.labelled_clips import generate_clips

    total = sum(request.samples for request in requests)
    with ProgressBar("samples", total) as progress_bar:
        return generate_clips(loaded, requests, sampling, engine, progress_bar)


def evaluate_trade_off(
    loaded: "Checkpoint",
    evaluator: "ClipEvaluator",
    requests: "list[GenerationRequest]",
    engine: "Engine[Any]",
) -> list[dict[str, Any]]:
    """Evaluate all sampling variants with a progress bar."""
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.evaluation.trade_off import evaluate_variants, sampling_variants

    samples = sum(request.samples for request in requests)
    # Plain sampling, the value 1, is a point of every line of the plot; it is generated only once.
    runs = len({variant if variant[1] != 1 else None for variant in sampling_variants(loaded)})
    with ProgressBar("samples", samples * runs) as progress_bar:
        return evaluate_variants(loaded, evaluator, requests, engine, progress_bar)


def write_clips(
    folder: "Path", generated: "GeneratedClips", sample_rate: int, overwrite: bool
) -> None:
    """Write the clips as WAV files, named by labels and seed."""
    from audio_utils import io

    create_folder(folder)
    for clip in generated.clips:
        io.write(folder / f"{clip.name}.wav", clip.waveform, sample_rate, replace=overwrite)


def print_table(report: dict[str, Any]) -> None:
    """Print the metrics of real and of generated clips, and the sampling variants, if any."""
    print_line(ROW.format("metric", "real", "generated", "95 % interval").rstrip())
    real, generated = report["accuracy"]["real"], report["accuracy"]["generated"]
    for classifier, labels in generated.items():
        for name, accuracy in labels.items():
            low, high = (format_percent(bound) for bound in accuracy["interval"])
            fractions = (real[classifier][name]["fraction"], accuracy["fraction"])
            title = f"{classifier}: {name} accuracy, %"
            print_line(ROW.format(title, *map(format_percent, fractions), f"{low} - {high}"))
    nearest, diversity, frechet = report["nearest"], report["diversity"], report["frechet"]
    distances = nearest["real"], nearest["generated"]
    rows = [
        ("diversity within a class", diversity["real"], diversity["generated"]),
        ("nearest training clip, median", *(group["median"] for group in distances)),
        ("nearest training clip, minimum", *(group["minimum"] for group in distances)),
        ("Fréchet distance", frechet["real"], frechet["generated"]),
    ]
    for title, *numbers in rows:
        cells = ["-" if number is None else f"{number:.3f}" for number in numbers]
        print_line(ROW.format(title, *cells, "").rstrip())
    note = f"of {report['clips']['generated']}; {nearest['copies_expected']:.1f} expected by chance"
    print_line(ROW.format("copies", "-", nearest["copies"], note))
    print_line(
        ROW.format("clips with guard retries", "-", report["clips_with_retries"], "").rstrip()
    )
    if "trade_off" in report:
        print_trade_off(report["trade_off"])


def print_trade_off(rows: list[dict[str, Any]]) -> None:
    """Print the table of the sampling variants."""
    heads = ("setting", "value", "accuracy, %", "diversity, %", "Fréchet")
    print_line()
    print_line("{:12} {:>6} {:>12} {:>13} {:>8}".format(*heads))
    for row in rows:
        diversity = "-" if row["diversity"] is None else format_percent(row["diversity"])
        print_line(
            f"{row['setting']:12} {row['value']:>6g} {format_percent(row['accuracy']):>12} "
            f"{diversity:>13} {row['frechet']:>8.1f}"
        )
