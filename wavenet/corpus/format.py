"""The format of a prepared corpus on disk: its files, and what they contain.

    corpus.json     the header; written last, so a folder without it is incomplete
    shards/*.pcm    samples, 16 bits, little-endian, one recording after the other
    index/*.npy     position, name and fields of each recording: memory-mapped, never parsed
    parts/*.json    the shard summaries, each written after its shard: the result of each file of
                    its block
    settings.json   the settings of the corpus
    report.json, skipped.txt
                    information for the user

`reader` checks that all numbers are consistent when a corpus is opened. Called by all of `corpus`,
and by reports on a corpus.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.levels import Channel, LevelSummary
from wavenet.config import StrictConfig, parse_config
from wavenet.errors import ConfigError, DataError, FolderError
from wavenet.recordings.left_out_files import LeftOutFiles

HEADER_FILE = "corpus.json"
SETTINGS_FILE = "settings.json"
REPORT_FILE = "report.json"
SKIPPED_FILE = "skipped.txt"
SHARD_FOLDER, INDEX_FOLDER, SUMMARY_FOLDER = "shards", "index", "parts"

PCM_DTYPE = np.dtype("<i2")
PCM_SCALE = 32768  # the PCM value of 1.0; the largest PCM value is one less
# The index entry of each recording: the index of its file in the listing ("number", a name in the
# files), its shard, its position there and its length, in samples.
RECORD_DTYPE = np.dtype(
    [("number", "<i8"), ("shard", "<i4"), ("offset", "<i8"), ("samples", "<i8")]
)
VALUE_INDEX_DTYPE = np.dtype("<i4")  # index of the value of a field
NO_VALUE = -1  # the value index of a recording without the field

SHARD_NAME = r"[0-9]{5,8}-[0-9a-f]{12}\.pcm"
SUMMARY_NAME = r"[0-9]{5,8}\.json"

Count = Annotated[int, Field(ge=0, lt=1 << 62)]
SampleRate = Annotated[int, Field(ge=4_000, le=192_000)]


class CorpusSettings(StrictConfig):
    """The content of `settings.json`: everything that determines a corpus.

    Attributes:
        source: the folder of recordings, an absolute path.
        pattern, metadata: as in `audio_metadata.find_audio_files`; the name of a metadata file is
            also set if it was found by default.
        channel, normalize: as in `audio_utils.io.read`; corpora of earlier versions have the
            defaults.
    """

    format_version: Literal[1] = 1
    source: str
    sample_rate: SampleRate
    pattern: str | None = None
    metadata: str | None = None
    channel: Channel = "mix"
    normalize: bool = False


class CorpusShard(StrictConfig):
    """A file of samples."""

    name: str = Field(pattern=f"^{SHARD_NAME}$")
    samples: Count


class CorpusHeader(StrictConfig):
    """The content of `corpus.json`.

    Attributes:
        files: number of listed files.
        recordings: number of files that could be read.
        samples: of all recordings together.
        fields: names of the fields; `index/field-N.*.npy` belongs to the Nth.
        channel, normalize: as in `CorpusSettings`.
    """

    format: Literal["wavenet corpus"] = "wavenet corpus"
    format_version: Literal[1] = 1
    sample_rate: SampleRate
    pattern: str | None = None
    metadata: str | None = None
    channel: Channel = "mix"
    normalize: bool = False
    files: Count
    recordings: int = Field(ge=1, lt=1 << 62)
    samples: Count
    fields: tuple[str, ...] = Field(default=(), max_length=1000)
    shards: tuple[CorpusShard, ...] = Field(min_length=1)


class ShardSummary(StrictConfig):
    """The content of `parts/N.json`: the result of each file of block N.

    Attributes:
        digest: of the settings, and of the names, sizes and times of the files.
        shard: with the samples of the files.
        sha256: of the shard.
        lengths: samples of each file; 0 if it could not be read.
        rates, channels: number of files by sample rate and by channels of the source.
        clipped: indices, in the block, of the first files that are clipped.
        clipped_count: number of all clipped files.
        silent: seconds of silence.
        skipped: a message for each file that could not be read.
        reasons: for each of these files the reason in a few words, as in `left_out_files`.
        levels: of the files that could be read.
    """

    format_version: Literal[1] = 1
    digest: str
    shard: CorpusShard
    sha256: str
    lengths: tuple[Count, ...]
    rates: dict[int, int]
    channels: dict[int, int]
    clipped: tuple[Count, ...]
    clipped_count: Count
    silent: float
    skipped: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    levels: LevelSummary = LevelSummary()


class CorpusReport(StrictConfig):
    """The content of `report.json`, with the keys of `wavenet data report`.

    Attributes:
        files: number of listed files.
        readable: number of files in the corpus.
        seconds: of all recordings together.
        shortest, median, longest: seconds of one recording.
        rates, channels: number of files by sample rate and by channels of the source.
        clipped: names of the first files that are clipped.
        clipped_count: number of all clipped files.
        silent: fraction of the time in blocks of 10 ms below -60 dB (in `ShardSummary`: seconds).
        unreadable: the first messages of `skipped.txt`.
        unreadable_count: number of all messages.
        left_out: all files that are not in the corpus, by reason.
        levels: of the readable files.
        merged: as in `audio_metadata.AudioListing`.
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
    left_out: tuple[LeftOutFiles, ...] = ()
    levels: LevelSummary = LevelSummary()
    merged: dict[str, dict[str, str]] = Field(default_factory=dict)


