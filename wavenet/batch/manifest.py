"""Read the rows of a manifest, one at a time.

Input: JSON lines or a table of any length. Output: its rows, and an `InvalidRow` for each line that
cannot be read. Only one row is in memory at a time. The header line of a table determines its
separator: a comma, a semicolon, a tab or a vertical bar. Called by `manifest_check`.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from wavenet.errors import DataError
from wavenet.user_input.json_objects import unique_object

MAX_LINE_BYTES = 1 << 20
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_JSON_SUFFIXES = (".jsonl", ".ndjson")
# First bytes of files that are not manifests, and a description of each kind.
_OTHER_FILES = {
    b"\xff\xfe": 'UTF-16 text ("Unicode text" of Excel); save it as "CSV UTF-8"',
    b"\xfe\xff": 'UTF-16 text ("Unicode text" of Excel); save it as "CSV UTF-8"',
    b"PK\x03\x04": 'a workbook or a zip file; save it as "CSV UTF-8"',
    b"[": "one JSON array; write one JSON object per line, without brackets around them",
}
# The first line of a table from Excel that declares its separator, such as "sep=;".
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?', re.IGNORECASE)


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
    """Return jsonl or table, according to the first bytes of the file or else to the suffix.

    Raises:
        DataError: the file cannot be read, is empty, or has another format.
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    if not beginning:
        raise DataError(f"{path} is empty; expected a line for each clip")
    beginning = beginning.removeprefix(_BYTE_ORDER_MARK)
    is_json_lines = path.suffix.lower() in _JSON_SUFFIXES
    for start, description in _OTHER_FILES.items():
        if beginning.startswith(start) and not (start == b"[" and is_json_lines):
            raise DataError(f"{path} is {description}")
    if is_json_lines or beginning.lstrip().startswith(b"{"):
        return "jsonl"
    if b"\r" in beginning and b"\n" not in beginning:
        raise DataError(f'{path} has CR line ends (old Macs); save it as "CSV UTF-8"')
    return "table"


def read_rows(path: Path) -> Iterator[ManifestRow | InvalidRow]:
    """Read a manifest; empty lines are skipped.

    Raises:
        DataError: the file is missing, empty or of another format, or a table has no header or an
            ambiguous one.
    """
    kind = manifest_format(path)
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    with file:
        lines = _read_lines(file)
        yield from _json_rows(lines) if kind == "jsonl" else _table_rows(path, lines)


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
            values = json.loads(
                text,
                parse_constant=_parse_float,
                parse_float=_parse_float,
                object_pairs_hook=unique_object,
            )
        except DataError as error:
            yield InvalidRow(number, str(error))
            continue
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
    path: Path, lines: Iterator[tuple[int, str] | InvalidRow]
) -> Iterator[ManifestRow | InvalidRow]:
    """Read a table whose first line names the columns; a quoted cell may contain line ends."""
    separator, lines = _detect_separator(path, lines)
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

    reader = csv.reader(texts(), delimiter=separator, strict=True)
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
            reason = f"has {len(cells)} cells, the header has {len(header)}"
            if len(cells) > len(header):
                reason += f"; quote cells that contain {SEPARATORS[separator]}"
            yield InvalidRow(number, reason)
        else:
            pairs = zip(header, cells, strict=True)
            yield ManifestRow(number, {name: cell for name, cell in pairs if cell.strip()})
    if header is None:
        raise DataError(f"{path} has no header; expected a first line with the column names")


def _detect_separator(
    path: Path, lines: Iterator[tuple[int, str] | InvalidRow]
) -> tuple[str, Iterator[tuple[int, str] | InvalidRow]]:
    """Return the separator of a table, and all lines from the header on.

    Raises:
        DataError: the header has several separators, or `sep=` names an unknown one.
    """
    is_tsv = path.suffix.lower() in (".tsv", ".tab")
    default = "\t" if is_tsv else ","
    for line in lines:
        if isinstance(line, InvalidRow):
            return default, chain([line], lines)
        text = line[1].strip(" ")
        if not text:
            continue
        if chosen := _SEPARATOR_LINE.fullmatch(text):
            if chosen[1] not in SEPARATORS:
                known = ", ".join(SEPARATORS.values())
                raise DataError(f"{path} has {text!r}; expected {known} as the separator")
            return chosen[1], lines
        bare = re.sub(r'"[^"]*("|$)', "", text)
        found = [separator for separator in SEPARATORS if separator in bare]
        if is_tsv and "\t" in found:
            found = ["\t"]
        if len(found) > 1:
            names = " and ".join(SEPARATORS[separator] for separator in found)
            raise DataError(
                f"the first line of {path} contains {names}, so its columns are ambiguous; quote "
                "the names, or write sep=, or sep=; as the first line"
            )
        return found[0] if found else default, chain([line], lines)
    return default, lines


def _read_header(path: Path, cells: Sequence[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    if len(set(names)) != len(names) or not all(names):
        raise DataError(
            f"the first line of {path} must name each column once, found {', '.join(cells)[:200]!r}"
        )
    return names
