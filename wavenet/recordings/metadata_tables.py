"""Tables of recordings: a row per file, in the layouts of common tools.

Input: JSON lines, or a table whose cells are separated by commas, semicolons, tabs or "|", with a
heading or in the layouts of LJSpeech (`id|text|normalised text`) and Piper (`id|text`,
`id|speaker|text`). Output: rows, and an `UnfitRow` for each row with another number of cells.
Called by `audio_metadata`.
"""

import csv
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TextIO

from audio_utils.audio_formats import AUDIO_SUFFIXES
from wavenet.errors import DataError
from wavenet.recordings.left_out_files import LFS_START
from wavenet.user_input.close_names import find_close_name, find_equal_name, normalise_name
from wavenet.user_input.json_objects import unique_object

# Names of a column with file names, the preferred one first.
FILE_COLUMNS = (
    *("file_name", "audio_filepath", "audio_file", "path", "filename", "file", "filepath"),
    *("file_path", "audio_path", "audio_file_name", "wav", "wav_file", "wav_path", "audio"),
    *("id", "utterance_id", "utt_id"),
)
# Names of other columns, by which a heading is recognised.
_OTHER_COLUMNS = (
    *("name", "text", "sentence", "transcript", "transcription", "normalized_text"),
    *("normalised_text", "speaker", "speaker_id", "speaker_name", "label", "language", "duration"),
)
# Subfolders in which the files of a table are searched, besides the folder of the table.
AUDIO_FOLDERS = ("wavs", "wav", "clips", "audio", "recordings")
_LINE_SEPARATORS = ("\t", "|")  # of tables with one row per line
_QUOTED_SEPARATORS = (";", ",")  # of tables with quoted cells, which may contain line ends
# The first line of a table that Excel writes or reads.
_SEPARATOR_LINE = re.compile(r'"?sep=([,;|]?)"?', re.IGNORECASE)
_SAMPLED_ROWS = 200  # by which a layout without heading is recognised


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        number: of the row, from 1; the heading does not count.
        file: as written in the table.
        fields: the other columns, by name.
        is_id: whether the table has no heading, so that `file` is usually a name without suffix.
    """

    number: int
    file: str
    fields: Mapping[str, str]
    is_id: bool = False


@dataclass(frozen=True)
class UnfitRow:
    """A row with another number of cells than the heading or the first row.

    Attributes:
        line: number of its first line, from 1.
        reason: the end of a sentence that begins with "line 3".
        file: its cell in the column of file names, possibly "".
    """

    line: int
    reason: str
    file: str


def read_table(path: Path) -> Iterator[TableRow | UnfitRow]:
    """Read a table; empty rows are skipped.

    Raises:
        DataError: the table cannot be read, has no column of file names, or a row has no file name.
    """
    try:
        # not splitlines, which also splits at U+2028 and other characters that a text may contain
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "").strip()
            if "\0" in first:
                raise DataError(f"{path} is not UTF-8 text; save it as UTF-8")
            chosen = _SEPARATOR_LINE.fullmatch(first)
            if chosen:  # the rows begin after it; a tab at its end was stripped
                separator = chosen[1] or "\t"
                yield from _rows_with_heading(path, _read_cells(path, file, separator))
                return
            file.seek(0)
            if first.startswith(LFS_START.decode()):
                raise DataError(f"{path} is a Git LFS pointer, not the table; run `git lfs pull`")
            if path.suffix == ".jsonl" or first.startswith("{"):
                yield from _read_json_lines(path, file)
                return
            separator, has_heading = _detect_layout(first)
            rows = _read_cells(path, file, separator)
            if has_heading or separator in _QUOTED_SEPARATORS:
                yield from _rows_with_heading(path, rows)
            else:
                yield from _rows_without_heading(path, rows, separator)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as UTF-8 text: {error}") from None


def is_table(path: Path) -> bool:
    """Return whether the first line of a text file is that of a table."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "").strip()
    except (OSError, UnicodeDecodeError):
        return False
    separator, has_heading = _detect_layout(first)
    return first.startswith("{") or has_heading or separator in _LINE_SEPARATORS


