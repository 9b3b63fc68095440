"""Tables of recordings: a row per file, in the layouts of common tools.

Input: JSON lines, or a table whose cells are separated by commas, semicolons, tabs or "|", with a
heading or in the layouts of LJSpeech (`id|text|normalised text`) and Piper (`id|text`,
`id|speaker|text`). Output: rows, and with the problem of each row that has another number of cells.
Called by `audio_metadata`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain, islice
from pathlib import Path
from typing import TypeVar

from audio_utils.audio_formats import AUDIO_SUFFIXES
from wavenet.errors import DataError
from wavenet.user_input.close_names import find_close_name, find_equal_name, normalise_name
from wavenet.user_input.separated_text import (
    InvalidRow,
    Rows,
    RowText,
    describe_count,
    find_separators,
    open_rows,
    split_cells,
)

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
_SAMPLED_ROWS = 200  # by which a layout without heading is recognised
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class TableRow:
    """A row of a table.

    Attributes:
        line: number of its first line, from 1; the heading counts.
        file: as written in the table; possibly "", if there is a problem.
        fields: the other columns, by name.
        is_id: whether the table has no heading, so that `file` is usually a name without suffix.
        problem: of a row with another number of cells than the heading or the first row: the end
            of a sentence that begins with "line 3".
    """

    line: int
    file: str
    fields: Mapping[str, str] = field(default_factory=dict)
    is_id: bool = False
    problem: str = ""


def read_table(path: Path) -> Iterator[TableRow]:
    """Read a table; empty rows are skipped.

    Raises:
        DataError: the table cannot be read, has no column of file names, or a row has no file name.
    """
    with open_rows(path) as text:
        if text.is_json:
            yield from _read_json_lines(path, text)
            return
        separator, has_heading = text.separator, True
        if separator is None:
            separator, has_heading = _detect_layout(text.first)
        has_quotes = separator in _QUOTED_SEPARATORS
        if has_heading or has_quotes:
            yield from _rows_with_heading(path, *text.table(separator, has_quotes))
        else:
            rows = _readable_rows(path, text.cell_rows(separator, has_quotes))
            yield from _rows_without_heading(path, rows, separator)


def is_table(path: Path) -> bool:
    """Return whether the first line of a text file is that of a table."""
    try:
        with open_rows(path) as text:
            separator, has_heading = _detect_layout(text.first)
            return text.is_json or has_heading or separator in _LINE_SEPARATORS
    except DataError:
        return False


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
                f"{self._table} line {row.line} has an invalid path: {row.file!r}"
            ) from None
        inside = [(base, path) for base, path in plain if path.is_relative_to(self._folder)]
        if not inside:
            raise DataError(
                f"{self._table} line {row.line} names a file outside its folder: {row.file!r}"
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
    for separator in find_separators(first):
        if separator in _LINE_SEPARATORS:
            names = [normalise_name(cell) for cell in split_cells(first, separator)]
            if names[0] in FILE_COLUMNS or len(known.intersection(names)) > 1:
                return separator, True
            if FILE_COLUMNS[0] not in first:
                return separator, False
    for separator in _QUOTED_SEPARATORS:
        if _file_column(tuple(split_cells(first, separator))) is not None:
            return separator, True
    return _QUOTED_SEPARATORS[-1], False


@lru_cache(maxsize=16)
def _file_column(columns: tuple[str, ...]) -> str | None:
    """Return the column that contains the names of files, or None."""
    equal = (find_equal_name(name, columns) for name in FILE_COLUMNS)
    return next((column for column in equal if column is not None), None)


def _read_json_lines(path: Path, text: RowText) -> Iterator[TableRow]:
    for line, values in _readable_rows(path, text.json_rows()):
        texts = {key: _to_text(value) for key, value in values.items() if value is not None}
        column = _file_column(tuple(key for key in texts if texts[key]))
        if column is None:
            raise DataError(_no_file_message(path, line, tuple(texts)))
        file_name = texts.pop(column)
        yield TableRow(line, file_name, {key: cell for key, cell in texts.items() if key})


def _to_text(value: object) -> str:
    """Return a JSON value as a label: 7.0 as "7"."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _readable_rows(path: Path, rows: Iterator[_Row | InvalidRow]) -> Iterator[_Row]:
    """Yield all rows; raise DataError at one that cannot be read."""
    for row in rows:
        if isinstance(row, InvalidRow):
            raise DataError(f"{path} line {row.line} {row.reason}")
        yield row


def _rows_with_heading(path: Path, names: Sequence[str], rows: Rows) -> Iterator[TableRow]:
    column = _file_column(tuple(names))
    position = names.index(column) if column is not None else 0
    for row in rows:
        if isinstance(row, InvalidRow) and not row.cells:
            raise DataError(f"{path} line {row.line} {row.reason}")
        line, cells = (row.line, row.cells) if isinstance(row, InvalidRow) else row
        if column is None:
            raise DataError(_no_file_message(path, line, names))
        file = cells[position].strip() if position < len(cells) else ""
        if isinstance(row, InvalidRow):
            yield TableRow(line, file, problem=row.reason)
            continue
        if not file:
            raise DataError(_no_file_message(path, line, (FILE_COLUMNS[0],)))
        pairs = zip(names, cells, strict=True)
        yield TableRow(line, file, {n: cell.strip() for n, cell in pairs if n and n != column})


def _rows_without_heading(
    path: Path, rows: Iterator[tuple[int, list[str]]], separator: str
) -> Iterator[TableRow]:
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
    for line, cells in chain(sample, rows):
        if len(cells) != count:
            problem = describe_count(cells, count, "the first row")
            yield TableRow(line, cells[0], problem=problem)
            continue
        if not cells[0]:
            raise DataError(_no_file_message(path, line, (FILE_COLUMNS[0],)))
        fields = {"speaker": cells[1]} if has_speaker else {}
        fields["text"] = cells[-1] or cells[1]
        yield TableRow(line, cells[0], fields, is_id=True)


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


def _no_file_message(path: Path, line: int, columns: Sequence[str]) -> str:
    close = next((c for c in columns if find_close_name(c, FILE_COLUMNS[:4])), None)
    hint = f"; is it the column {close!r}?" if close not in (None, *FILE_COLUMNS) else ""
    return f"{path} line {line} does not name a file; expected a column {FILE_COLUMNS[0]}{hint}"
