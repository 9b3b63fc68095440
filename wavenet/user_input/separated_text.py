"""Read text files with a row per line: JSON objects, or cells between separators.

Input: a file in UTF-8 of any length. Output: its rows with the numbers of their first lines, and an
`InvalidRow` for each row that cannot be read. Lines are counted from 1, the heading included. Only
one row is in memory at a time. Called by the readers of manifests and of metadata tables.
"""

import csv
import json
import math
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from wavenet.errors import DataError
from wavenet.user_input.json_objects import unique_object

MAX_LINE_LENGTH = 1 << 20  # characters
SEPARATORS = {"\t": "a tab", "|": "a vertical bar", ";": "a semicolon", ",": "a comma"}
LFS_START = b"version https://git-lfs.github.com/spec/"
_JSON_SUFFIXES = (".jsonl", ".ndjson")
_UTF_16 = 'UTF-16 text ("Unicode text" of Excel) or not text; save it as "CSV UTF-8"'
# Beginnings of files that cannot be read, and a description of each kind.
_OTHER_FILES = {
    rb"\xff\xfe|\xfe\xff|\s*[^\n]*\0": _UTF_16,
    rb"PK\x03\x04": 'a workbook or a zip file; save it as "CSV UTF-8"',
    rb"\s*\[\s*[{\]]": "one JSON array; write one JSON object per line, without [ and ]",
    re.escape(LFS_START): "a Git LFS pointer, not the table; run `git lfs pull`",
}
# The first line of a table from Excel that declares its separator, such as "sep=;".
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be used.

    Attributes:
        line: number of its first line.
        reason: the end of a sentence that begins with "line 3".
        cells: of a row with another number of cells than the heading.
    """

    line: int
    reason: str
    cells: tuple[str, ...] = ()


Rows = Iterator[tuple[int, list[str]] | InvalidRow]  # line number and cells


class RowText:
    """The text of an open file.

    Attributes:
        first: the first line that is not empty, without spaces around it; a line such as "sep=;"
            does not count.
        separator: from a line such as "sep=;", or None.
        is_json: whether the lines are JSON objects.

    Args:
        path: of the file.
        file: open at its beginning; a byte that is not UTF-8 is a lone surrogate.
    Raises:
        DataError: a line "sep=" has an unknown separator.
    """

    def __init__(self, path: Path, file: TextIO):
        self._path = path
        self._lines = _read_lines(file)
        self.separator: str | None = None
        first = self._next_line()
        chosen = (
            _SEPARATOR_LINE.fullmatch(first[1].strip(" ")) if isinstance(first, tuple) else None
        )
        if chosen:
            self.separator = chosen[1]
            if self.separator not in SEPARATORS:
                known = ", ".join(SEPARATORS.values())
                raise DataError(f"{path} has {chosen[0]!r}; expected {known} as the separator")
            first = self._next_line()
        if first is not None:
            self._lines = chain([first], self._lines)
        self.first = first[1].strip(" ") if isinstance(first, tuple) else ""
        self.is_json = path.suffix.lower() in _JSON_SUFFIXES or self.first.startswith("{")

    def _next_line(self) -> tuple[int, str] | InvalidRow | None:
        lines = (line for line in self._lines if isinstance(line, InvalidRow) or line[1].strip())
        return next(lines, None)

    def json_rows(self) -> Iterator[tuple[int, dict[str, Any]] | InvalidRow]:
        """Yield the line number and the object of each line that is not empty."""
        for line in self._lines:
            if isinstance(line, InvalidRow):
                yield line
            elif line[1].strip():
                yield _parse_object(*line)

    def cell_rows(self, separator: str, has_quotes: bool) -> Rows:
        """Yield the line number and the cells of each row that is not empty.

        Args:
            separator: one of `SEPARATORS`.
            has_quotes: whether a cell in quotes may contain separators and line ends. Otherwise
                each line is a row, and only the quotes around a whole cell are removed.
        """
        if has_quotes:
            yield from self._quoted_rows(separator)
            return
        for line in self._lines:
            if isinstance(line, InvalidRow):
                yield line
            elif any(cells := split_cells(line[1], separator)):
                yield line[0], cells

    def table(self, separator: str, has_quotes: bool) -> tuple[list[str], Rows]:
        """Return the names in the heading, and the rows, all with as many cells.

        Args:
            separator: as in `cell_rows`.
            has_quotes: as in `cell_rows`.
        Returns:
            names: without spaces around them and without empty ones at the end; [] for an empty
                file.
            rows: as `cell_rows`.
        Raises:
            DataError: the heading cannot be read, or has a name twice.
        """
        rows = self.cell_rows(separator, has_quotes)
        heading = next(rows, (0, []))
        if isinstance(heading, InvalidRow):
            raise DataError(f"{self._path} line {heading.line} {heading.reason}")
        names = [name.strip() for name in heading[1]]
        while names and not names[-1]:
            names.pop()
        repeated = next((name for name in names if name and names.count(name) > 1), None)
        if repeated is not None:
            raise DataError(
                f"the first line of {self._path} has the column {repeated[:100]!r} twice; rename "
                "one of them"
            )
        hint = f"; quote cells that contain {SEPARATORS[separator]}" if has_quotes else ""
        return names, _check_counts(rows, len(names), hint)

    def _quoted_rows(self, separator: str) -> Rows:
        invalid: list[InvalidRow] = []
        number = 0  # of the first line of the current row

        def texts() -> Iterator[str]:
            nonlocal number
            for line in self._lines:
                if isinstance(line, InvalidRow):
                    invalid.append(line)
                    continue
                number = number or line[0]
                yield line[1] + "\n"

        reader = csv.reader(texts(), delimiter=separator, strict=True)
        while True:
            number = 0
            try:
                cells = next(reader, None)
            except csv.Error as error:
                reason = str(error).replace("\t", "tab")
                invalid.append(InvalidRow(number, f"cannot be read as a row ({reason})"))
                cells = []
            yield from invalid
            invalid.clear()
            if cells is None:
                return
            if any(cell.strip() for cell in cells):
                yield number, cells


@contextmanager
def open_rows(path: Path) -> Iterator[RowText]:
    """Open a file of rows.

    Raises:
        DataError: the file cannot be read, or is not text in UTF-8.
    """
    try:
        # newline="": lines may end as on any system, and a quoted cell keeps its line ends
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            beginning = file.buffer.peek()[:4096].removeprefix(BOM_UTF8)  # type: ignore[attr-defined]
            for start, description in _OTHER_FILES.items():
                if re.match(start, beginning):
                    raise DataError(f"{path} is {description}")
            yield RowText(path, file)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None


def find_separators(line: str) -> list[str]:
    """Return the separators that a line contains outside quotes."""
    bare = re.sub(r'"[^"]*("|$)', "", line)
    return [separator for separator in SEPARATORS if separator in bare]


def split_cells(line: str, separator: str) -> list[str]:
    """Split a line at every separator; remove spaces, and the quotes around a whole cell."""
    return [_unquote(cell.strip()) for cell in line.split(separator)]


def describe_count(cells: list[str], expected: int, model: str) -> str:
    """Return the reason why a row has the wrong number of cells."""
    return f"has {len(cells)} {'cell' if len(cells) == 1 else 'cells'}, {model} has {expected}"


def _read_lines(file: TextIO) -> Iterator[tuple[int, str] | InvalidRow]:
    """Yield the number and the text of each line, without the line end."""
    number = 0
    while line := file.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            yield InvalidRow(number, f"is longer than the maximum of {MAX_LINE_LENGTH:,} letters")
            while line and not line.endswith(("\n", "\r")):
                line = file.readline(MAX_LINE_LENGTH)
            continue
        try:
            line.encode()
        except UnicodeEncodeError:
            yield InvalidRow(number, "is not UTF-8; save the file as UTF-8")
            continue
        yield number, line.rstrip("\r\n")


def _parse_object(number: int, text: str) -> tuple[int, dict[str, Any]] | InvalidRow:
    try:
        values = json.loads(
            text,
            parse_constant=_parse_float,
            parse_float=_parse_float,
            object_pairs_hook=unique_object,
        )
    except DataError as error:
        return InvalidRow(number, str(error))
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict):
        return number, values
    return InvalidRow(number, "is not a JSON object; write {..} on one line")


def _parse_float(text: str) -> float:
    """Return a finite number; Python also reads NaN and 1e999, which are not JSON numbers."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _check_counts(rows: Rows, expected: int, hint: str) -> Rows:
    """Yield the rows without empty cells at the end, those with another number as `InvalidRow`."""
    for row in rows:
        if isinstance(row, InvalidRow):
            yield row
            continue
        line, cells = row
        while len(cells) > expected and not cells[-1].strip():
            cells.pop()
        if len(cells) == expected:
            yield line, cells
            continue
        reason = describe_count(cells, expected, "the heading")
        yield InvalidRow(line, reason + (hint if len(cells) > expected else ""), tuple(cells))


def _unquote(cell: str) -> str:
    inner = cell[1:-1]
    is_quoted = len(cell) > 1 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if is_quoted else cell