@dataclass(frozen=True)
class TextArray:
    """Many texts, concatenated in arrays that can be memory-mapped.

    Attributes:
        content: (bytes + 1,) uint8, UTF-8; the last byte is unused: an empty file cannot be mapped.
        ends: (n,) int64, the end of each text.
    """

    content: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "TextArray":
        """Build the array from texts."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        content = np.frombuffer(b"".join(encoded) + b"\n", np.uint8)
        return cls(content, np.cumsum([len(text) for text in encoded], dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.ends)

    def __getitem__(self, n: int) -> str:
        """Return text n, with n from 0."""
        begin = int(self.ends[n - 1]) if n else 0
        return bytes(self.content[begin : int(self.ends[n])]).decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        """Yield all texts in order."""
        return (self[n] for n in range(len(self)))


def is_corpus(folder: Path) -> bool:
    """Return whether a folder is a prepared corpus, complete or not."""
    has_file = any((folder / name).is_file() for name in (HEADER_FILE, SETTINGS_FILE))
    # a folder of recordings may have files of these names, too
    return has_file and (folder / SHARD_FOLDER).is_dir()


def array_path(folder: Path, name: str) -> Path:
    """Return the path of an array of the index."""
    return folder / INDEX_FOLDER / f"{name}.npy"


def summary_path(folder: Path, number: int) -> Path:
    """Return the path of the summary of a block."""
    return folder / SUMMARY_FOLDER / f"{number:05d}.json"


def read_shard_summary(
    folder: Path, number: int, digest: str, verify_hash: bool = True
) -> ShardSummary | None:
    """Read the summary of a block.

    Args:
        digest: of the block at present.
        verify_hash: also read the shard and compare its hash.
    Returns:
        None if there is no summary, the block has changed, or the shard is damaged.
    """
    try:
        summary = parse_config(ShardSummary, summary_path(folder, number).read_bytes(), "")
        if summary.digest != digest or sum(summary.lengths) != summary.shard.samples:
            return None
        path = folder / SHARD_FOLDER / summary.shard.name
        if path.stat().st_size != PCM_DTYPE.itemsize * summary.shard.samples:
            return None
        if verify_hash and hash_shard(path) != summary.sha256:
            return None
    except (OSError, ConfigError):
        return None
    return summary


def hash_shard(path: Path) -> str:
    """Return the SHA-256 of a shard, in hexadecimal; raise OSError if it cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_corpus_report(folder: Path) -> CorpusReport:
    """Read the report that was written when the corpus was prepared.

    Raises:
        DataError: it cannot be read.
    """
    path = folder / REPORT_FILE
    try:
        return parse_config(CorpusReport, path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except ConfigError as error:
        raise DataError(str(error)) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file, complete or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array, complete or not at all.

    Raises:
        FolderError: it cannot be written.
    """
    try:
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None
