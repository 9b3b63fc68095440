"""Audio files of a folder and their fields, from file names or from a metadata table.

Input: a folder, and a pattern such as "{digit}_{speaker}_{index}" or a metadata file. Output: one
`AudioFile` per file that is used, and the other files by reason. Called by `training`, `corpus`,
and the commands that read many files.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import TypeVar

from audio_utils.atomic_files import os_error_reason
from audio_utils.audio_formats import AUDIO_SUFFIXES, readable_suffixes
from wavenet.errors import DataError, PatternMismatch
from wavenet.recordings.left_out_files import (
    ARRAY,
    FOLDER_LINK,
    HIDDEN,
    NOT_AUDIO,
    NOT_IN_PATTERN,
    NOT_IN_TABLE,
    REPEATED,
    UNFIT_ROW,
    UNREAD_SUFFIXES,
    LeftOutCollector,
    LeftOutFiles,
    unread_reason,
)
from wavenet.recordings.metadata_tables import FileFinder, is_table, read_table
from wavenet.recordings.name_patterns import NamePattern, guess_pattern
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.equal_values import merge_number_spellings
from wavenet.user_input.user_paths import expand_home

METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.tsv", "metadata.txt")
_HIDDEN_FOLDERS = ("__MACOSX",)
_REPORTED_FILES = 1000  # between two reports of the number of files
_ValueT = TypeVar("_ValueT")


@dataclass(frozen=True)
class AudioFile:
    """An audio file and its fields, such as {"digit": "7", "speaker": "theo"}.

    Attributes:
        path: of the file.
        fields: by name.
        line: of its row in the table, from 1; None without a table.
    """

    path: Path
    fields: Mapping[str, str] = field(default_factory=dict)
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True)
class AudioListing:
    """The audio files of a folder, and what is left out.

    Attributes:
        files: in the order of their paths, or of the table.
        table: the metadata file with the fields, or None.
        left_out: the other files, by reason.
        folder_errors: a sentence for each subfolder that cannot be read.
        suggested_pattern: one that fits the names that the pattern does not fit, or None.
        merged: by field, the spellings of numbers that were replaced, and the plain ones; see
            `merge_number_spellings`.
    """

    files: list[AudioFile]
    table: Path | None
    left_out: tuple[LeftOutFiles, ...]
    folder_errors: list[str]
    suggested_pattern: str | None = None
    merged: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def ignore(value: object) -> None:
    """Do nothing with a message or a count."""


def find_audio_files(
    folder: Path, pattern: str | None = None, metadata: str | None = None
) -> list[AudioFile]:
    """Return the audio files of a folder with their fields; see `list_audio_files`."""
    return list_audio_files(folder, pattern, metadata).files


def list_audio_files(
    folder: Path,
    pattern: str | None = None,
    metadata: str | None = None,
    on_found: Callable[[int], None] = ignore,
) -> AudioListing:
    """List a folder: the audio files with their fields, and all other files by reason.

    Args:
        folder: searched with its subfolders, except hidden ones.
        pattern: of the end of the path without suffix, with {field} names.
        metadata: a metadata file in the folder; by default one of `METADATA_NAMES`, if there is no
            pattern. Without any of them the files have no fields.
        on_found: receives the number of audio files found so far; it may raise an exception, which
            ends the search.
    Raises:
        DataError: the folder is missing or has no audio, no file name fits the pattern, both a
            pattern and a metadata file are given, or the metadata file is damaged.
    """
    errors: list[str] = []
    left_out = LeftOutCollector()
    misfits: list[str] = []
    files: list[AudioFile] = []
    found = iterate_audio_files(
        folder, pattern, metadata, errors.append, left_out, on_found, misfits
    )
    for file in found:
        files.append(file)
        if len(files) % _REPORTED_FILES == 0:
            on_found(len(files))
    table = find_metadata(folder, metadata) if pattern is None else None
    suggested = _suggest_pattern(misfits, pattern)
    files, merged = _merge_numbers(files)
    return AudioListing(files, table, left_out.groups, errors, suggested, merged)


def iterate_audio_files(
    folder: Path,
    pattern: str | None = None,
    metadata: str | None = None,
    on_error: Callable[[str], None] = ignore,
    left_out: LeftOutCollector | None = None,
    on_found: Callable[[int], None] = ignore,
    misfits: list[str] | None = None,
) -> Iterator[AudioFile]:
    """Yield the files of `list_audio_files` one by one, because there may be a million.

    Args:
        on_error: receives a message for each subfolder that cannot be read.
        left_out: receives the files that are not used.
        on_found: as in `list_audio_files`.
        misfits: receives the names that do not fit the pattern.
    """
    left_out = LeftOutCollector() if left_out is None else left_out
    misfits = [] if misfits is None else misfits
    if pattern is not None and metadata is not None:
        raise DataError(
            f"the pattern {pattern!r} and the table {metadata} both define the fields; omit one "
            "of them"
        )
    name_pattern = None if pattern is None else NamePattern(pattern)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; expected a folder of audio files")
    table = find_metadata(folder, metadata) if pattern is None else None
    if table is not None:
        yield from _iterate_table(table, folder, on_error, left_out)
        return
    names = list_audio_paths(folder, on_error, left_out, on_found=on_found)
    if not names:
        raise DataError(_no_audio_message(folder, left_out))
    first_problem = ""
    has_match = name_pattern is None
    for name in names:
        match = name_pattern.match(name) if name_pattern else None
        if match is not None and match.fields is None:
            first_problem = first_problem or f"{name}: {match.problem}"
            left_out.add(NOT_IN_PATTERN, f"{name} ({match.problem})")
            misfits.append(name)
            continue
        has_match = True
        yield AudioFile(folder / name, match.fields or {} if match else {})
    if not has_match:
        suggested = _suggest_pattern(misfits, pattern)
        other = f"; the names fit {suggested!r}" if suggested else ""
        error = PatternMismatch(
            f"no file name in {folder} fits the pattern {pattern!r}; the first is {first_problem}"
            f"{other}"
        )
        error.suggested_pattern = suggested
        raise error


def _merge_numbers(
    files: list[AudioFile],
) -> tuple[list[AudioFile], dict[str, dict[str, str]]]:
    """Write equal whole numbers of a field in one spelling; return the files and what changed."""
    found = {name: merge_number_spellings(some) for name, some in field_values(files).items()}
    merged = {name: spellings for name, spellings in found.items() if spellings}
    if not merged:
        return files, merged
    return [replace(file, fields=_plain_fields(file.fields, merged)) for file in files], merged


def _plain_fields(
    fields: Mapping[str, str], merged: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    return {name: merged.get(name, {}).get(value, value) for name, value in fields.items()}


def _suggest_pattern(misfits: Sequence[str], pattern: str | None) -> str | None:
    """Suggest another pattern for names that do not fit, with the names of its fields."""
    if not misfits or pattern is None:
        return None
    return guess_pattern(misfits, NamePattern(pattern).fields)


def _no_audio_message(folder: Path, left_out: LeftOutCollector) -> str:
    known = ", ".join(AUDIO_SUFFIXES)
    found = ", ".join(f"{group.reason} ({group.count:,})" for group in left_out.groups)
    return f"{folder} has no audio; expected files that end in {known}" + (
        f"; found files that are {found}" if found else ""
    )


def list_audio_paths(
    folder: Path,
    on_error: Callable[[str], None] = ignore,
    left_out: LeftOutCollector | None = None,
    table: Path | None = None,
    on_found: Callable[[int], None] = ignore,
) -> list[str]:
    """Return the paths of the audio files of a folder, relative to it and sorted.

    Subfolders are searched. Links to folders are not followed, as they may form a loop.

    Args:
        on_error: receives a message for each subfolder that cannot be read.
        left_out: receives all other files.
        table: with the fields, which is not left out.
        on_found: as in `list_audio_files`.
    Raises:
        DataError: the folder itself cannot be read.
    """
    left_out = LeftOutCollector() if left_out is None else left_out

    def handle(error: OSError) -> None:
        message = f"the folder {error.filename} cannot be read: {os_error_reason(error)}"
        if error.filename == str(folder):
            raise DataError(message)
        on_error(message)

    paths: list[str] = []
    for root, folders, files in os.walk(folder, onerror=handle):
        on_found(len(paths))
        folders.sort()  # the order in which they are searched
        relative = os.path.relpath(root, folder).replace(os.sep, "/")
        prefix = "" if relative == "." else f"{relative}/"
        is_hidden = any(map(is_hidden_name, prefix.split("/")))
        for name in folders:
            if os.path.islink(os.path.join(root, name)) and not (is_hidden or is_hidden_name(name)):
                left_out.add(FOLDER_LINK, prefix + name)
        # a folder with the name of a recording is listed, so that reading it reports an error
        named_like_audio = [name for name in folders if is_audio_name(name)]
        for name in (*named_like_audio, *sorted(files)):
            if table and name == table.name and os.path.samefile(os.path.join(root, name), table):
                continue
            if is_hidden or is_hidden_name(name):
                left_out.add(HIDDEN, prefix + name, is_audio=False)
                continue
            if is_audio_name(name):
                paths.append(prefix + name)
                continue
            suffix = PurePath(name).suffix.lower()
            if suffix in UNREAD_SUFFIXES:
                left_out.add(unread_reason(suffix), prefix + name)
            else:
                reason = ARRAY if suffix == ".npy" else NOT_AUDIO
                left_out.add(reason, prefix + name, is_audio=False)
    return sorted(paths, key=lambda path: path.replace("/", "\0"))


def is_hidden_name(name: str) -> bool:
    """Return whether a file or folder is hidden, or added to archives by macOS."""
    return name.startswith(".") or name in _HIDDEN_FOLDERS


def is_audio_name(name: str) -> bool:
    """Return whether a file name has a suffix of an audio format."""
    return name.lower().endswith(readable_suffixes()) and name.lower() not in AUDIO_SUFFIXES


def find_metadata(folder: Path, metadata: str | None = None) -> Path | None:
    """Return the path of the metadata file of a folder, or None.

    Args:
        metadata: its name in the folder, or its path; by default one of `METADATA_NAMES`.
    Raises:
        DataError: the named file does not exist.
    """
    if metadata is not None:
        paths = (folder / metadata, expand_home(metadata))
        table = next((path for path in paths if path.is_file()), None)
        if table is None:
            raise DataError(
                f"{folder} has no file {metadata}; expected the name or path of an existing table"
            )
        return table
    found = (folder / name for name in METADATA_NAMES if (folder / name).is_file())
    # a text file may also contain notes
    return next((path for path in found if path.suffix != ".txt" or is_table(path)), None)


def parse_file_name(pattern: str, stem: str) -> dict[str, str] | None:
    """Return the fields in a file name without suffix, or None if it does not fit the pattern.

    Raises:
        DataError: as `NamePattern`.
    """
    return NamePattern(pattern).match(f"{stem}.wav").fields


def read_metadata(
    path: Path, left_out: LeftOutCollector | None = None, folder: Path | None = None
) -> list[AudioFile]:
    """Read a table; see `metadata_tables`.

    Args:
        path: of the table.
        left_out: receives the rows that do not fit.
        folder: of the files; by default that of the table.
    Raises:
        DataError: a row cannot be read or names a file outside the folder, or there are no rows.
    """
    left_out = LeftOutCollector() if left_out is None else left_out
    return list(_iterate_rows(path, folder or path.parent, left_out, set()))


def match_fields(found: Collection[str], wanted: Iterable[str], source: str) -> dict[str, str]:
    """Return the found names that equal wanted names apart from case and separators.

    Args:
        found: names of the fields, from a user.
        wanted: names that a model or a setting uses.
        source: of the fields, for the message.
    Returns:
        wanted -> found, without names that are equal.
    Raises:
        DataError: a wanted name is missing, and a found one is similar.
    """
    wanted = set(wanted)
    renamed = {}
    for name in sorted(wanted.difference(found)):
        others = sorted(set(found) - wanted)
        equal = find_equal_name(name, others)
        if equal is not None:
            renamed[name] = equal
            continue
        close = find_close_name(name, others)
        if close is not None:
            raise DataError(
                f"{source} has no field {name!r}, but a field {close!r}; rename one of the two"
            )
    return renamed


def rename_fields(
    fields: Mapping[str, _ValueT], renamed: Mapping[str, str]
) -> Mapping[str, _ValueT]:
    """Return fields with the names of `match_fields`."""
    names = {found: name for name, found in renamed.items()}
    return {names.get(name, name): value for name, value in fields.items()} if names else fields


def field_values(files: Iterable[AudioFile]) -> dict[str, set[str]]:
    """Return all values of each field."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    for file in files:
        for name, value in file.fields.items():
            values[name].add(value)
    return dict(values)


