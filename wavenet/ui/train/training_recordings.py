"""The recordings for a training run: collected from a folder or from uploads, and described.

Input: the path of a folder, typed by the user, or uploaded files. Output: a folder, and HTML about
its content. Called by the Train tab.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from audio_utils.atomic_files import os_error_reason
from audio_utils.audio_formats import AUDIO_SUFFIXES
from wavenet.errors import ConditionError, FolderError
from wavenet.recordings.audio_metadata import METADATA_NAMES, is_audio_name
from wavenet.recordings.left_out_files import (
    LeftOutFiles,
    describe_large_share,
    describe_left_out,
)
from wavenet.training.dataset_report import DatasetReport, describe_misfits
from wavenet.training.label_checks import describe_doubt
from wavenet.ui.page_text import format_duration, without_options
from wavenet.ui.server.uploads import valid_file_name
from wavenet.ui.templates import render
from wavenet.user_input.equal_values import describe_merged

MAX_FILES = 500
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".json")
MAX_MEGABYTES = 1000  # of all uploaded files together
# Numbers of values of a field that can be a condition: a field with one value offers no choice, and
# a field with more values is usually a text or an index.
LEARNABLE_VALUES = range(2, 201)
SUGGESTED_VALUES = range(2, 21)
# Names of fields that usually only number the files; such a field is never preselected.
INDEX_NAMES = ("take", "index", "number", "id")
SHORT_SECONDS = 60  # below this a warning is shown
HIGH_SILENCE = 0.3  # above this a warning is shown
VALUES_SHOWN = 8


@contextmanager
def collected_recordings(
    folder: str | None, uploads: Sequence[str] | None, has_table: bool = False
) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folder with the recordings; the folder of uploads is deleted afterwards.

    Also yield a phrase for each upload that is not used.

    Args:
        folder: typed by the user.
        uploads: paths of dropped files.
        has_table: as in `copy_uploads`.
    Raises:
        ConditionError: no recordings, both a folder and uploads, or too many files.
    """
    if not uploads:
        yield check_folder(folder), []
        return
    if folder and folder.strip():
        raise ConditionError("a folder and uploaded files are both given; remove one of them")
    with tempfile.TemporaryDirectory() as temporary:
        rejected = copy_uploads(uploads, Path(temporary), has_table)
        yield Path(temporary), rejected


def check_folder(text: str | None) -> Path:
    """Return the folder whose path the user typed.

    Raises:
        ConditionError: the path is empty, or is not a folder.
    """
    if not text or not text.strip():
        raise ConditionError("there are no recordings; enter a folder, or drop files")
    try:
        folder = Path(text.strip()).expanduser().absolute()
        if folder.is_dir():
            return folder
    except (OSError, RuntimeError, ValueError):
        pass  # the name is too long, ~ has no meaning here, or the text contains NUL
    raise ConditionError(f"{text.strip()[:200]} is not a folder on this machine")


def copy_uploads(uploads: Sequence[str], folder: Path, has_table: bool = False) -> list[str]:
    """Copy or link uploaded recordings and tables into a folder, under their own names.

    If there is no table, a name that occurs again receives a number. Other files are left out.

    Args:
        uploads: paths of dropped files.
        folder: receives them.
        has_table: whether a table that is not one of them refers to the names.
    Returns:
        Name and reason of each file that is left out.
    Raises:
        ConditionError: the files are too many, too large or deleted, or none of them is used.
        FolderError: the folder cannot be written.
    """
    if len(uploads) > MAX_FILES:
        raise ConditionError(
            f"{len(uploads):,} files were dropped; at most {MAX_FILES:,} are accepted; put them "
            "into a folder and enter its path"
        )
    rejected: list[str] = []
    used: list[tuple[str, str]] = []
    for path in uploads:
        try:
            used.append((path, safe_name(path)))
        except ConditionError as error:
            rejected.append(str(error))
    if not used:
        raise ConditionError(f"none of the dropped files is a recording: {rejected[0]}")
    try:
        megabytes = sum(Path(path).stat().st_size for path, _ in used) / 1e6
    except OSError:  # uploads are deleted after half an hour
        raise ConditionError("the dropped files were deleted; drop them again") from None
    if megabytes > MAX_MEGABYTES:
        raise ConditionError(
            f"the dropped files have {megabytes:,.0f} MB; at most {MAX_MEGABYTES:,} MB are "
            "accepted; put them into a folder and enter its path"
        )
    names = [name for _, name in used]
    repeated = next((name for name in names if names.count(name) > 1), None)
    has_table = has_table or not set(names).isdisjoint(METADATA_NAMES)
    if repeated is not None and has_table:
        raise ConditionError(
            f"two dropped files are named {repeated}, so the table cannot distinguish them; "
            "rename one of them, or put all files into a folder and enter its path"
        )
    for path, name in used:
        target = _unused_path(folder, name)
        try:
            try:
                os.link(path, target)
            except OSError:  # another disk, or a file system without links
                shutil.copyfile(path, target)
        except OSError as error:
            raise FolderError(f"{target} cannot be written: {os_error_reason(error)}") from None
    return rejected


def safe_name(path: str) -> str:
    """Return the file name of an upload, unchanged if valid: tables and patterns refer to it.

    Raises:
        ConditionError: an unsupported file type.
    """
    name = valid_file_name(Path(path).name)
    if not is_audio_name(name) and name not in METADATA_NAMES:
        types = ", ".join(AUDIO_SUFFIXES)
        tables = " or ".join(METADATA_NAMES)
        raise ConditionError(
            f"{name[:100]} is not supported; expected {types}, or a table {tables}"
        )
    return name


