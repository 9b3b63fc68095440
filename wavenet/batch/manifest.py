"""Read the rows of a manifest, one at a time.

Input: JSON lines or a table of any length. Output: its rows, and an `InvalidRow` for each line that
cannot be read. The header line of a table determines its separator: a comma, a semicolon, a tab or
a vertical bar. Called by `manifest_check`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wavenet.errors import DataError
from wavenet.user_input.separated_text import (
    SEPARATORS,
    InvalidRow,
    RowText,
    find_separators,
    open_rows,
)


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


def read_rows(path: Path) -> Iterator[ManifestRow | InvalidRow]:
    """Read a manifest; empty lines are skipped.

    Raises:
        DataError: the file is missing, empty or of another format, or a table has no header or an
            ambiguous one.
    """
    with open_rows(path) as text:
        rows = text.json_rows() if text.is_json else _table_rows(path, text)
        for row in rows:
            yield row if isinstance(row, InvalidRow) else ManifestRow(*row)


def _table_rows(path: Path, text: RowText) -> Iterator[tuple[int, dict[str, str]] | InvalidRow]:
    """Read a table whose first line names the columns; a quoted cell may contain line ends."""
    names, rows = text.table(text.separator or _detect_separator(path, text.first), has_quotes=True)
    if not names:
        raise DataError(f"{path} has no header; expected a first line with the column names")
    if not all(names):
        raise DataError(f"the first line of {path} must name each column, found {names}")
    for row in rows:
        if isinstance(row, InvalidRow):
            yield row
            continue
        line, cells = row
        pairs = zip(names, cells, strict=True)
        yield line, {name: cell for name, cell in pairs if cell.strip()}


def _detect_separator(path: Path, header: str) -> str:
    """Return the separator of a table.

    Raises:
        DataError: the header has several separators.
    """
    is_tsv = path.suffix.lower() in (".tsv", ".tab")
    found = find_separators(header)
    if is_tsv and "\t" in found:
        return "\t"
    if len(found) > 1:
        names = " and ".join(SEPARATORS[separator] for separator in found)
        raise DataError(
            f"the first line of {path} contains {names}, so its columns are ambiguous; quote the "
            "names, or write sep=, or sep=; as the first line"
        )
    return found[0] if found else "\t" if is_tsv else ","
