"""Audio files of a folder and their fields, from file names or from a metadata table.

Input: a folder, and a pattern such as "{digit}_{speaker}_{index}" or a metadata file. Output: one
`AudioFile` per file. Called by `training`, `corpus`, and the commands that read many files.
"""

import csv
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from audio_utils.atomic_files import os_error_reason
from audio_utils.audio_formats import AUDIO_SUFFIXES, readable_suffixes
from wavenet.errors import DataError

METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
FILE_COLUMNS = ("file_name", "audio_filepath", "audio_file", "path")


@dataclass(frozen=True)
class AudioFile:
    """An audio file and its fields, such as {"digit": "7", "speaker": "theo"}."""

    path: Path
    fields: Mapping[str, str] = field(default_factory=dict)


def _ignore_error(message: str) -> None:
    pass


def find_audio_files(
    folder: Path, pattern: str | None = None, metadata: str | None = None
) -> list[AudioFile]:
    """Return the audio files of a folder with their fields.

    Args:
        folder: searched with its subfolders.
        pattern: of the file name without suffix, with {field} names; it takes precedence over a
            metadata file.
        metadata: name of a metadata file in the folder; by default metadata.jsonl or
            metadata.csv. Without any of them the files have no fields.
    Raises:
        DataError: the folder is missing or has no audio, no file name matches the pattern, or the
            metadata is damaged.
    """
    return list(iterate_audio_files(folder, pattern, metadata))


def iterate_audio_files(
    folder: Path,
    pattern: str | None = None,
    metadata: str | None = None,
    on_error: Callable[[str], None] = _ignore_error,
) -> Iterator[AudioFile]:
    """Yield the files of `find_audio_files` one by one, because there may be a million.

    Args:
        on_error: receives a message for each subfolder that cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of audio files")
    table = find_metadata(folder, metadata) if pattern is None else None
    if table is not None:
        yield from _iterate_metadata(table)
        return
    names = list_audio_paths(folder, on_error)
    if not names:
        known = ", ".join(AUDIO_SUFFIXES)
        raise DataError(f"{folder} has no audio; expected files that end in {known}")
    has_match = pattern is None
    for name in names:
        path = folder / name
        fields = {} if pattern is None else parse_file_name(pattern, path.stem)
        if fields is not None:
            has_match = True
            yield AudioFile(path, fields)
    if not has_match:
        raise DataError(
            f"no file name in {folder} matches the pattern {pattern!r}; the first is "
            f"{PurePath(names[0]).name}"
        )


def list_audio_paths(folder: Path, on_error: Callable[[str], None] = _ignore_error) -> list[str]:
    """Return the paths of the audio files of a folder, relative to it and sorted.

    Subfolders are searched. Links to folders are not followed, as they may form a loop.

    Args:
        on_error: receives a message for each subfolder that cannot be read.
    Raises:
        DataError: the folder itself cannot be read.
    """

    def handle(error: OSError) -> None:
        message = f"the folder {error.filename} cannot be read: {os_error_reason(error)}"
        if error.filename == str(folder):
            raise DataError(message)
        on_error(message)

    paths = []
    for root, folders, files in os.walk(folder, onerror=handle):
        relative = os.path.relpath(root, folder).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        # a folder named like a recording is kept, so that reading it reports an error
        paths += [prefix + name for name in (*folders, *files) if is_audio_name(name)]
    return sorted(paths, key=lambda path: path.replace("/", "\0"))


def is_audio_name(name: str) -> bool:
    """Return whether a file name has a suffix of an audio format."""
    return name.lower().endswith(readable_suffixes()) and name.lower() not in AUDIO_SUFFIXES


def find_metadata(folder: Path, metadata: str | None = None) -> Path | None:
    """Return the path of the metadata file of a folder, or None.

    Args:
        metadata: name of the file; by default one of `METADATA_NAMES`.
    Raises:
        DataError: the named file does not exist.
    """
    names = (metadata,) if metadata else METADATA_NAMES
    table = next((folder / name for name in names if (folder / name).is_file()), None)
    if metadata and table is None:
        raise DataError(
            f"{folder} has no file {metadata}; expected the name of an existing metadata file"
        )
    return table


def parse_file_name(pattern: str, stem: str) -> dict[str, str] | None:
    """Return the fields in a file name without suffix, or None if it does not match the pattern.

    Raises:
        DataError: the pattern has no {field}, or one of them twice.
    """
    parts = re.split(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", pattern)
    names = parts[1::2]
    if not names or len(set(names)) != len(names):
        raise DataError(
            f"the pattern {pattern!r} must name each field once, as in {{digit}}_{{speaker}}"
        )
    regex = "".join(
        f"(?P<{part}>.+?)" if n % 2 else re.escape(part) for n, part in enumerate(parts)
    )
    match = re.fullmatch(regex, stem)
    return match.groupdict() if match else None


def read_metadata(path: Path) -> list[AudioFile]:
    """Read metadata.jsonl, a csv file with a column file_name, or LJSpeech's id|text|text.

    Raises:
        DataError: a row cannot be read or names a file outside the folder, or there are no rows.
    """
    return list(_iterate_metadata(path))


def _iterate_metadata(path: Path) -> Iterator[AudioFile]:
    number = 0
    try:
        for number, row in enumerate(_read_rows(path), 1):
            yield _to_audio_file(path, number, row)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None
    if not number:
        raise DataError(f"{path} has no rows; expected a row for each audio file")


def _read_rows(path: Path) -> Iterator[dict[str, object]]:
    with path.open(encoding="utf-8-sig") as file:
        # not splitlines, which also splits at U+2028 and other characters that a text may contain
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


def _to_audio_file(table: Path, number: int, row: Mapping[str, object]) -> AudioFile:
    column = next((c for c in FILE_COLUMNS if row.get(c)), None)
    if column is None:
        raise DataError(f"{table} row {number} does not name a file; expected a column file_name")
    folder = table.parent.resolve()
    try:
        path = (folder / str(row[column])).resolve()
    except (ValueError, OSError, RuntimeError):  # NUL, a lone surrogate, a loop of links
        raise DataError(f"{table} row {number} has an invalid path: {row[column]!r}") from None
    if not path.is_relative_to(folder):
        raise DataError(f"{table} row {number} names a file outside its folder: {row[column]!r}")
    fields = {str(k): str(v) for k, v in row.items() if k and k != column and v is not None}
    return AudioFile(path, fields)