def relative_name(path: Path, folder: Path) -> str:
    """Return the name of a file within its folder; paths of a table are resolved."""
    for base in (folder, folder.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.name


def _iterate_table(
    table: Path, folder: Path, on_error: Callable[[str], None], left_out: LeftOutCollector
) -> Iterator[AudioFile]:
    """Yield the files of a table, then compare it with the files of the folder."""
    listed: set[str] = set()
    yield from _iterate_rows(table, folder, left_out, listed)
    resolved = folder.resolve()
    for name in list_audio_paths(folder, on_error, left_out, table):
        path = resolved / name
        if str(path) not in listed and str(path.resolve()) not in listed:
            left_out.add(NOT_IN_TABLE, name)


def _iterate_rows(
    table: Path, folder: Path, left_out: LeftOutCollector, listed: set[str]
) -> Iterator[AudioFile]:
    """Yield the files of the rows that fit.

    Args:
        listed: receives the path of every file that a row names.
    """
    finder = FileFinder(table, folder)
    first_problem, count = "", 0
    fields: dict[str, Mapping[str, str]] = {}
    for row in read_table(table):
        if row.problem:
            problem = f"{table.name} line {row.line} {row.problem}"
            first_problem = first_problem or problem
            left_out.add(UNFIT_ROW, problem)
            with suppress(DataError):  # of a path that cannot be used either
                listed.add(str(finder.find(row)))
            continue
        count += 1
        path = finder.find(row)
        if str(path) in listed:
            differs = fields.get(str(path), row.fields) != row.fields
            other = ", with other fields" if differs else ""
            name = f"{table.name} line {row.line}: {row.file}{other}"
            left_out.add(REPEATED, name, is_audio=differs)
            continue
        listed.add(str(path))
        fields[str(path)] = row.fields
        yield AudioFile(path, row.fields, row.line)
    if not count:
        raise DataError(
            f"no row of {table} can be used: {first_problem}"
            if first_problem
            else f"{table} has no rows; expected a row for each audio file"
        )
