"""What is said about audio files beside their sound: fields from file names or from a table.

A folder and a pattern such as "{digit}_{speaker}_{index}", or a metadata file, enter; one `Entry`
per audio file leaves. Called by training and by the commands that take many files.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from audio_utils.atomic_files import os_error_reason
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
    return list(each_entry(folder, pattern, metadata))


def each_entry(
    folder: Path,
    pattern: str | None = None,
    metadata: str | None = None,
    tell: Callable[[str], None] = lambda sentence: None,
) -> Iterator[Entry]:
    """Give what `find_entries` lists one by one, for there may be a million.

    Args:
        tell: told a sentence for each subfolder that cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give a folder that holds audio files")
    table = find_table(folder, metadata) if pattern is None else None
    if table is not None:
        yield from _table_entries(table)
        return
    names = list_audio(folder, tell)
    if not names:
        known = ", ".join(AUDIO_SUFFIXES)
        raise DataError(f"{folder} holds no audio; expected files that end in {known}")
    fits = pattern is None
    for name in names:
        path = folder / name
        fields = {} if pattern is None else match(pattern, path.stem)
        if fields is not None:
            fits = True
            yield Entry(path, fields)
    if not fits:
        raise DataError(
            f"no file name in {folder} fits the pattern {pattern!r}; the first is "
            f"{PurePath(names[0]).name}"
        )


def list_audio(folder: Path, tell: Callable[[str], None] = lambda sentence: None) -> list[str]:
    """List the audio files of a folder and its subfolders, relative to it, in the order of paths.

    Links to folders are not followed, so that none is gone round in circles.

    Args:
        tell: told a sentence for each subfolder that cannot be read.
    Raises:
        DataError: the folder itself cannot be read.
    """

    def fault(error: OSError) -> None:
        sentence = f"the folder {error.filename} cannot be read: {os_error_reason(error)}"
        if error.filename == str(folder):
            raise DataError(sentence)
        tell(sentence)

    found = []
    for place, folders, files in os.walk(folder, onerror=fault):
        inside = os.path.relpath(place, folder).replace(os.sep, "/")
        start = "" if inside == "." else f"{inside}/"
        # a folder that is named like a recording is told of by who tries to read it
        found += [start + name for name in (*folders, *files) if _is_audio(name)]
    return sorted(found, key=lambda name: name.replace("/", "\0"))


def _is_audio(name: str) -> bool:
    return name.lower().endswith(AUDIO_SUFFIXES) and name.lower() not in AUDIO_SUFFIXES


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
    return list(_table_entries(path))


def _table_entries(path: Path) -> Iterator[Entry]:
    number = 0
    try:
        for number, row in enumerate(_rows(path), 1):
            yield _entry(path, number, row)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None
    if not number:
        raise DataError(f"{path} lists no file")


def _rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8-sig") as file:
        # not splitlines, which would also cut at U+2028 and others that a text may hold
        lines = ((n, line.removesuffix("\n")) for n, line in enumerate(file, 1) if line.strip())
        if path.suffix == ".jsonl":
            yield from (_json_row(path, n, line) for n, line in lines)
            return
        _, first = next(lines, (0, ""))
        if "|" in first and "file_name" not in first:
            yield _ljspeech_row(first)
            yield from (_ljspeech_row(line) for _, line in lines)
            return
    with path.open(encoding="utf-8-sig") as file:
        yield from _csv_rows(path, file)


def _json_row(path: Path, number: int, line: str) -> dict[str, object]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise DataError(f"{path} line {number} is not a JSON object")
    return row


def _csv_rows(path: Path, lines: Iterable[str]) -> Iterator[dict[str, object]]:
    try:
        for row in csv.DictReader(lines, strict=True):
            if any(str(value or "").strip() for value in row.values()):
                yield dict(row)
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None


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
