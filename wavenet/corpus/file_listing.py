"""The audio files of a corpus, and their division into blocks, one block per shard.

Input: a folder. Output: paths, fields in columns, and blocks. A block is one task of a worker. The
listing alone determines the blocks, so shards do not depend on the worker that writes them or on
the time. Called by `prepare`.
"""

import hashlib
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wavenet.corpus.format import NO_VALUE, CorpusSettings
from wavenet.recordings.audio_metadata import find_metadata, iterate_audio_files
from wavenet.recordings.left_out_files import LeftOutCollector, LeftOutFiles
from wavenet.user_input.equal_values import merge_number_spellings

# A block ends at the limit that is reached first. Bytes are those of the audio files; the shard
# has the size of the decoded audio.
MAX_BLOCK_FILES = 1024
MAX_BLOCK_BYTES = 64 << 20


@dataclass
class FieldColumn:
    """The values of one field for all files.

    Attributes:
        value_indices: for each file the index of its value, or `NO_VALUE`.
        values: each value once, with its index.
    """

    value_indices: "array[int]" = field(default_factory=lambda: array("i"))
    values: dict[str, int] = field(default_factory=dict)

    def append(self, row: int, value: str) -> None:
        """Set the value of a file; files between the last one and this one have no value."""
        self.fill(row)
        self.value_indices.append(self.values.setdefault(value, len(self.values)))

    def fill(self, rows: int) -> None:
        """Extend the column to `rows` files, without values."""
        self.value_indices.extend([NO_VALUE] * (rows - len(self.value_indices)))

    def merge_numbers(self) -> dict[str, str]:
        """Write equal whole numbers in one spelling; return the replaced and plain spellings."""
        merged = merge_number_spellings(self.values)
        if merged:
            before, self.values = list(self.values), {}
            plain = [merged.get(value, value) for value in before]
            new = [self.values.setdefault(value, len(self.values)) for value in plain]
            indices = (i if i == NO_VALUE else new[i] for i in self.value_indices)
            self.value_indices = array("i", indices)
        return merged


@dataclass
class FileListing:
    """The audio files of a folder, sorted by path or in the order of the metadata.

    Attributes:
        paths: relative to the folder.
        columns: by field.
        folder_errors: a message for each subfolder that could not be read.
        left_out: the files that are not listed, by reason.
        merged: as in `audio_metadata.AudioListing`.
    """

    paths: list[str] = field(default_factory=list)
    columns: dict[str, FieldColumn] = field(default_factory=dict)
    folder_errors: list[str] = field(default_factory=list)
    left_out: tuple[LeftOutFiles, ...] = ()
    merged: dict[str, dict[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FileBlock:
    """Files that make up one shard.

    Attributes:
        number: of the block, from 0.
        first: index of its first file in the listing.
        paths: of the files, relative to the folder of recordings.
        digest: of everything that determines the shard.
    """

    number: int
    first: int
    paths: Sequence[str]
    digest: str


def list_files(source: Path, pattern: str | None, metadata: str | None) -> FileListing:
    """Return the audio files of a folder with their fields.

    Args:
        source: an absolute path without links.
        pattern, metadata: as in `audio_metadata.find_audio_files`.
    Raises:
        DataError: as `audio_metadata.find_audio_files`.
    """
    listing = FileListing()
    left_out = LeftOutCollector()
    files = iterate_audio_files(source, pattern, metadata, listing.folder_errors.append, left_out)
    for row, file in enumerate(files):
        listing.paths.append(file.path.relative_to(source).as_posix())
        for name, value in file.fields.items():
            listing.columns.setdefault(name, FieldColumn()).append(row, value)
    for name, column in listing.columns.items():
        column.fill(len(listing.paths))
        if merged := column.merge_numbers():
            listing.merged[name] = merged
    listing.left_out = left_out.groups
    return listing


def metadata_file_name(source: Path, pattern: str | None, metadata: str | None) -> str | None:
    """Return the metadata file that contains the fields, relative to the source, or None."""
    path = find_metadata(source, metadata) if pattern is None else None
    if path is None:
        return metadata  # None, unless a pattern is given too, which `list_files` refuses
    path = path.absolute()
    return path.relative_to(source).as_posix() if path.is_relative_to(source) else str(path)


def split_into_blocks(settings: CorpusSettings, paths: Sequence[str]) -> Iterator[FileBlock]:
    """Divide the files of a listing into blocks; read the size and time of each file."""
    source = Path(settings.source)
    number, first, block_bytes, digest = 0, 0, 0, _new_digest(settings)
    for n, path in enumerate(paths):
        size, modified_ns = _size_and_time(source / path)
        if n > first and (n - first == MAX_BLOCK_FILES or block_bytes + size > MAX_BLOCK_BYTES):
            yield FileBlock(number, first, paths[first:n], digest.hexdigest())
            number, first, block_bytes, digest = number + 1, n, 0, _new_digest(settings)
        block_bytes += size
        digest.update(f"{path}\0{size}\0{modified_ns}\n".encode("utf-8", "surrogatepass"))
    yield FileBlock(number, first, paths[first:], digest.hexdigest())


def _new_digest(settings: CorpusSettings) -> "hashlib._Hash":
    version, rate = settings.format_version, settings.sample_rate
    reading = (settings.channel, settings.normalize)
    # Without the default, so that shards written before these settings existed stay valid.
    chosen = "" if reading == ("mix", False) else " {} {}".format(*reading)
    return hashlib.sha256(f"{version} {rate}{chosen}\n".encode())


def _size_and_time(path: Path) -> tuple[int, int]:
    """Return size and modification time in ns; (0, -1) for a missing file.

    The reader reports a missing file later. A loop of links counts as missing.
    """
    try:
        status = os.stat(path)
    except OSError:
        return 0, -1
    return status.st_size, status.st_mtime_ns
