"""A manifest -> rows, one at a time.

JSONL, CSV or TSV enters, as a file of any length; rows leave, and a sentence with its line for each
that cannot be read. Nothing is held but the line at hand.
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

MAX_LINE = 1 << 20  # bytes; a longer one is no row of a manifest
KINDS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}


@dataclass(frozen=True)
class ManifestRow:
    """One line of a manifest.

    Attributes:
        line: counted from 1, the heading included.
        values: text from a table, anything from JSON.
    """

    line: int
    values: Mapping[str, Any]


@dataclass(frozen=True)
class InvalidRow:
    """A line that cannot be used, and why."""

    line: int
    sentence: str


def manifest_format(path: Path) -> str:
    """Tell the kind of a manifest by its name, or else by how it begins.

    Raises:
        DataError: it cannot be read.
    """
    known = KINDS.get(path.suffix.lower())
    if known:
        return known
    try:
        with path.open("rb") as file:
            beginning = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if beginning.startswith(b"{"):
        return "jsonl"
    return "tsv" if b"\t" in beginning.split(b"\n", 1)[0] else "csv"


def read_rows(path: Path) -> Iterator[ManifestRow | InvalidRow]:
    """Read a manifest; lines without content are passed over.

    Raises:
        DataError: no such file, or one without a heading.
    """
    kind = manifest_format(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        if not os.fstat(file.fileno()).st_size:
            raise DataError(f"{path} is empty; give it a line for each clip")
        lines = _lines(file)
        yield from _json_rows(lines) if kind == "jsonl" else _table_rows(path, lines, kind)


def _lines(file: BinaryIO) -> Iterator[tuple[int, str] | InvalidRow]:
    """Cut into lines of text without their ends."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            yield InvalidRow(number, f"is longer than {MAX_LINE:,} bytes; a row is never that long")
            while line and not line.endswith(b"\n"):
                line = file.readline(MAX_LINE)
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        try:
            yield number, line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            yield InvalidRow(number, "is not UTF-8; save the file as UTF-8")


def _json_rows(lines: Iterator[tuple[int, str] | InvalidRow]) -> Iterator[ManifestRow | InvalidRow]:
    for found in lines:
        if isinstance(found, InvalidRow):
            yield found
            continue
        number, line = found
        if not line.strip():
            continue
        try:
            values = json.loads(line, parse_constant=_number, parse_float=_number)
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            yield ManifestRow(number, values)
        else:
            yield InvalidRow(number, "is not a JSON object; write {..} on one line")


def _number(text: str) -> float:
    """Take what JSON has numbers for; Python reads NaN and 1e999, too."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _table_rows(
    path: Path, lines: Iterator[tuple[int, str] | InvalidRow], kind: str
) -> Iterator[ManifestRow | InvalidRow]:
    """Read a table whose first line names the columns; a cell in quotes may hold line ends."""
    faults: list[InvalidRow] = []
    number = 0  # of the line that the row at hand begins with

    def text() -> Iterator[str]:
        nonlocal number
        for found in lines:
            if isinstance(found, InvalidRow):
                faults.append(found)
                continue
            number = number or found[0]
            yield found[1] + "\n"

    reader = csv.reader(text(), delimiter="\t" if kind == "tsv" else ",", strict=True)
    heading: Sequence[str] | None = None
    while True:
        number = 0
        try:
            cells = next(reader, None)
        except csv.Error as error:
            faults.append(InvalidRow(number, f"cannot be read as a row ({error})"))
            cells = []
        if faults and heading is None:
            raise DataError(f"line {faults[0].line} of {path} {faults[0].sentence}")
        yield from faults
        faults.clear()
        if cells is None:
            break
        if not any(cell.strip() for cell in cells):
            continue
        if heading is None:
            heading = _heading(path, cells)
        elif len(cells) != len(heading):
            yield InvalidRow(number, f"has {len(cells)} cells, the heading has {len(heading)}")
        else:
            pairs = zip(heading, cells, strict=True)
            yield ManifestRow(number, {name: cell for name, cell in pairs if cell.strip()})
    if heading is None:
        raise DataError(f"{path} has no heading; its first line names the columns")


def _heading(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names) or not all(names):
        raise DataError(
            f"the first line of {path} must name each column once, found {', '.join(cells)[:200]}"
        )
    return names
