"""`wavenet evaluate vocoder`: a vocoder in comparison with Griffin-Lim, by metrics of speech."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audio_utils.optional_packages import install_command
from wavenet.cli.evaluate_common import METRICS_FILE, command_line, write_report
from wavenet.cli.options import (
    CandidatesOption,
    ChannelChoice,
    ChannelOption,
    DeviceOption,
    EngineOption,
    JsonOption,
    NormalizeOption,
    OverwriteOption,
    PrecisionOption,
    SeedOption,
    TemperatureOption,
    ThreadsOption,
    create_folder,
    folder_name,
    print_left_out,
    print_message,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import ConfigError, DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from torch import Tensor

    from audio_utils.levels import Channel
    from wavenet.evaluation.vocoder import ReferenceRecording

HEADER = "group                method       clips   PESQ   STOI  MCD dB   STFT  pitch"


def vocoder(
    context: typer.Context,
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of recordings; each is a group of the table.")
    ],
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint", "-c", help="Folder or name of a checkpoint conditioned on mel."
        ),
    ] = Path("checkpoints/vocoder"),
    seed: SeedOption = 0,
    temperature: TemperatureOption = None,
    candidates: CandidatesOption = 1,
    engine_name: EngineOption = "auto",
    device: DeviceOption = "auto",
    precision: PrecisionOption = "fp32",
    threads: ThreadsOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Recordings per folder, evenly selected.")
    ] = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for metrics.json, and for audio and a plot of one clip per group.",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Compare a vocoder with Griffin-Lim on the same mel spectrograms: PESQ, STOI and distances.

    Higher is better for PESQ and STOI. Lower is better for the mel-cepstral distance (MCD), the
    STFT distance, and the fraction of frames with wrong voicing or pitch. The mean of a metric
    omits recordings for which the metric is undefined, such as very short ones. Two methods are
    filtered to the mel frames: "matched" is the output of the model, "noise" is white noise, a
    control.
    """
    from audio_utils.metrics import missing_packages
    from wavenet import checkpoint as checkpoints
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.engines.registry import device_for, make_engine
    from wavenet.evaluation.provenance import describe_provenance
    from wavenet.evaluation.vocoder import (
        METHODS,
        evaluate_vocoder,
        require_mel_condition,
        summarise_metrics,
    )
    from wavenet.sampling import resolve_sampling

    endings = (".png", *(f"_{name}.wav" for name in ("original", *METHODS)))
    check_group_names(folders)
    names = [f"{folder_name(folder)}{ending}" for folder in folders for ending in endings]
    check_output_folder(out, [METRICS_FILE, *names], overwrite)
    loaded = checkpoints.load(checkpoint, device_for(engine_name, device))
    sampling = resolve_sampling(loaded.config.sampling, temperature=temperature)
    require_mel_condition(loaded)
    rate = loaded.config.audio.sample_rate
    reading = partial(read_group, channel=channel.value, normalize=normalize)
    recordings = [r for folder in folders for r in reading(folder, rate, limit)]
    for package in missing_packages():
        print_message(
            f"{package} is not installed, so its column is empty: {install_command('eval')}"
        )
    write_example = make_example_writer(out, rate, overwrite)
    engine = make_engine(engine_name, loaded.model, precision, threads)
    total = sum(recording.waveform.numel() for recording in recordings)
    with ProgressBar("samples", total) as progress_bar:
        results = list(
            evaluate_vocoder(
                loaded, recordings, sampling, engine, seed, write_example, candidates, progress_bar
            )
        )
    rows = summarise_metrics(results)
    settings = {"limit": limit, "precision": precision}
    report = describe_provenance(loaded, settings, command_line(context))
    report |= {"seed": seed, "sampling": sampling.model_dump(), "candidates": candidates}
    report |= {"groups": rows, "recordings": [vars(result) for result in results]}
    write_report(out, report, {}, overwrite)
    if json_:
        print_json(report)
        return
    print_line(HEADER)
    for row in rows:
        print_row(row)


def check_group_names(folders: list[Path]) -> None:
    """Check that the folders have different names, which are those of the groups.

    Raises:
        ConfigError: two have the same name; their recordings would be one group.
    """
    first: dict[str, Path] = {}
    for folder in folders:
        other = first.setdefault(folder_name(folder), folder)
        if other is not folder:
            raise ConfigError(
                f"{other} and {folder} have the same name, which would be one group of the table; "
                "give each folder once, and rename one of two different ones"
            )


def read_group(
    folder: Path,
    sample_rate: int,
    limit: int | None,
    channel: "Channel" = "mix",
    normalize: bool = False,
) -> "list[ReferenceRecording]":
    """Read the recordings of a folder, or at most `limit` of them, evenly selected.

    Raises:
        DataError: no folder, or no readable file.
    """
    from audio_utils import io
    from audio_utils.errors import AudioError
    from audio_utils.levels import LevelSummary
    from wavenet.evaluation.vocoder import ReferenceRecording
    from wavenet.recordings.audio_metadata import list_audio_files, relative_name
    from wavenet.recordings.left_out_files import LeftOutCollector, merge_groups, unreadable_reason

    listing, unreadable = list_audio_files(folder), LeftOutCollector()
    entries = listing.files
    if limit is not None and limit < len(entries):
        entries = [entries[n * len(entries) // limit] for n in range(limit)]
    recordings, levels = [], LevelSummary()
    for entry in entries:
        try:
            recording = io.read(entry.path, sample_rate, channel=channel, normalize=normalize)
        except AudioError as error:
            print_message(f"skipped: {error}")
            unreadable.add(unreadable_reason(entry.path), relative_name(entry.path, folder))
            continue
        levels = levels.with_file(entry.path.name, recording.levels)
        name = entry.path.name
        recordings.append(ReferenceRecording(folder_name(folder), name, recording.waveform))
    for sentence in levels.sentences():
        print_message(sentence)
    if not recordings:
        raise DataError(f"none of {len(entries)} files of {folder} could be read")
    print_left_out(merge_groups(listing.left_out, unreadable.groups), len(listing.files))
    return recordings


def make_example_writer(out: Path | None, sample_rate: int, overwrite: bool) -> Any:
    """Return a function that writes audio and a plot of the first clip of each group."""
    written: set[str] = set()
    if out is not None:
        create_folder(out)

    def write_example(recording: "ReferenceRecording", waveforms: "Mapping[str, Tensor]") -> None:
        from audio_utils import io, plots

        if out is None or recording.group in written:
            return
        written.add(recording.group)
        by_name = {"original": recording.waveform, **waveforms}
        for name, waveform in by_name.items():
            path = out / f"{recording.group}_{name}.wav"
            io.write(path, waveform.clamp(-1, 1), sample_rate, replace=overwrite)
        figure = plots.plot_mel_comparison(by_name, sample_rate)
        plots.save_figure(figure, out / f"{recording.group}.png", overwrite)

    return write_example


def print_row(row: dict[str, Any]) -> None:
    """Print one row of the table; a dash for a metric that is undefined for all recordings."""
    values = [
        f"{'-' if row[metric] is None else format(row[metric], '.3f'):>{width}}"
        for metric, width in (
            ("pesq", 6),
            ("stoi", 6),
            ("mel_cepstral", 7),
            ("stft", 6),
            ("pitch", 6),
        )
    ]
    print_line(f"{row['group'][:20]:20} {row['method']:12} {row['clips']:5} {' '.join(values)}")
