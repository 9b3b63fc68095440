"""`wavenet data`: recordings, looked at or prepared before anything is trained on them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.options import print_message

if TYPE_CHECKING:
    from wavenet.corpus.format import Report
    from wavenet.training.dataset_report import DatasetReport

app = typer.Typer(help="Look at recordings, or prepare them for training.", no_args_is_help=True)
PatternOption = Annotated[
    str | None,
    typer.Option("--pattern", help="Labels from file names, as {digit}_{speaker}_{index}."),
]
MetadataOption = Annotated[
    str | None,
    typer.Option("--metadata", help="Labels from this table in the folder; else one is found."),
]
VALUES_SHOWN = 12  # of a label, on one line


@app.callback()
def data() -> None:
    """Look at recordings, or prepare them for training."""


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of audio, or a prepared corpus.")],
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tell how many recordings there are, how long, at which rates, with which labels.

    The folder is read as `wavenet train` reads it. A recording counts as clipped where three or
    more neighbouring samples are at full scale, and silence is 10 ms below -60 dB. Files that
    cannot be read are named, and the exit code is then 3.
    """
    from wavenet.cli.progress_bars import progress_bar
    from wavenet.corpus.format import is_corpus
    from wavenet.manifest import find_entries
    from wavenet.training.dataset_report import guess_pattern, scan_dataset

    growing = scan_dataset(folder, pattern, metadata)
    found = next(growing)
    with progress_bar("files", found.files) as advance:
        for newest in growing:
            found = newest
            advance(1)
    if json_:
        typer.echo(json.dumps({"folder": str(folder), **asdict(found)}))
    else:
        for line in describe(found):
            typer.echo(line)
    if found.format is None and not is_corpus(folder):
        guess = guess_pattern([entry.path.name for entry in find_entries(folder)])
        if guess:
            print_message(
                f'the file names would give labels with --pattern "{guess}", by names of your own'
            )
    if found.unreadable_count:
        raise typer.Exit(3)


@app.command()
def prepare(
    folder: Annotated[Path, typer.Argument(help="Folder of audio.")],
    out: Annotated[Path, typer.Option(help="Folder of the corpus, new or begun before.")],
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz; that of the first recording if left out.")
    ] = None,
    pattern: PatternOption = None,
    metadata: MetadataOption = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes; one for each core, 8 at most.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew where settings differ.")
    ] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Bring recordings into one form that training reads without holding them in memory.

    Every recording is read, mixed to one channel, resampled, and rounded to 16 bits. The same
    command goes on after whatever stopped it, and makes again what changed since. Files that cannot
    be read are left out and listed in OUT/skipped.txt, and the exit code is then 3. Train with
    `wavenet train --data OUT`: worthwhile where recordings are more than memory holds.
    """
    from functools import partial

    from wavenet.cli.progress_bars import progress_bar
    from wavenet.corpus.prepare import prepare as run

    try:
        found = run(
            folder,
            out,
            sample_rate,
            pattern,
            metadata,
            workers,
            overwrite,
            show=partial(progress_bar, "files"),
        )
    except KeyboardInterrupt:
        print_message("stopped; the same command goes on")
        raise typer.Exit(130) from None
    for sentence in found.unreadable:
        print_message(f"skipped: {sentence}")
    if found.unreadable_count > len(found.unreadable):
        print_message(f"and more: {found.unreadable_count:,} in all, in {out / 'skipped.txt'}")
    print_message(summary(found))
    typer.echo(json.dumps({"corpus": str(out), **found.model_dump()}) if json_ else str(out))
    if found.unreadable_count:
        raise typer.Exit(3)


def summary(found: "Report") -> str:
    """Say in one line what a corpus holds."""
    rates = f" from {counted(found.rates, 'Hz')}" if len(found.rates) > 1 else ""
    return (
        f"{found.readable:,} of {found.files:,} recordings, {duration(found.seconds)}{rates}; "
        f"clipped: {named(found.clipped_count)}; silence: {found.silent:.1%} of the time"
    )


def describe(found: "DatasetReport") -> list[str]:
    """Put a report into lines for people."""
    rows = [("recordings", f"{found.files:,}, {found.readable:,} of them readable")]
    if found.readable:
        rows += [
            ("length", f"{duration(found.seconds)} in all"),
            ("shortest", f"{found.shortest:.2f} s"),
            ("median", f"{found.median:.2f} s"),
            ("longest", f"{found.longest:.2f} s"),
            ("sample rate", counted(found.rates, "Hz")),
            ("channels", counted(found.channels)),
            ("silence", f"{found.silent:.1%} of the time"),
            ("clipped", named(found.clipped_count, found.clipped)),
        ]
    rows.append(("labels from", found.format or "nowhere"))
    for name, values in found.fields.items():
        more = " .." if len(values) > VALUES_SHOWN else ""
        shown = " ".join(value[:40] for value in values[:VALUES_SHOWN])
        rows.append((f"  {name}", f"{len(values):,}: {shown}{more}"))
    if found.unreadable_count:
        rows.append(("not readable", named(found.unreadable_count)))
        rows += [("", sentence) for sentence in found.unreadable]
    return [f"{name:14} {text}" for name, text in rows]


def duration(seconds: float) -> str:
    """Say a length in the unit that suits it."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} minutes" if seconds < 3600 else f"{seconds / 3600:.1f} hours"


def counted(counts: Mapping[int, int], unit: str = "") -> str:
    """List values, each with its number of files; one value needs no number."""
    words = {value: f"{value} {unit}".rstrip() for value in counts}
    if len(counts) == 1:
        return next(iter(words.values()))
    return ", ".join(f"{words[value]} ({named(number)})" for value, number in counts.items())


def named(count: int, names: Sequence[str] = ()) -> str:
    """Say how many files, and which, as far as they are known."""
    if not count:
        return "no file"
    more = " .." if len(names) < count else ""
    which = f": {' '.join(names)}{more}" if names else ""
    return f"{count:,} {'file' if count == 1 else 'files'}{which}"