def stored_table_name(path: str) -> str:
    """Return the name of a table in the folder of a run: its layout depends on the suffix."""
    return f"table{Path(path).suffix.lower()}"


def _unused_path(folder: Path, name: str) -> Path:
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
    return target


def label_choices(fields: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return the fields that a model can learn, as (text, name), from their values by name."""
    return [
        (f"{name} ({len(values)})", name)
        for name, values in fields.items()
        if len(values) in LEARNABLE_VALUES
    ]


def suggested_labels(report: DatasetReport) -> list[str]:
    """Return the fields that most users need: those with few values and several files per value."""
    return [
        name
        for name, values in report.fields.items()
        if len(values) in SUGGESTED_VALUES
        and 2 * len(values) <= report.files
        and name.lower() not in INDEX_NAMES
    ]


def describe_progress(progress: int | DatasetReport, is_stopped: bool = False) -> str:
    """Return HTML of a scan that has not ended.

    Args:
        progress: number of files found so far, or the report on those that have been read.
        is_stopped: whether the user stopped the scan.
    """
    verb = "Stopped after" if is_stopped else "Reading:"
    is_search = isinstance(progress, int)
    report = DatasetReport(progress) if isinstance(progress, int) else progress
    found = f"{report.files:,} recordings found"
    read = f"{report.done:,} of {report.files:,} recordings"
    return render(
        "train/report.html",
        progress=f"{verb} {found if is_search else read}",
        total=0 if is_search else report.files,
        done=report.done,
        facts=None if is_search else _facts(report),
        labels=(),
        notes=(),
    )


def describe_report(report: DatasetReport, rejected: Sequence[str] = ()) -> str:
    """Return HTML of a complete report: facts, fields, and warnings.

    Args:
        report: on the recordings.
        rejected: name and reason of each dropped file that is not used.
    """
    misfits = describe_misfits(report)
    notes = [f"{misfits}."] if misfits else []
    if report.suggested_pattern:
        whose = "These names" if misfits else "The names"
        notes.append(
            f"{whose} fit the pattern {report.suggested_pattern}: press the button above, then "
            "replace the names of the fields by your own."
        )
    notes += [f"Not used: {sentence}" for sentence in rejected]
    notes += report_warnings(report)
    notes += [f"Merged: {describe_merged(name, pairs)}" for name, pairs in report.merged.items()]
    notes += [f"Doubtful label: {describe_doubt(doubt)}" for doubt in report.doubts]
    notes += [f"Left out: {line}" for line in describe_left_out(_others_left_out(report))]
    labels = [
        (name, f"{len(values):,}", ", ".join(values[:VALUES_SHOWN]) + _more(values))
        for name, values in report.fields.items()
    ]
    return render(
        "train/report.html", progress=None, facts=_facts(report), labels=labels, notes=notes
    )


def _others_left_out(report: DatasetReport) -> list[LeftOutFiles]:
    """Return the files that are left out, without a single one that a warning names."""
    if report.unreadable_count != 1:
        return list(report.left_out)
    named = report.unreadable[0]
    return [g for g in report.left_out if g.count != 1 or g.names[0] not in named]


def _facts(report: DatasetReport) -> dict[str, str]:
    return {
        "Recordings": f"{report.readable:,}",
        "Total length": format_duration(report.seconds),
        "Length of each": _length_range(report),
        "Sample rate": _join_keys(report.rates, " Hz"),
        "Channels": _join_keys(report.channels),
        "Clipped": f"{report.clipped_count:,} of {report.readable:,}",
        "Silence": "–" if report.silent is None else f"{100 * report.silent:.0f} % of the time",
        "Source of fields": report.field_source or "none",
    }


def _more(values: Sequence[str]) -> str:
    return " …" if len(values) > VALUES_SHOWN else ""


def report_warnings(report: DatasetReport) -> list[str]:
    """Return the warnings about the recordings of a complete report."""
    warnings = []
    large_share = describe_large_share(report.left_out, report.readable)
    if large_share:
        warnings.append(f"Warning: {large_share}.")
    if report.unreadable_count:
        reason = without_options(report.unreadable[0])
        warnings.append(f"{_count_recordings(report.unreadable_count)} skipped: {reason}")
    if report.readable and report.seconds < SHORT_SECONDS:
        warnings.append(
            f"Only {format_duration(report.seconds)} of audio: a model will memorise it. Use "
            "at least one hour of similar recordings."
        )
    if report.clipped_count:
        names = ", ".join(report.clipped[:3])
        warnings.append(
            f"{_count_recordings(report.clipped_count)} clipped ({names}): the model will learn "
            "the distortion."
        )
    warnings += [f"{sentence}." for sentence in report.levels.sentences(advise=False)]
    if report.silent is not None and report.silent > HIGH_SILENCE:
        warnings.append(
            f"{100 * report.silent:.0f} % of the time is silence, which the model will learn too. "
            "Remove the silence first."
        )
    if len(report.rates) > 1:
        warnings.append(
            "The sample rates differ: all recordings are resampled to the rate of the recipe. "
            "Recordings with a lower rate have no high frequencies."
        )
    if any(number > 1 for number in report.channels):
        warnings.append("Channels are mixed to mono.")
    return warnings


def _length_range(report: DatasetReport) -> str:
    if report.shortest is None or report.longest is None or report.median is None:
        return "–"
    if report.shortest == report.longest:
        return f"{report.median:.2f} s"
    return f"{report.shortest:.2f} to {report.longest:.2f} s, median {report.median:.2f} s"


def _join_keys(counts: Mapping[int, int], unit: str = "") -> str:
    return ", ".join(f"{value:,}{unit}" for value in sorted(counts)) or "–"


def _count_recordings(count: int) -> str:
    return "1 recording is" if count == 1 else f"{count:,} recordings are"
