"""Which files a corpus is to be made of, and which of them make a shard together.

A folder enters; names, labels in columns, and blocks leave. A block is what one worker does in one
go: it is decided by the listing alone, so that shards do not depend on who makes them, and when.
"""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wavenet.audio_metadata import find_metadata, iterate_audio_files
from wavenet.corpus.format import NO_VALUE, CorpusSettings

# A block ends with whichever comes first. Its shard is as large as these files are once decoded.
MAX_BLOCK_FILES = 1024
MAX_BLOCK_BYTES = 64 << 20


@dataclass
class FieldColumn:
    """The values of a label, each once, and for each file which of them it has."""

    codes: "array[int]" = field(default_factory=lambda: array("i"))
    values: dict[str, int] = field(default_factory=dict)

    def put(self, row: int, value: str) -> None:
        """Give a file its value."""
        self.fill(row)
        self.codes.append(self.values.setdefault(value, len(self.values)))

    def fill(self, rows: int) -> None:
        """See that there is something for so many files."""
        self.codes.extend([NO_VALUE] * (rows - len(self.codes)))


@dataclass
class FileListing:
    """The files of a folder in their order; names are relative to it."""

    names: list[str] = field(default_factory=list)
    columns: dict[str, FieldColumn] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)  # a sentence per subfolder that is closed to us


@dataclass(frozen=True)
class FileBlock:
    """Files that make a shard together.

    Attributes:
        number: of the block, from 0.
        first: the first of its files in the listing.
        names: of the files.
        digest: of all that decides what the shard will hold.
    """

    number: int
    first: int
    names: Sequence[str]
    digest: str


def list_files(source: Path, pattern: str | None, metadata: str | None) -> FileListing:
    """List the files of a folder with their labels.

    Args:
        source: an absolute path without links.
    Raises:
        DataError: as `manifest.find_entries`.
    """
    listing = FileListing()
    for row, entry in enumerate(
        iterate_audio_files(source, pattern, metadata, listing.faults.append)
    ):
        listing.names.append(entry.path.relative_to(source).as_posix())
        for name, value in entry.fields.items():
            listing.columns.setdefault(name, FieldColumn()).put(row, value)
    for column in listing.columns.values():
        column.fill(len(listing.names))
    return listing


def metadata_file_name(source: Path, pattern: str | None, metadata: str | None) -> str | None:
    """Name the table that labels come from; None where there is none."""
    table = find_metadata(source, metadata) if pattern is None else None
    return table.name if table else None


def split_into_blocks(settings: CorpusSettings, names: Sequence[str]) -> Iterator[FileBlock]:
    """Divide the files of a listing, with a look at the size and time of each."""
    source = Path(settings.source)
    number, first, size, digest = 0, 0, 0, _begin(settings)
    for n, name in enumerate(names):
        bytes_, changed = _size_and_time(source / name)
        if n > first and (n - first == MAX_BLOCK_FILES or size + bytes_ > MAX_BLOCK_BYTES):
            yield FileBlock(number, first, names[first:n], digest.hexdigest())
            number, first, size, digest = number + 1, n, 0, _begin(settings)
        size += bytes_
        digest.update(f"{name}\0{bytes_}\0{changed}\n".encode("utf-8", "surrogatepass"))
    yield FileBlock(number, first, names[first:], digest.hexdigest())


def _begin(settings: CorpusSettings) -> "hashlib._Hash":
    version, rate = settings.format_version, settings.sample_rate
    return hashlib.sha256(f"{version} {rate}\n".encode())


def _size_and_time(path: Path) -> tuple[int, int]:
    """Look at a file; one that is gone, or a loop of links, is told of by who reads it."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, -1
    return found.st_size, found.st_mtime_ns
