"""What is said about audio files beside their sound: fields from file names or from a table.

A folder and a pattern such as "{digit}_{speaker}_{index}", or a metadata file, enter; one `Entry`
per audio file leaves. Called by training and by the commands that take many files.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from wavenet.errors import DataError

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
FILE_COLUMNS = ("file_name", "audio_filepath", "audio_file", "path")


@dataclass(frozen=True)
class Entry:
    """One audio file and its fields, such as {"digit": "7", "speaker": "theo"}."""

    path: Path
    fields: Mapping[str, str] = field(default_factory=dict)


def find_entries(
    folder: Path, pattern: str | None = None, metadata: str | None = None
) -> list[Entry]:
    """List the audio files of a folder with their fields.

    Args:
        folder: searched with its subfolders.
        pattern: of the file name without suffix, with {field} names; it wins over a table.
        metadata: name of a table in the folder; without it metadata.jsonl and metadata.csv are
            looked for, and without those the files have no fields.
    Raises:
        DataError: no folder, no audio in it, a pattern no file fits, a damaged table.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder that holds audio files")
    table = find_table(folder, metadata) if pattern is None else None
    if table is not None:
        return read_table(table)
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        known = ", ".join(AUDIO_SUFFIXES)
        raise DataError(f"{folder} holds no audio; expected files that end in {known}")
    if pattern is None:
        return [Entry(path) for path in paths]
    fitting = [Entry(path, fields) for path in paths if (fields := match(pattern, path.stem))]
    if not fitting:
        raise DataError(
            f"no file name in {folder} fits the pattern {pattern!r}; the first is {paths[0].name}"
        )
    return fitting


def find_table(folder: Path, metadata: str | None = None) -> Path | None:
    """Find the table that says what the files of a folder are.

    Raises:
        DataError: one is named that is not there.
    """
    names = (metadata,) if metadata else METADATA_NAMES
    table = next((folder / name for name in names if (folder / name).is_file()), None)
    if metadata and table is None:
        raise DataError(f"{folder} has no file {metadata}; name the table that it has")
    return table


def match(pattern: str, stem: str) -> dict[str, str] | None:
    """Read the fields out of a file name without suffix; None when it does not fit.

    Raises:
        DataError: the pattern has no {field}, or names one twice.
    """
    parts = re.split(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", pattern)
    names = parts[1::2]
    if not names or len(set(names)) != len(names):
        raise DataError(
            f"the pattern {pattern!r} must name each field once, as in {{digit}}_{{speaker}}"
        )
    regex = "".join(
        f"(?P<{part}>.+?)" if odd else re.escape(part)
        for part, odd in zip(parts, (n % 2 for n in range(len(parts))), strict=True)
    )
    found = re.fullmatch(regex, stem)
    return found.groupdict() if found else None


def read_table(path: Path) -> list[Entry]:
    """Read metadata.jsonl, a csv with a file_name column, or LJSpeech's id|text|text.

    Raises:
        DataError: a line that cannot be read, a file outside the folder, an empty table.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None
    # not splitlines, which would also cut at U+2028 and others that a text may hold
    lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    if path.suffix == ".jsonl":
        rows = [_json_row(path, n, line) for n, line in lines]
    elif lines and "|" in lines[0][1] and "file_name" not in lines[0][1]:
        rows = [_ljspeech_row(line) for _, line in lines]
    else:
        rows = _csv_rows(path, text)
    entries = [_entry(path, n, row) for n, row in enumerate(rows, 1)]
    if not entries:
        raise DataError(f"{path} lists no file")
    return entries


def _json_row(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DataError(f"{path} line {number} is not a JSON object")
    return row


def _csv_rows(path: Path, text: str) -> list[dict[str, object]]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        rows = [dict(row) for row in reader]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None
    return [row for row in rows if any(str(value or "").strip() for value in row.values())]


def _ljspeech_row(line: str) -> dict[str, object]:
    name, *texts = line.split("|")
    return {"file_name": f"wavs/{name}.wav", "text": texts[-1] if texts else ""}


def _entry(table: Path, number: int, row: Mapping[str, object]) -> Entry:
    column = next((c for c in FILE_COLUMNS if row.get(c)), None)
    if column is None:
        raise DataError(f"{table} row {number} names no file; expected a column file_name")
    folder = table.parent.resolve()
    try:
        path = (folder / str(row[column])).resolve()
    except (ValueError, OSError, RuntimeError):  # NUL, a lone surrogate, a loop of links
        raise DataError(
            f"{table} row {number} names no file that can be: {row[column]!r}"
        ) from None
    if not path.is_relative_to(folder):
        raise DataError(f"{table} row {number} names a file outside its folder: {row[column]!r}")
    fields = {str(k): str(v) for k, v in row.items() if k and k != column and v is not None}
    return Entry(path, fields)
