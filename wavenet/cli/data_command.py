"""`wavenet data`: report on recordings, prepare them or align speech, before training."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.data_align_command import align
from wavenet.cli.options import (
    ChannelChoice,
    ChannelOption,
    NormalizeOption,
    QuietOption,
    print_message,
)
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.corpus.format import CorpusReport
    from wavenet.training.dataset_report import DatasetReport

app = typer.Typer(
    help="Report on recordings, prepare them, or align speech, before training.",
    no_args_is_help=True,
)
PatternOption = Annotated[
    str | None,
    typer.Option(
        "--pattern", help="Pattern of names: {digit}_{speaker}_* or {label}/{take}; * is ignored."
    ),
]
MetadataOption = Annotated[
    str | None,
    typer.Option(
        "--metadata",
        help="Table with the fields; default: metadata.jsonl, .csv, .tsv or .txt in the folder.",
    ),
]
MAX_VALUES = 12  # values of a field that are printed
MAX_VALUE_LENGTH = 40
SOME_UNREADABLE = 3  # exit code
INTERRUPTED = 130  # exit code


@app.callback()
def data() -> None:
    """Report on recordings, prepare them, or align speech, before training."""


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of audio, or a prepared corpus.")],
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    quiet: QuietOption = False,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Report the number, lengths, sample rates and fields of recordings.

    The folder is read as `wavenet train` reads it. A recording is clipped if three or more
    neighbouring samples are at full scale; silence is 10 ms below -60 dB. Files that cannot be read
    are listed. The exit code is 3 if there are such files, or names that do not fit the pattern.
    All other files that are not used are counted by reason, with the first names. A field is a
    doubtful label if its values seem to be texts or an index, or differ only in case, spaces or the
    spelling of a number. The spellings 3 and 3.0 of one field are merged to 3, in training too.
    """
    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.recordings.left_out_files import describe_large_share
    from wavenet.training.dataset_report import describe_misfits, scan_dataset

    with status_spinner(f"listing {folder}", quiet):
        reports = scan_dataset(folder, pattern, metadata, channel.value, normalize)
        result = next(reports)
    with ProgressBar("files", result.files, quiet) as progress_bar:
        for newest in reports:
            result = newest
            progress_bar.advance(1)
    if json_:
        print_json({"folder": str(folder), **asdict(result)})
    else:
        for line in format_report(result):
            print_line(line)
    misfits = describe_misfits(result)
    if misfits:
        print_message(misfits)
    if result.suggested_pattern and misfits:
        print_message(f'try --pattern "{result.suggested_pattern}" for them')
    elif result.suggested_pattern:
        where = "names of files and folders" if "/" in result.suggested_pattern else "file names"
        print_message(
            f'the {where} contain fields: try --pattern "{result.suggested_pattern}", with your '
            "own names"
        )
    warning = describe_large_share(result.left_out, result.readable)
    if warning:
        print_message(f"WARNING: {warning}")
    if result.unreadable_count or misfits:
        raise typer.Exit(SOME_UNREADABLE)


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of audio.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the corpus: new, or an earlier corpus.")
    ],
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz; default: that of most recordings.")
    ] = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    channel: ChannelOption = ChannelChoice.MIX,
    normalize: NormalizeOption = False,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes; default: one per core, at most 8."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a corpus that has other settings.")
    ] = False,
    quiet: QuietOption = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Convert recordings to one format, so that training does not hold them in memory.

    Every recording is read block by block, mixed to one channel, resampled, and rounded to 16 bits.
    The same command resumes an interrupted preparation, and prepares changed recordings again.
    Unreadable files are skipped and listed in OUT/skipped.txt; the exit code is then 3. Train with
    `wavenet train --data OUT`: useful if the recordings do not fit into memory.
    """
    from wavenet.cli.options import print_left_out
    from wavenet.cli.progress_bars import ProgressBar, status_spinner
    from wavenet.corpus.prepare import prepare_corpus
    from wavenet.user_input.equal_values import describe_merged

    try:
        result = prepare_corpus(
            folder,
            out,
            sample_rate,
            pattern,
            metadata,
            workers,
            overwrite,
            partial(ProgressBar, "files", quiet=quiet),
            print_message,
            channel.value,
            normalize,
            partial(status_spinner, f"listing {folder}", quiet),
        )
    except KeyboardInterrupt:
        print_message("stopped; the same command resumes")
        raise typer.Exit(INTERRUPTED) from None
    for message in result.unreadable:
        print_message(f"skipped: {message}")
    if result.unreadable_count > len(result.unreadable):
        print_message(f"and more: {result.unreadable_count:,} in all, in {out / 'skipped.txt'}")
    print_left_out(result.left_out, result.readable)
    for sentence in result.levels.sentences():
        print_message(sentence)
    for name, merged in result.merged.items():
        print_message(f"note: {describe_merged(name, merged)}")
    print_message(format_summary(result))
    if json_:
        print_json({"corpus": str(out), **result.model_dump()})
    else:
        print_line(out)
    if result.unreadable_count:
        raise typer.Exit(SOME_UNREADABLE)


app.command()(align)


def format_summary(report: "CorpusReport") -> str:
    """Return one line on the content of a corpus."""
    rates = f" from {format_counts(report.rates, 'Hz')}" if len(report.rates) > 1 else ""
    return (
        f"{report.readable:,} of {report.files:,} recordings, "
        f"{format_length(report.seconds)}{rates}; clipped: {format_files(report.clipped_count)}; "
        f"silence: {report.silent:.1%} of the time"
    )


def format_report(report: "DatasetReport") -> list[str]:
    """Return the lines of a report on recordings."""
    from wavenet.recordings.left_out_files import describe_left_out
    from wavenet.training.label_checks import describe_doubt
    from wavenet.user_input.equal_values import describe_merged

    rows = [("recordings", f"{report.files:,}, {report.readable:,} of them readable")]
    if report.readable:
        rows += [
            ("length", f"{format_length(report.seconds)} in all"),
            ("shortest", f"{report.shortest:.2f} s"),
            ("median", f"{report.median:.2f} s"),
            ("longest", f"{report.longest:.2f} s"),
            ("sample rate", format_counts(report.rates, "Hz")),
            ("channels", format_counts(report.channels)),
            ("silence", f"{report.silent:.1%} of the time"),
            ("clipped", format_files(report.clipped_count, report.clipped)),
            *(("level", sentence) for sentence in report.levels.sentences()),
        ]
    rows.append(("fields from", report.field_source or "none"))
    for name, values in report.fields.items():
        more = " .." if len(values) > MAX_VALUES else ""
        shown = " ".join(value[:MAX_VALUE_LENGTH] for value in values[:MAX_VALUES])
        rows.append((f"  {name}", f"{len(values):,}: {shown}{more}"))
    merged = [describe_merged(name, pairs) for name, pairs in report.merged.items()]
    rows += list_rows("merged", merged)
    rows += list_rows("doubtful", [describe_doubt(doubt) for doubt in report.doubts])
    rows += list_rows("left out", describe_left_out(report.left_out))
    if report.unreadable_count:
        rows.append(("unreadable", format_files(report.unreadable_count)))
        rows += [("", message) for message in report.unreadable]
    return [f"{name:14} {text}" for name, text in rows]


def list_rows(name: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return a row for each line; only the first row contains the name."""
    return [(name if n == 0 else "", line) for n, line in enumerate(lines)]


def format_length(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def format_counts(counts: Mapping[int, int], unit: str = "") -> str:
    """Return each value with its number of files; a single value without the number."""
    words = {value: f"{value} {unit}".rstrip() for value in counts}
    if len(counts) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{words[value]} ({format_files(count)})" for value, count in counts.items())


def format_files(count: int, names: Sequence[str] = ()) -> str:
    """Return a number of files, with the known names."""
    if not count:
        return "no file"
    more = " .." if len(names) < count else ""
    known = f": {' '.join(names)}{more}" if names else ""
    return f"{count:,} {'file' if count == 1 else 'files'}{known}"