class FileFinder:
    """Finds the files of a table on disk.

    A file is searched under the given path, then in `AUDIO_FOLDERS` and with the suffixes of audio.
    The rule that found the previous file is tried first.

    Args:
        table: path of the table; files are relative to its folder, or to `folder`.
        folder: must contain the files.
    """

    def __init__(self, table: Path, folder: Path):
        self._table, self._folder = table, folder.resolve()
        parents = dict.fromkeys((table.parent.resolve(), self._folder))
        self._bases = [base for base in parents if base.is_relative_to(self._folder)]
        self._newest: tuple[Path, str, str | None] | None = None

    def find(self, row: TableRow) -> Path:
        """Return the absolute path of the file of a row, without links; it may be missing.

        Raises:
            DataError: the path is invalid or outside the folder.
        """
        try:
            plain = [(base, (base / row.file).resolve()) for base in self._bases]
        except (ValueError, OSError, RuntimeError):  # NUL, a lone surrogate, a loop of links
            raise DataError(
                f"{self._table} row {row.number} has an invalid path: {row.file!r}"
            ) from None
        inside = [(base, path) for base, path in plain if path.is_relative_to(self._folder)]
        if not inside:
            raise DataError(
                f"{self._table} row {row.number} names a file outside its folder: {row.file!r}"
            )
        for _, path in inside:
            if os.path.isfile(path):
                return path
        for way in self._ways([base for base, _ in inside]):
            found = self._candidate(way, row.file)
            if found is not None:
                self._newest = way
                return found
        base, path = inside[0]
        return base / f"{AUDIO_FOLDERS[0]}/{row.file}.wav" if row.is_id else path

    def _ways(self, bases: Sequence[Path]) -> Iterator[tuple[Path, str, str | None]]:
        """Yield rules from the text in the table to a path: base, subfolder, suffix or None."""
        if self._newest is not None and self._newest[0] in bases:
            yield self._newest
        for base in bases:
            for subfolder in ("", *(f"{name}/" for name in AUDIO_FOLDERS)):
                for suffix in (None, *AUDIO_SUFFIXES):
                    yield base, subfolder, suffix

    def _candidate(self, way: tuple[Path, str, str | None], file: str) -> Path | None:
        """Return the path of an existing file inside the folder, or None."""
        base, subfolder, suffix = way
        name = file.replace("\\", "/") if suffix is not None or subfolder else file
        if suffix is not None:
            written = next((s for s in AUDIO_SUFFIXES if name.lower().endswith(s)), "")
            name = name[: len(name) - len(written)] + suffix
        path = base / f"{subfolder}{name}"
        if not os.path.isfile(path):
            return None
        resolved = path.resolve()
        return resolved if resolved.is_relative_to(self._folder) else None


def _detect_layout(first: str) -> tuple[str, bool]:
    """Return the separator of a table, and whether its first line is a heading.

    Between "|" or tabs, a text may contain any word: there, a heading must begin with the column of
    file names, or contain two known names.
    """
    known = {normalise_name(name) for name in (*FILE_COLUMNS, *_OTHER_COLUMNS)}
    for separator in _LINE_SEPARATORS:
        if separator in first:
            names = [normalise_name(cell) for cell in _split(first, separator)]
            if names[0] in FILE_COLUMNS or len(known.intersection(names)) > 1:
                return separator, True
            if FILE_COLUMNS[0] not in first:
                return separator, False
    for separator in _QUOTED_SEPARATORS:
        if _file_column(tuple(_split(first, separator))) is not None:
            return separator, True
    return _QUOTED_SEPARATORS[-1], False


@lru_cache(maxsize=16)
def _file_column(columns: tuple[str, ...]) -> str | None:
    """Return the column that contains the names of files, or None."""
    equal = (find_equal_name(name, columns) for name in FILE_COLUMNS)
    return next((column for column in equal if column is not None), None)


def _split(line: str, separator: str) -> list[str]:
    """Split a line without line end into cells; remove the quotes around a whole cell."""
    return [_unquote(cell.strip()) for cell in line.split(separator)]


def _unquote(cell: str) -> str:
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell


def _read_json_lines(path: Path, file: TextIO) -> Iterator[TableRow]:
    number = 0
    for line_number, line in enumerate(file, 1):
        if not line.strip():
            continue
        number += 1
        try:
            values = json.loads(line, object_pairs_hook=unique_object)
        except DataError as error:
            raise DataError(f"{path} line {line_number} {error}") from None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            raise DataError(f"{path} line {line_number} is not a JSON object")
        texts = {key: _to_text(value) for key, value in values.items() if value is not None}
        column = _file_column(tuple(key for key in texts if texts[key]))
        if column is None:
            raise DataError(_no_file_message(path, number, tuple(texts)))
        file_name = texts.pop(column)
        yield TableRow(number, file_name, {key: text for key, text in texts.items() if key})


