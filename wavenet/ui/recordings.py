"""The recordings that a run is to learn from: brought together, looked at, put into words.

A typed folder or dropped files enter; a folder, and HTML about what is in it, leave. Called by the
Train tab.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path

from audio_utils import io
from audio_utils.atomic_files import os_error_reason
from audio_utils.example_sound import make_note
from wavenet.audio_metadata import AUDIO_SUFFIXES, METADATA_NAMES
from wavenet.errors import ConditionError, FolderError
from wavenet.training.dataset_report import DatasetReport, guess_pattern
from wavenet.ui.live import fact_list

MAX_FILES = 500
MAX_MEGABYTES = 1000  # of all dropped files together
# Values of a field that a model can learn. One is nothing to choose from; of a field with a value
# for every file (the number of the take, a text) there is nothing to learn.
LABEL_VALUES = range(2, 201)
CHOSEN_VALUES = range(2, 21)
NUMBERING = ("take", "index", "number", "id")  # few values by chance
LITTLE_SECONDS = 60
MUCH_SILENCE = 0.3
VALUES_SHOWN = 8

NOTES = {"c4": 261.6, "e4": 329.6, "g4": 392.0, "c5": 523.3}
TAKES = 5
NOTE_SECONDS = 0.5
NOTE_RATE = 8_000
NOTE_PATTERN = "{note}_{take}"


@contextmanager
def gathered(folder: str | None, dropped: Sequence[str] | None) -> Iterator[Path]:
    """Give the folder that holds the recordings; dropped ones are gone from it afterwards.

    Raises:
        ConditionError: there are none, both kinds, or too many.
    """
    if not dropped:
        yield typed_folder(folder)
        return
    if folder and folder.strip():
        raise ConditionError("a folder and dropped files are both given; take one of them away")
    with tempfile.TemporaryDirectory() as place:
        bring(dropped, Path(place))
        yield Path(place)


def typed_folder(text: str | None) -> Path:
    """Give the folder that a person typed.

    Raises:
        ConditionError: nothing is typed, or there is no such folder.
    """
    if not text or not text.strip():
        raise ConditionError("there are no recordings yet; type a folder, or drop files")
    try:
        folder = Path(text.strip()).expanduser().absolute()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError, ValueError):  # a name too long, no home, NUL
        pass
    raise ConditionError(f"{text.strip()[:200]} is not a folder on this machine")


def bring(dropped: Sequence[str], folder: Path) -> None:
    """Put dropped files into a folder, under names that are safe and differ from each other.

    Raises:
        ConditionError: too many, too large, gone, or of a kind that is not taken.
        FolderError: the folder cannot be written.
    """
    if len(dropped) > MAX_FILES:
        raise ConditionError(
            f"{len(dropped):,} files are dropped, at most {MAX_FILES:,} are taken; put them into a "
            "folder and type its path"
        )
    try:
        megabytes = sum(Path(path).stat().st_size for path in dropped) / 1e6
    except OSError:  # the page keeps uploads for half an hour
        raise ConditionError("the dropped files are gone by now; drop them again") from None
    if megabytes > MAX_MEGABYTES:
        raise ConditionError(
            f"the dropped files have {megabytes:,.0f} MB, at most {MAX_MEGABYTES:,} MB are taken; "
            "put them into a folder and type its path"
        )
    for path in map(Path, dropped):
        target = _free(folder, safe_name(path.name))
        try:
            try:
                os.link(path, target)
            except OSError:  # another disk, or a file system that has no links
                shutil.copyfile(path, target)
        except OSError as error:
            raise FolderError(f"{target} cannot be written: {os_error_reason(error)}") from None


def safe_name(name: str) -> str:
    """Make a file name that is safe everywhere, with the kind of the file and its labels intact.

    Raises:
        ConditionError: a kind of file that is not taken.
    """
    stem, suffix = Path(name).stem, Path(name).suffix.lower()
    if suffix not in AUDIO_SUFFIXES and name not in METADATA_NAMES:
        kinds = ", ".join(AUDIO_SUFFIXES)
        tables = " or ".join(METADATA_NAMES)
        raise ConditionError(f"{name[:100]} is not taken; expected {kinds}, or a table {tables}")
    kept = "".join(c if c.isalnum() or c in "-_ ." else "-" for c in stem).strip(" .")
    # in bytes: other letters than ours take more of them
    return (kept.encode()[:100].decode(errors="ignore") or "recording") + suffix


def _free(folder: Path, name: str) -> Path:
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return target


def write_notes(folder: Path) -> None:
    """Write 20 short notes, named by `NOTE_PATTERN`: something to try the tab with."""
    for name, hertz in NOTES.items():
        for take in range(1, TAKES + 1):
            waveform = make_note(hertz, NOTE_SECONDS, NOTE_RATE, peak=0.3 + 0.1 * take)
            io.write(folder / f"{name}_{take}.wav", waveform, NOTE_RATE)


def label_choices(found: DatasetReport) -> list[tuple[str, str]]:
    """List the fields that a model can learn, as (words, name)."""
    return [
        (f"{name} ({len(values)})", name)
        for name, values in found.fields.items()
        if len(values) in LABEL_VALUES
    ]


def likely_labels(found: DatasetReport) -> list[str]:
    """Choose from these what most people will want: what has few values, and many files each."""
    return [
        name
        for name, values in found.fields.items()
        if len(values) in CHOSEN_VALUES
        and 2 * len(values) <= found.files
        and name.lower() not in NUMBERING
    ]


def suggest(folder: Path) -> str | None:
    """Suggest a pattern that the names of the recordings fit."""
    return guess_pattern(sorted(p.name for p in folder.rglob("*") if p.suffix in AUDIO_SUFFIXES))


def describe(found: DatasetReport, suggestion: str | None = None) -> str:
    """Put a survey into HTML: figures, labels, and what a person should know before training.

    Args:
        suggestion: a pattern that the file names fit.
    """
    facts = {
        "Recordings": f"{found.readable:,}",
        "Together": length(found.seconds),
        "Each": _span(found),
        "Sample rate": _counted(found.rates, " Hz"),
        "Channels": _counted(found.channels),
        "Clipped": f"{found.clipped_count:,} of {found.readable:,}",
        "Silence": "–" if found.silent is None else f"{100 * found.silent:.0f} % of the time",
        "Labels from": found.format or "nowhere",
    }
    if found.done < found.files:
        words = f"Listening: {found.done:,} of {found.files:,} recordings"
        return progress(words, found.done, found.files) + fact_list(facts)
    notes = "".join(f"<li>{escape(words)}</li>" for words in warnings(found))
    if suggestion and not found.fields:
        notes += (
            "<li>The file names have one shape. For labels, type "
            f"<code>{escape(suggestion)}</code> with names of your own as the pattern, and look "
            "again.</li>"
        )
    return fact_list(facts) + _label_table(found) + (f"<ul class='notes'>{notes}</ul>")


def warnings(found: DatasetReport) -> list[str]:
    """Say what of a complete survey will be heard in the result."""
    told = []
    if found.unreadable_count:
        told.append(f"{_files(found.unreadable_count)} left out: {found.unreadable[0]}")
    if found.readable and found.seconds < LITTLE_SECONDS:
        told.append(
            f"Only {length(found.seconds)} of sound: a model learns so little by heart. An hour of "
            "similar recordings is a beginning."
        )
    if found.clipped_count:
        names = ", ".join(found.clipped[:3])
        told.append(
            f"{_files(found.clipped_count)} clipped ({names}): the model will learn the distortion."
        )
    if found.silent is not None and found.silent > MUCH_SILENCE:
        told.append(
            f"{100 * found.silent:.0f} % of the time is silence: the model will be silent as "
            "often. Cut it away first."
        )
    if len(found.rates) > 1:
        told.append(
            "The sample rates differ: all are brought to that of the recipe, and those below it "
            "keep to their low band."
        )
    if any(number > 1 for number in found.channels):
        told.append("Channels are mixed to one.")
    return told


def progress(words: str, done: int, total: int) -> str:
    """Draw a bar under a few words."""
    bar = f"<progress max='{total}' value='{done}'></progress>"
    return f"<label class='bar'><span>{escape(words)}</span>{bar}</label>"


def length(seconds: float) -> str:
    """Write a time as people say it."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _span(found: DatasetReport) -> str:
    if found.shortest is None or found.longest is None or found.median is None:
        return "–"
    if found.shortest == found.longest:
        return f"{found.median:.2f} s"
    return f"{found.shortest:.2f} to {found.longest:.2f} s, median {found.median:.2f} s"


def _counted(counts: Mapping[int, int], unit: str = "") -> str:
    return ", ".join(f"{value:,}{unit}" for value in sorted(counts)) or "–"


def _files(count: int) -> str:
    return "1 recording is" if count == 1 else f"{count:,} recordings are"


def _label_table(found: DatasetReport) -> str:
    rows = []
    for name, values in found.fields.items():
        shown = ", ".join(values[:VALUES_SHOWN]) + (" …" if len(values) > VALUES_SHOWN else "")
        cells = f"<td>{len(values):,}</td><td>{escape(shown)}</td>"
        rows.append(f"<tr><th scope='row'>{escape(name)}</th>{cells}</tr>")
    if not rows:
        return ""
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("Label", "Values", "Such as"))
    body = f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
    return f"<table class='compare found'>{body}</table>"
