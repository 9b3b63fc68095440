"""`wavenet evaluate stability`: which sentences of a text file a voice cannot speak."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wavenet.cli.evaluate_common import METRICS_FILE, command_line, write_report
from wavenet.cli.evaluate_speech_command import DEFAULT_VOICE, SpeakerOption, VoiceOption
from wavenet.cli.options import (
    JsonOption,
    OverwriteOption,
    SeedOption,
    create_folder,
    print_message,
)
from wavenet.cli.output_paths import check_output_folder
from wavenet.errors import ConfigError, DataError
from wavenet.terminal import print_json, print_line

if TYPE_CHECKING:
    from wavenet.evaluation.speech_stability import StabilityReport

MAX_SHOWN = 40  # findings
SHOWN_TEXT = 60  # characters


def stability(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Text file with a text per line.")],
    voice: VoiceOption = DEFAULT_VOICE,
    seed: SeedOption = 0,
    speaker: SpeakerOption = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Lines of the file, evenly selected; default: all.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Folder for metrics.json.")
    ] = None,
    overwrite: OverwriteOption = False,
    json_: JsonOption = False,
) -> None:
    """Speak every line of a file, and report runaways, skipped words and crashes.

    A token is long from 0.5 s (a phone) or 1 s (a pause) on. A sound is long if its phones and
    pauses do not explain it. Skipped and unclear words are found by forced alignment: they fit the
    sound much worse than those of the other sentences; this needs the package pocketsphinx.
    """
    from wavenet.checkpoint_folders import resolve_checkpoint
    from wavenet.cli.progress_bars import ProgressBar
    from wavenet.evaluation.provenance import describe_voice_provenance
    from wavenet.evaluation.speech_stability import check_stability
    from wavenet.speech.forced_alignment import align_phones, import_decoder
    from wavenet.speech.voice_folder import load_voice

    check_output_folder(out, [METRICS_FILE], overwrite)
    if out is not None:
        create_folder(out)
    loaded = load_voice(voice)
    texts = read_lines(file, limit)
    can_align = True
    try:
        import_decoder()
    except ConfigError as error:
        can_align = False
        print_message(f"words are not checked: {error}")
    with ProgressBar("texts", len(texts)) as progress_bar:
        align = align_phones if can_align else None
        result = check_stability(loaded, texts, align, seed, speaker, progress_bar)
    settings = {"seed": seed, "limit": limit}
    folder = resolve_checkpoint(voice)
    report = describe_voice_provenance(loaded.name, folder, settings, command_line(context))
    report |= {"bad_lines": result.bad_lines(), "counts": result.count(), **asdict(result)}
    write_report(out, report, {}, overwrite)
    if json_:
        print_json(report)
        return
    print_findings(result)


def read_lines(file: Path, limit: int | None) -> list[str]:
    """Return the lines of a text file that are not empty, or some of them, evenly selected.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{file} cannot be read; expected a text file in UTF-8") from None
    lines = [line.strip() for line in content.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{file} is empty; expected a text per line")
    if limit is not None and limit < len(lines):
        lines = [lines[n * len(lines) // limit] for n in range(limit)]
    return lines


def print_findings(report: "StabilityReport") -> None:
    """Print the findings of texts, and how many texts have each kind."""
    for fault in report.faults[:MAX_SHOWN]:
        text = fault.text if len(fault.text) <= SHOWN_TEXT else f"{fault.text[:SHOWN_TEXT]}.."
        print_line(f"{fault.line}: {fault.fault.value}: {fault.reason}; {text}")
    if len(report.faults) > MAX_SHOWN:
        print_line(f"{len(report.faults) - MAX_SHOWN} more; --out and --json list all")
    bad = len(report.bad_lines())
    counts = ", ".join(f"{kind} {count}" for kind, count in report.count().items())
    print_line(
        f"{report.texts - bad} of {report.texts} texts without a finding ({counts}); "
        f"{report.sentences} sentences, {report.aligned} aligned, {report.seconds:.0f} s of sound"
    )
