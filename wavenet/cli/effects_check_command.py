"""`wavenet effects check`: whether a dry and a wet recording can train an effect.

Input: two audio files. Output: a table on stdout, or JSON, and plots in a folder. Called by
`effects_command`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    JsonOption,
    OverwriteOption,
    create_folder,
    print_conversions,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import ConfigError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.effects.pair_measurement import PairMeasures
    from wavenet.effects.pair_report import PairCheck, PairReport

HAS_FAILED = 1  # exit code
REPORT_NAME = "report.json"


def check(
    dry: Annotated[Path, typer.Argument(help="What was played into the effect.")],
    wet: Annotated[Path, typer.Argument(help="What came out of it.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help=f"Folder for a plot of each check, and {REPORT_NAME}."),
    ] = None,
    channel: ChannelOption = ChannelChoice.MIX,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Check a dry and a wet recording before an effect is trained on them.

    Finds the latency by clicks and by correlation, and checks polarity, levels, clipping, noise,
    dropped samples, the speed of both clocks, and whether a repeated part sounds the same again.
    The exit code is 1 if a check failed; warnings do not change it.
    """
    from wavenet.effects.pair_report import CHECKS, judge_pair

    if dry.exists() and wet.exists() and dry.samefile(wet):
        raise ConfigError(f"{dry} is both the dry and the wet recording; expected two files")
    names = [plot_name(name) for name in ("format", *CHECKS)]
    check_output_folder(out, [*names, REPORT_NAME], overwrite)
    measures, wet_rate = _read_and_measure(dry, wet, channel)
    report = judge_pair(measures, wet_rate)
    if out is not None:
        create_folder(out)
        write_report(out, measures, report, overwrite)
    if json_:
        print_json(report.as_json())
    else:
        for line in format_report(report):
            print_line(line)
    if report.verdict == "fail":
        raise typer.Exit(HAS_FAILED)


def _read_and_measure(dry: Path, wet: Path, channel: ChannelChoice) -> tuple["PairMeasures", int]:
    """Read both files at the rate of the dry one; return the measures, and the rate of the wet."""
    from audio_utils import io
    from wavenet.effects.pair_measurement import measure_pair

    first = io.read(dry, channel=channel.value)
    second = io.read(wet, first.sample_rate, channel=channel.value)
    for path, recording in ((dry, first), (wet, second)):
        print_conversions(path, recording, channel)
    waveforms = (first.waveform.numpy(), second.waveform.numpy())
    return measure_pair(*waveforms, first.sample_rate), second.original_rate


def plot_name(check_name: str) -> str:
    """Return the file of the plot of a check."""
    return f"{check_name.lower().replace(' ', '-')}.png"


def write_report(
    folder: Path, measures: "PairMeasures", report: "PairReport", overwrite: bool
) -> None:
    """Write the plot of every check, and the report as JSON."""
    import json

    from audio_utils.atomic_files import atomic_file
    from audio_utils.plots import save_figure
    from wavenet.effects.pair_plots import plot_check

    for check_result in report.checks:
        path = folder / plot_name(check_result.name)
        save_figure(plot_check(measures, check_result), path, overwrite)
    with atomic_file(folder / REPORT_NAME, overwrite) as temporary:
        temporary.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")


def format_report(report: "PairReport") -> list[str]:
    """Return the lines of a report: verdict, name, figure, sentence."""
    lines = [
        f"{check.verdict.value:12} {check.name:16} {format_figure(check):>20}  {check.sentence}"
        for check in report.checks
    ]
    seconds = min(report.seconds)
    return [*lines, f"{report.verdict.value:12} {seconds:.1f} s, latency {report.latency} samples"]


def format_figure(check: "PairCheck") -> str:
    """Return the figure of a check with its unit."""
    return "" if check.figure is None else f"{check.figure:.4g} {check.unit}"