def _to_text(value: object) -> str:
    """Return a JSON value as a label: 7.0 as "7"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _read_cells(path: Path, file: TextIO, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row that is not empty."""
    if separator not in _QUOTED_SEPARATORS:
        for number, text in enumerate(file, 1):
            cells = _split(text.rstrip("\r\n"), separator)
            if any(cells):
                yield number, cells
        return
    reader = csv.reader(file, delimiter=separator, strict=True)
    number = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield number, cells
            number = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from None


def _rows_with_heading(
    path: Path, rows: Iterator[tuple[int, list[str]]]
) -> Iterator[TableRow | UnfitRow]:
    _, names = next(rows, (0, []))
    names = [name.strip() for name in names]
    while names and not names[-1]:
        names.pop()
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise DataError(
            f"the first line of {path} has the column {repeated!r} twice; rename one of them"
        )
    column = _file_column(tuple(names))
    position = names.index(column) if column is not None else 0
    for number, (line, cells) in enumerate(rows, 1):
        if column is None:
            raise DataError(_no_file_message(path, number, tuple(names)))
        while len(cells) > len(names) and not cells[-1].strip():
            cells = cells[:-1]
        file = cells[position].strip() if position < len(cells) else ""
        if len(cells) != len(names):
            yield _unfit_row(line, cells, len(names), "the heading", file)
            continue
        if not file:
            raise DataError(_no_file_message(path, number, (FILE_COLUMNS[0],)))
        pairs = zip(names, cells, strict=True)
        yield TableRow(number, file, {n: cell.strip() for n, cell in pairs if n and n != column})


def _rows_without_heading(
    path: Path, rows: Iterator[tuple[int, list[str]]], separator: str
) -> Iterator[TableRow | UnfitRow]:
    """Read `id|text`, `id|text|normalised text` or `id|speaker|text`."""
    sample = list(islice(rows, _SAMPLED_ROWS))
    if not sample:
        return
    count = len(sample[0][1])
    if count not in (2, 3):
        raise DataError(
            f"{path} line {sample[0][0]} has {count} cells and is not a heading; expected "
            f"{separator.join(('id', 'text'))}, {separator.join(('id', 'speaker', 'text'))}, or a "
            f"first line that names the columns, one of them {FILE_COLUMNS[0]}"
        )
    has_speaker = count == 3 and _has_speakers([cells for _, cells in sample if len(cells) == 3])
    for number, (line, cells) in enumerate(chain(sample, rows), 1):
        if len(cells) != count:
            yield _unfit_row(line, cells, count, "the first row", cells[0])
            continue
        if not cells[0]:
            raise DataError(_no_file_message(path, number, (FILE_COLUMNS[0],)))
        fields = {"speaker": cells[1]} if has_speaker else {}
        fields["text"] = cells[-1] or cells[1]
        yield TableRow(number, cells[0], fields, is_id=True)


def _has_speakers(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the second of three cells is a speaker, not a text like the third.

    It is a text if, in half of the rows, the third cell is empty, or is at most twice as long and
    contains half of its words.
    """
    texts = 0
    for _, second, third in rows:
        words, others = (set(text.casefold().split()) for text in (second, third))
        is_like = 2 * len(words & others) >= len(words) and 2 * len(words) >= len(others)
        texts += not third or is_like
    return 2 * texts < len(rows)


def _unfit_row(line: int, cells: Sequence[str], expected: int, model: str, file: str) -> UnfitRow:
    found = f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}"
    return UnfitRow(line, f"has {found}, {model} has {expected}", file)


def _no_file_message(path: Path, number: int, columns: Sequence[str]) -> str:
    close = next((c for c in columns if find_close_name(c, FILE_COLUMNS[:4])), None)
    hint = f"; is it the column {close!r}?" if close not in (None, *FILE_COLUMNS) else ""
    return f"{path} row {number} does not name a file; expected a column {FILE_COLUMNS[0]}{hint}"
