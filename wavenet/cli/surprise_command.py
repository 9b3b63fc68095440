"""`wavenet surprise`: the improbable places of recordings.

Input: audio files. Output: one line per event on stdout, and labels or a plot; or the calibration
of a checkpoint. Called by `main`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    DEFAULT_CHECKPOINT,
    ChannelChoice,
    ChannelOption,
    CheckpointOption,
    DeviceOption,
    JsonLinesOption,
    NormalizeOption,
    OverwriteOption,
    QuietOption,
    SetOption,
    parse_condition_values,
    print_conversions,
    print_message,
)
from wavenet.cli.output_paths import check_outputs
from wavenet.errors import ConfigError, DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from torch import Tensor

    from wavenet.checkpoint import Checkpoint
    from wavenet.detection.events import Event
    from wavenet.model.conditioning import ConditionValue

FalseAlarmsOption = Annotated[
    float,
    typer.Option(
        "--false-alarms-per-hour",
        help="Accepted number of events in an hour of clean sound, 0.001 to 1800.",
    ),
]
LabelsOption = Annotated[
    Path | None,
    typer.Option("--labels", help="Text file to write: the events as labels of Audacity."),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="PNG to write: waveform, surprise and events.")
]
CalibrateOption = Annotated[
    Path | None,
    typer.Option(
        "--calibrate",
        help="Clean recordings, a folder or a file: measure their surprise, and write it to "
        "surprise.json in the folder of the checkpoint.",
    ),
]
HeldOutOption = Annotated[
    Path | None,
    typer.Option(
        "--held-out",
        help="With --calibrate on recordings of the training: a few clean ones that were held out "
        "of it; they raise the thresholds as far as necessary.",
    ),
]


def surprise(
    files: Annotated[list[Path] | None, typer.Argument(help="Audio files or folders.")] = None,
    checkpoint: CheckpointOption = DEFAULT_CHECKPOINT,
    set_: SetOption = None,
    false_alarms_per_hour: FalseAlarmsOption = 60.0,
    labels: LabelsOption = None,
    plot: PlotOption = None,
    calibrate: CalibrateOption = None,
    held_out: HeldOutOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    device: DeviceOption = "auto",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonLinesOption = False,
) -> None:
    """Print the improbable places of recordings: clicks, dropouts, splices, foreign sounds.

    An event has a start and an end in seconds, its surprise beyond the expected one in bits per
    sample, and the same relative to the threshold. The thresholds are those of a calibration on
    clean recordings, which --calibrate measures.
    """
    from wavenet import checkpoint as checkpoints
    from wavenet.checkpoint import CALIBRATION
    from wavenet.detection.calibration import read_calibration
    from wavenet.engines.registry import device_for
    from wavenet.model.condition_values import resolve_condition_values

    if not files and calibrate is None:
        raise ConfigError("name the audio files, or clean recordings with --calibrate")
    if held_out is not None and calibrate is None:
        raise ConfigError("--held-out has an effect only with --calibrate; omit it")
    check_outputs([path for path in (labels, plot) if path is not None], overwrite)
    loaded = checkpoints.load(checkpoint, device_for("reference", device))
    conditions = resolve_condition_values(loaded.config.model, parse_condition_values(set_))
    reader = _Reader(loaded, conditions, channel, normalize, quiet)
    if calibrate is not None:
        check_outputs([loaded.folder / CALIBRATION], overwrite, "--checkpoint")
        calibrate_on(reader, calibrate, held_out, overwrite)
    if not files:
        return
    thresholds = read_calibration(loaded).thresholds(false_alarms_per_hour)
    paths = reader.list_files(files)
    if len(paths) > 1 and (labels or plot):
        raise ConfigError(f"--labels and --plot are for one recording, found {len(paths)}")
    print_events(reader, paths, thresholds, json_, Outputs(labels, plot, overwrite))


class Outputs:
    """The files that a user requests for one recording, each None if not requested."""

    def __init__(self, labels: Path | None, plot: Path | None, overwrite: bool):
        self.labels, self.plot, self.overwrite = labels, plot, overwrite

    def write(
        self, waveform: "Tensor", excess: "Tensor", rate: int, events: "list[Event]"
    ) -> None:
        """Write labels and plot, and print their paths on stderr."""
        from audio_utils.plots import save_figure
        from wavenet.detection.event_files import write_labels
        from wavenet.detection.event_plots import plot_events

        if self.labels is not None:
            write_labels(self.labels, events, self.overwrite)
            print_message(f"labels: {self.labels}")
        if self.plot is not None:
            figure = plot_events(waveform, excess, rate, events)
            save_figure(figure, self.plot, self.overwrite)
            print_message(f"plot: {self.plot}")


class _Reader:
    """Reads recordings and computes their excess, with messages and progress."""

    def __init__(
        self,
        loaded: "Checkpoint",
        conditions: "Mapping[str, ConditionValue]",
        channel: ChannelChoice,
        normalize: bool,
        quiet: bool,
    ):
        self.loaded, self.conditions = loaded, conditions
        self.quiet, self._channel, self._normalize = quiet, channel, normalize

    def list_files(self, files: list[Path]) -> list[Path]:
        """Return the audio files of files and folders, each once."""
        from wavenet.cli.score_command import list_entries

        return [entry.path for entry in list_entries(files, None, None)]

    def read(self, path: Path) -> "Tensor":
        """Return the waveform of a file; print how it was converted; raise AudioError."""
        from audio_utils import io

        rate = self.loaded.sample_rate
        recording = io.read(path, rate, channel=self._channel.value, normalize=self._normalize)
        print_conversions(path, recording, self._channel.value)
        return recording.waveform

    def excess(self, waveform: "Tensor") -> "Tensor":
        """Return the excess of a recording (T,), with a progress bar."""
        import torch

        from wavenet.cli.progress_bars import ProgressBar
        from wavenet.detection.surprise_excess import excess_windows

        parts = []
        with ProgressBar("samples", waveform.numel(), self.quiet) as progress_bar:
            for part in excess_windows(self.loaded, waveform, self.conditions):
                parts.append(part)
                progress_bar.advance(part.numel())
        return torch.cat(parts)


def calibrate_on(
    reader: _Reader, folder: Path, held_out: Path | None, overwrite: bool
) -> None:
    """Measure the surprise of clean recordings, and write it to the folder of the checkpoint.

    Args:
        folder: of the clean recordings; held_out: of further ones, None for none.
    Raises:
        DataError: there is too little clean sound, or no held-out recording can be read.
        CheckpointError: the file cannot be written.
    """
    from audio_utils.errors import AudioError
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.detection.calibration import calibrate, write_calibration

    paths = reader.list_files([folder])
    others = reader.list_files([held_out]) if held_out is not None else []
    with ProgressBar("recordings", len(paths) + len(others), reader.quiet) as progress_bar:

        def waveforms(files: list[Path]) -> "Iterator[Tensor]":
            failed = 0
            for path in files:
                try:
                    yield reader.read(path)
                except AudioError as error:
                    failed += 1
                    progress_bar.message(f"skipped: {error}")
                progress_bar.advance(1)
            if failed and failed == len(files):
                raise DataError(f"none of {failed} recordings can be read; name other recordings")

        found = calibrate(reader.loaded, waveforms(paths), reader.conditions, waveforms(others))
    path = write_calibration(reader.loaded.folder, found, overwrite)
    print_message(f"{path}: {found.recordings:,} recordings, {60 * found.hours:.1f} minutes")


def print_events(
    reader: _Reader,
    paths: list[Path],
    thresholds: Mapping[float, float],
    as_json: bool,
    outputs: Outputs,
) -> None:
    """Find and print the events of every file; write the requested files.

    Raises:
        DataError: no file could be read.
    """
    from audio_utils.errors import AudioError
    from wavenet.detection.events import select_events

    rate, count, seconds, failed = reader.loaded.sample_rate, 0, 0.0, 0
    for path in paths:
        try:
            waveform = reader.read(path)
        except AudioError as error:
            print_message(f"skipped: {error}")
            failed += 1
            continue
        excess = reader.excess(waveform)
        events = select_events(excess, rate, thresholds)
        count, seconds = count + len(events), seconds + waveform.numel() / rate
        _print_file(path, waveform.numel() / rate, events, as_json)
        outputs.write(waveform, excess, rate, events)
    if failed == len(paths):
        raise DataError(f"none of the {len(paths)} files could be read")
    found = "1 improbable place" if count == 1 else f"{count:,} improbable places"
    print_message(f"{found} in {seconds:,.1f} s")
    if failed:
        print_message(f"{failed} of {len(paths)} files were skipped")
        raise typer.Exit(3)


def _print_file(path: Path, seconds: float, events: "list[Event]", as_json: bool) -> None:
    """Print the events of a file: a line each, or one JSON object."""
    if as_json:
        rows: list[dict[str, Any]] = [asdict(event) for event in events]
        print_json({"file": str(path), "seconds": seconds, "events": rows})
        return
    for event in events:
        span = f"{event.start:.4f} to {event.end:.4f} s"
        print_line(span, f"{event.peak_surprise:.2f} bits", f"{event.ratio:.1f}x", path)
