"""`wavenet data align`: the times of the phones in the clips of a speech corpus.

Input: a folder in the layout of LJSpeech. Output: `alignment.jsonl`, findings on stderr, and
pictures on request. Called by `data_command`.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wavenet.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    print_message,
)
from wavenet.cli.text_input import PronunciationsOption, read_pronunciations
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.speech.align_corpus import CorpusAlignment
    from wavenet.speech.alignment_checks import AlignmentFindings

SOME_FAILED = 3  # exit code
INTERRUPTED = 130  # exit code
MAX_SHOWN = 10  # lines of each kind
MANY_FAILED = 0.2  # of all clips


def align(
    folder: Annotated[
        Path, typer.Argument(help="Folder with metadata.csv and wavs/, as LJSpeech has it.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="File to write; default: alignment.jsonl in FOLDER."),
    ] = None,
    pronunciations: PronunciationsOption = None,
    plot: Annotated[
        list[str] | None,
        typer.Option("--plot", help="Draw a clip: --plot ID=FILE.png. Repeatable."),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            help="Draw clips into this folder, as ID.png: those with the lowest scores, then the "
            "first of the table, half of each."
        ),
    ] = None,
    plot_count: Annotated[
        int | None, typer.Option(min=1, help="Pictures of --plots; default: 10.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Processes; default: one per core, at most 8."),
    ] = None,
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
    json_: JsonOption = False,
) -> None:
    """Find when each phone is spoken in the clips of a speech corpus.

    metadata.csv has lines ID|TEXT or ID|TEXT|NORMALISED TEXT; the recordings are wavs/ID.wav or
    .flac. The same command resumes an interrupted run, and aligns changed clips again. Clips that
    cannot be aligned are recorded with the reason; the exit code is then 3. Clips whose text may
    not match the recording, and words that are not in the dictionary, are listed. Needs the package
    pocketsphinx. --overwrite replaces pictures.
    """
    from wavenet.cli.alignment_pictures import draw_pictures, plan_pictures
    from wavenet.cli.output_paths import check_outputs
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.speech.align_corpus import align_corpus
    from wavenet.speech.alignment_checks import check_alignment
    from wavenet.speech.alignment_file import FILE_NAME

    path = out or folder / FILE_NAME
    check_outputs([path], overwrite=True)
    plan = plan_pictures(folder, plot, plots, plot_count, overwrite)
    user = {} if pronunciations is None else read_pronunciations(pronunciations)
    try:
        result = align_corpus(
            folder, path, user, workers, partial(ProgressBar, "clips", quiet=quiet)
        )
    except KeyboardInterrupt:
        print_message("stopped; the same command resumes")
        raise typer.Exit(INTERRUPTED) from None
    findings = check_alignment(result.clips)
    for line in describe_result(result, findings):
        print_message(line)
    pictures = draw_pictures(folder, result.clips, plan)
    if json_:
        print_json(_make_document(path, result, findings, pictures))
    else:
        for written in (path, *pictures.values()):
            print_line(written)
    if result.failed or result.problems:
        raise typer.Exit(SOME_FAILED)


def describe_result(result: "CorpusAlignment", findings: "AlignmentFindings") -> list[str]:
    """Return the lines that a person reads after a run."""
    lines = _shorten("left out", result.problems)
    lines += _shorten("failed", [f"{clip.id}: {clip.error}" for clip in result.failed])
    total = len(result.clips) + len(result.failed)
    if len(result.failed) > MANY_FAILED * total:
        lines.append(
            f"WARNING: {len(result.failed):,} of {total:,} clips failed; do the ids of the table "
            "belong to these recordings, and is the text English?"
        )
    lines += _shorten(
        "doubtful",
        [
            f"{clip.id}: {clip.words!r} at {clip.start:.2f} to {clip.end:.2f} s (score "
            f"{clip.score:.2f}, usually {clip.typical:.2f})"
            for clip in findings.doubtful
        ],
    )
    lines += _shorten(
        "unusual speed",
        [
            f"{clip.id}: {clip.speed:.1f} phones per second, usually {clip.typical:.1f}"
            for clip in findings.speeds
        ],
    )
    if findings.long:
        lines += _shorten("above 20 s", findings.long)
    if findings.letters:
        shown = [f"{word} ({count})" for word, count in findings.letters.items()]
        more = f" and {len(shown) - MAX_SHOWN} more" if len(shown) > MAX_SHOWN else ""
        lines.append(
            f"not in the dictionary, pronounced by their letters: {', '.join(shown[:MAX_SHOWN])}"
            f"{more}"
        )
    return [*lines, _summarise(result, findings)]


def _summarise(result: "CorpusAlignment", findings: "AlignmentFindings") -> str:
    from wavenet.cli.data_command import format_length

    total = len(result.clips) + len(result.failed)
    text = f"{len(result.clips):,} of {total:,} clips aligned"
    if result.reused:
        text += f", {result.reused:,} of them by an earlier run"
    if findings.score is None:
        return text
    seconds = sum(clip.seconds for clip in result.clips)
    phones = sum(clip.phone_count for clip in result.clips)
    return (
        f"{text}: {format_length(seconds)}, {phones:,} phones, {findings.speed:.1f} per second "
        f"of speech; median score {findings.score:.2f}"
    )


def _shorten(kind: str, lines: "tuple[str, ...] | list[str]") -> list[str]:
    """Return the first lines with their kind, and the number of the others."""
    shown = [f"{kind}: {line}" for line in lines[:MAX_SHOWN]]
    more = len(lines) - len(shown)
    return [*shown, f"{kind}: {more:,} more; --json lists all"] if more else shown


def _make_document(
    path: Path,
    result: "CorpusAlignment",
    findings: "AlignmentFindings",
    pictures: dict[str, Path],
) -> dict[str, Any]:
    return {
        "alignment": str(path),
        "clips": len(result.clips),
        "reused": result.reused,
        "seconds": sum(clip.seconds for clip in result.clips),
        "phones": sum(clip.phone_count for clip in result.clips),
        "failed": [clip.model_dump() for clip in result.failed],
        "left_out": list(result.problems),
        **asdict(findings),
        "plots": {name: str(picture) for name, picture in pictures.items()},
    }
