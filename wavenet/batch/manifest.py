"""Read the rows of a manifest, one at a time.

Input: a JSONL, CSV or TSV file of any length. Output: its rows, and an `InvalidRow` for each line
that cannot be read. Only one row is in memory at a time. Called by `manifest_check`.
"""

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from wavenet.errors import DataError

MAX_LINE_BYTES = 1 << 20
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class ManifestShard:
    """One of several parts of a manifest, which may be processed in parallel.

    Attributes:
        number: of the part, from 1.
        count: number of all parts.
    """

    number: int = 1
    count: int = 1


WHOLE_MANIFEST = ManifestShard()


@dataclass(frozen=True)
class ManifestRow:
    """One row of a manifest.

    Attributes:
        line: number of its first line, from 1; the header line counts.
        values: by column; text from a table, any type from JSON.
    """

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class InvalidRow:
    """A row that cannot be used.

    Attributes:
        line: as in `ManifestRow`.
        reason: the end of a sentence that begins with "line 3".
    """

    line: int
    reason: str


def manifest_format(path: Path) -> str:
    """Return jsonl, csv or tsv, according to the suffix or else to the first bytes of the file.

    Raises:
        DataError: the file cannot be read.
    """
    known = FORMATS.get(path.suffix.lower())
    if known:
        return known
    try:
        with path.open("rb") as file:
            beginning = file.read(4096).removeprefix(_BYTE_ORDER_MARK).lstrip()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if beginning.startswith(b"{"):
        return "jsonl"
    return "tsv" if b"\t" in beginning.split(b"\n", 1)[0] else "csv"


def read_rows(path: Path) -> Iterator[ManifestRow | InvalidRow]:
    """Read a manifest; empty lines are skipped.

    Raises:
        DataError: the file is missing or empty, or a table has no header.
    """
    kind = manifest_format(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        if not os.fstat(file.fileno()).st_size:
            raise DataError(f"{path} is empty; expected a line for each clip")
        lines = _read_lines(file)
        yield from _json_rows(lines) if kind == "jsonl" else _table_rows(path, lines, kind)


def _read_lines(file: BinaryIO) -> Iterator[tuple[int, str] | InvalidRow]:
    """Yield the number and the text of each line, without the line end."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            yield InvalidRow(number, f"is longer than the maximum of {MAX_LINE_BYTES:,} bytes")
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE_BYTES)
            continue
        if number == 1:
            line = line.removeprefix(_BYTE_ORDER_MARK)
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield InvalidRow(number, "is not UTF-8; save the file as UTF-8")


def _json_rows(
    lines: Iterator[tuple[int, str] | InvalidRow],
) -> Iterator[ManifestRow | InvalidRow]:
    for line in lines:
        if isinstance(line, InvalidRow):
            yield line
            continue
        number, text = line
        if not text.strip():
            continue
        try:
            values = json.loads(text, parse_constant=_parse_float, parse_float=_parse_float)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            yield ManifestRow(number, values)
        else:
            yield InvalidRow(number, "is not a JSON object; write {..} on one line")


def _parse_float(text: str) -> float:
    """Return a finite number; Python also reads NaN and 1e999, which are not JSON numbers."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _table_rows(
    path: Path, lines: Iterator[tuple[int, str] | InvalidRow], kind: str
) -> Iterator[ManifestRow | InvalidRow]:
    """Read a table whose first line names the columns; a quoted cell may contain line ends."""
    invalid: list[InvalidRow] = []
    number = 0  # of the first line of the current row

    def texts() -> Iterator[str]:
        nonlocal number
        for line in lines:
            if isinstance(line, InvalidRow):
                invalid.append(line)
                continue
            number = number or line[0]
            yield line[1] + "\n"

    reader = csv.reader(texts(), delimiter="\t" if kind == "tsv" else ",", strict=True)
    header: Sequence[str] | None = None
    while True:
        number = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            reason = str(error).replace("\t", "tab")
            invalid.append(InvalidRow(number, f"cannot be read as a row ({reason})"))
            cells = []
        if invalid and header is None:
            raise DataError(f"line {invalid[0].line} of {path} {invalid[0].reason}")
        yield from invalid
        invalid.clear()
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = _read_header(path, cells)
        elif len(cells) != len(header):
            yield InvalidRow(number, f"has {len(cells)} cells, the header has {len(header)}")
        else:
            pairs = zip(header, cells, strict=True)
            yield ManifestRow(number, {name: cell for name, cell in pairs if cell.strip()})
    if header is None:
        raise DataError(f"{path} has no header; expected a first line with the column names")


def _read_header(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names) or not all(names):
        raise DataError(
            f"the first line of {path} must name each column once, found {', '.join(cells)[:200]!r}"
        )
    return names
