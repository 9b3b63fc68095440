"""A prepared corpus as a folder: which files there are, and what stands in them.

    corpus.json     the header; it is written last, so that a folder without it is not finished
    shards/*.pcm    samples of 16 bits, little end first, one recording after the other
    index/*.npy     where each recording begins, its name, its labels: mapped, never parsed
    parts/*.json    one for each shard, written after it: what became of every file it is made of
    settings.json   what the corpus was asked to be; report.json, skipped.txt: for people

All numbers are checked against each other when a corpus is opened (`reading`).
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audio_utils.atomic_files import atomic_file, os_error_reason
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError, DataError, FolderError

HEADER = "corpus.json"
SETTINGS = "settings.json"
REPORT = "report.json"
SKIPPED = "skipped.txt"
SHARDS, INDEX, PARTS = "shards", "index", "parts"

PCM = np.dtype("<i2")
FULL = 32768  # what 1.0 would be; the largest number is one less
# of each recording: which file of the listing it was, in which shard it lies, from which sample on
RECORDS = np.dtype([("number", "<i8"), ("shard", "<i4"), ("offset", "<i8"), ("samples", "<i8")])
CODES = np.dtype("<i4")  # of a label: which of the values it is
ABSENT = -1  # the recording has no such label

SHARD_NAME = r"[0-9]{5,8}-[0-9a-f]{12}\.pcm"
PART_NAME = r"[0-9]{5,8}\.json"

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Rate = Annotated[int, Field(ge=4_000, le=192_000)]


class Settings(StrictConfig):
    """The content of `settings.json`: what decides what a corpus is made of.

    Attributes:
        source: the folder of recordings, an absolute path.
        pattern, metadata: as in `manifest.find_entries`; metadata is named if a table was found.
    """

    format_version: Literal[1] = 1
    source: str
    sample_rate: Rate
    pattern: str | None = None
    metadata: str | None = None


class Shard(StrictConfig):
    """A file of samples."""

    name: str = Field(pattern=f"^{SHARD_NAME}$")
    samples: Count


class Header(StrictConfig):
    """The content of `corpus.json`.

    Attributes:
        files: listed, those that could not be read included; recordings: the others.
        samples: of all recordings.
        fields: names of the labels; `index/field-N.*.npy` belongs to the Nth of them.
    """

    format: Literal["wavenet corpus"] = "wavenet corpus"
    format_version: Literal[1] = 1
    sample_rate: Rate
    pattern: str | None = None
    metadata: str | None = None
    files: Count
    recordings: int = Field(ge=1, lt=1 << 62)
    samples: Count
    fields: tuple[str, ...] = Field(default=(), max_length=1000)
    shards: tuple[Shard, ...] = Field(min_length=1)


class Part(StrictConfig):
    """The content of `parts/N.json`: what became of the files of one block.

    Attributes:
        digest: of the names, sizes and times of these files, and of the settings.
        shard: where their samples are; sha256: of that file.
        lengths: for each file its samples; 0 where it could not be read.
        rates, channels: of the sources -> files.
        clipped: numbers of the first of these files that are cut off at full scale, and how many.
        silent: seconds of silence.
        skipped: a sentence for each file that could not be read.
    """

    format_version: Literal[1] = 1
    digest: str
    shard: Shard
    sha256: str
    lengths: tuple[Count, ...]
    rates: dict[int, int]
    channels: dict[int, int]
    clipped: tuple[Count, ...]
    clipped_count: Count
    silent: float
    skipped: tuple[str, ...]


class Report(StrictConfig):
    """The content of `report.json`, in the words of `wavenet data report`.

    Attributes:
        files: listed; readable: of these, those that are in the corpus.
        seconds: of all recordings together; shortest, median, longest: of one.
        rates, channels: of the sources -> files.
        clipped: names of the first files that are cut off at full scale, and how many.
        silent: share of the time in blocks of 10 ms below -60 dB.
        unreadable: the first sentences of `skipped.txt`, and how many there are.
    """

    files: Count
    readable: Count
    seconds: float
    shortest: float
    median: float
    longest: float
    rates: dict[int, int]
    channels: dict[int, int]
    clipped: tuple[str, ...]
    clipped_count: Count
    silent: float
    unreadable: tuple[str, ...]
    unreadable_count: Count


@dataclass(frozen=True)
class Texts:
    """Many texts one after the other, in arrays that can be mapped.

    Attributes:
        content: (bytes + 1,) uint8, UTF-8; one byte more, for an empty file cannot be mapped.
        ends: (n,) int64, where each text ends.
    """

    content: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Texts":
        """Bring texts into this form."""
        coded = [text.encode("utf-8", "surrogatepass") for text in texts]
        content = np.frombuffer(b"".join(coded) + b"\n", np.uint8)
        return cls(content, np.cumsum([len(text) for text in coded], dtype=np.int64))

    def __len__(self) -> int:
        """Count the texts."""
        return len(self.ends)

    def __getitem__(self, n: int) -> str:
        """Give the text at a place, 0 or above."""
        begin = int(self.ends[n - 1]) if n else 0
        return bytes(self.content[begin : int(self.ends[n])]).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        """Give all texts in order."""
        return (self[n] for n in range(len(self)))


def is_corpus(folder: Path) -> bool:
    """Tell whether a folder is a prepared corpus, finished or not."""
    begun = any((folder / name).is_file() for name in (HEADER, SETTINGS))
    # a folder of recordings may have files of these names, too
    return begun and (folder / SHARDS).is_dir()


def array_path(folder: Path, name: str) -> Path:
    """Name the file of an array of the index."""
    return folder / INDEX / f"{name}.npy"


def part_path(folder: Path, number: int) -> Path:
    """Name the file that tells of a block."""
    return folder / PARTS / f"{number:05d}.json"


def read_part(folder: Path, number: int, digest: str, is_checked: bool = True) -> Part | None:
    """Read what became of a block; None where it is yet to be made, has changed or is damaged.

    Args:
        digest: of the block as it is now.
        is_checked: the shard is read, too, and its hash compared.
    """
    try:
        part = parse_config(Part, part_path(folder, number).read_bytes(), "")
        if part.digest != digest or sum(part.lengths) != part.shard.samples:
            return None
        path = folder / SHARDS / part.shard.name
        if path.stat().st_size != PCM.itemsize * part.shard.samples:
            return None
        if is_checked:
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != part.sha256:
                    return None
    except (OSError, ConfigError):
        return None
    return part


def read_report(folder: Path) -> Report:
    """Read what was reported when a corpus was made.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return parse_config(Report, (folder / REPORT).read_bytes(), str(folder / REPORT))
    except OSError as error:
        raise DataError(f"{folder / REPORT} cannot be read: {os_error_reason(error)}") from None
    except ConfigError as error:
        raise DataError(str(error)) from None


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array, whole or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None


def plain(sentence: str) -> str:
    """Keep a sentence in one line of text that any file can hold, whatever the names in it."""
    shown = sentence.encode("utf-8", "backslashreplace").decode()
    return re.sub(r"[\x00-\x1f\x7f\u2028\u2029]", "?", shown)
