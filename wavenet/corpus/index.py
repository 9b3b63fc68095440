"""Complete a corpus: write the index, the report, and finally the header.

Input: the summaries of all shards, one at a time. Output: a corpus that can be opened. Called by
`prepare`.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.atomic_files import TEMPORARY_PREFIX, atomic_file, os_error_reason
from audio_utils.levels import LevelSummary
from wavenet.config import make_config
from wavenet.corpus.file_listing import FileBlock, FileListing
from wavenet.corpus.format import (
    HEADER_FILE,
    INDEX_FOLDER,
    RECORD_DTYPE,
    REPORT_FILE,
    SHARD_FOLDER,
    SHARD_NAME,
    SKIPPED_FILE,
    SUMMARY_FOLDER,
    SUMMARY_NAME,
    VALUE_INDEX_DTYPE,
    CorpusHeader,
    CorpusReport,
    CorpusSettings,
    CorpusShard,
    ShardSummary,
    TextArray,
    array_path,
    read_shard_summary,
    summary_path,
    write_array,
    write_text,
)
from wavenet.errors import DataError, FolderError
from wavenet.recordings.left_out_files import LeftOutCollector, merge_groups
from wavenet.terminal import escape_controls

MAX_LISTED = 20  # names and messages in the report
_PARTIAL_FILE = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}\.(pcm|json|npy|txt)")

# the files that may be removed, by folder; no other file is removed
_CORPUS_FILES = {
    SHARD_FOLDER: re.compile(SHARD_NAME),
    SUMMARY_FOLDER: re.compile(SUMMARY_NAME),
    INDEX_FOLDER: re.compile(r"[a-z]+(-[0-9]+)?(\.[a-z]+)?\.npy"),
    ".": re.compile(re.escape(REPORT_FILE) + "|" + re.escape(SKIPPED_FILE)),
}


@dataclass
class _CorpusTotals:
    """Totals of the shards so far; see `CorpusReport`."""

    records: list[NDArray[Any]] = field(default_factory=list)
    shards: list[CorpusShard] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    clipped: list[str] = field(default_factory=list)
    clipped_count: int = 0
    silent_seconds: float = 0.0
    unreadable: list[str] = field(default_factory=list)
    unreadable_count: int = 0
    left_out: LeftOutCollector = field(default_factory=LeftOutCollector)
    levels: LevelSummary = field(default_factory=LevelSummary)

    def add_unreadable(self, messages: Sequence[str]) -> None:
        """Add the messages of files or folders that could not be read."""
        self.unreadable = [*self.unreadable, *messages][:MAX_LISTED]
        self.unreadable_count += len(messages)

    def add_shard(self, block: FileBlock, summary: ShardSummary) -> None:
        """Add the files of a block."""
        lengths = np.array(summary.lengths, np.int64)
        (readable,) = lengths.nonzero()
        records = np.zeros(len(readable), RECORD_DTYPE)
        records["number"] = block.first + readable
        records["shard"] = len(self.shards)
        records["offset"] = (np.cumsum(lengths) - lengths)[readable]
        records["samples"] = lengths[readable]
        self.records.append(records)
        self.shards.append(summary.shard)
        self.rates.update(summary.rates)
        self.channels.update(summary.channels)
        names = [escape_controls(block.paths[n]) for n in summary.clipped]
        self.clipped = [*self.clipped, *names][:MAX_LISTED]
        self.clipped_count += summary.clipped_count
        self.silent_seconds += summary.silent
        self.levels = self.levels.merged(summary.levels)
        self.add_unreadable(summary.skipped)
        (unread,) = (lengths == 0).nonzero()
        for n, reason in zip(unread, summary.reasons, strict=False):  # none in older summaries
            self.left_out.add(reason, block.paths[n])

    def to_report(self, listing: FileListing, seconds: NDArray[np.float64]) -> CorpusReport:
        """Return the report.

        Args:
            listing: the files of the corpus, and what was found in their table or names.
            seconds: (recordings,), length of each.
        """
        total = float(seconds.sum())
        groups = merge_groups(listing.left_out, self.left_out.groups)
        return CorpusReport(
            files=len(listing.paths),
            readable=len(seconds),
            seconds=total,
            shortest=float(seconds.min()),
            median=float(np.median(seconds)),
            longest=float(seconds.max()),
            rates=dict(sorted(self.rates.items())),
            channels=dict(sorted(self.channels.items())),
            clipped=tuple(self.clipped),
            clipped_count=self.clipped_count,
            silent=self.silent_seconds / total,
            unreadable=tuple(self.unreadable),
            unreadable_count=self.unreadable_count,
            left_out=tuple(
                replace(group, names=tuple(map(escape_controls, group.names))) for group in groups
            ),
            levels=self.levels,
            merged={escape_controls(name): merged for name, merged in listing.merged.items()},
        )


def write_index(
    folder: Path, settings: CorpusSettings, listing: FileListing, blocks: Sequence[FileBlock]
) -> CorpusReport:
    """Write index, report and header of a corpus with complete shards; remove obsolete files.

    Raises:
        DataError: no file could be read.
        FolderError: the corpus cannot be written.
    """
    totals = _collect_totals(folder, listing, blocks)
    records = np.concatenate(totals.records)
    if not len(records):
        raise DataError(
            f"no file of {settings.source} can be read; the first error: {totals.unreadable[0]}"
        )
    numbers = records["number"]
    _write_texts(folder, "names", TextArray.from_texts(listing.paths[n] for n in numbers))
    for n, column in enumerate(listing.columns.values()):
        indices = np.array(column.value_indices, VALUE_INDEX_DTYPE)[numbers]
        write_array(array_path(folder, f"field-{n}.codes"), indices)
        _write_texts(folder, f"field-{n}", TextArray.from_texts(column.values))
    write_array(array_path(folder, "records"), records)
    seconds = records["samples"] / settings.sample_rate
    report = totals.to_report(listing, seconds)
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")
    header = make_config(
        CorpusHeader,
        str(folder / HEADER_FILE),
        sample_rate=settings.sample_rate,
        pattern=settings.pattern,
        metadata=settings.metadata,
        channel=settings.channel,
        normalize=settings.normalize,
        files=len(listing.paths),
        recordings=len(records),
        samples=int(records["samples"].sum()),
        fields=tuple(map(escape_controls, listing.columns)),
        shards=tuple(totals.shards),
    )
    write_text(folder / HEADER_FILE, header.model_dump_json(indent=2) + "\n")
    _remove_obsolete(folder, header, len(blocks))
    return report


def clean_folder(folder: Path, remove_corpus: bool = False) -> None:
    """Remove incomplete files of killed processes.

    Args:
        remove_corpus: remove all other files of the corpus, too, the header first.
    Raises:
        FolderError: a file cannot be removed.
    """
    try:
        if remove_corpus:
            (folder / HEADER_FILE).unlink(missing_ok=True)
        for name, pattern in _CORPUS_FILES.items():
            subfolder = folder / name
            for path in subfolder.iterdir() if subfolder.is_dir() else ():
                is_corpus_file = remove_corpus and pattern.fullmatch(path.name)
                if is_corpus_file or _PARTIAL_FILE.fullmatch(path.name):
                    path.unlink()
    except OSError as error:
        raise FolderError(f"{error.filename} cannot be removed: {os_error_reason(error)}") from None


def _collect_totals(
    folder: Path, listing: FileListing, blocks: Sequence[FileBlock]
) -> _CorpusTotals:
    """Read all summaries; write all messages to their own file, because there may be many."""
    totals = _CorpusTotals()
    folder_errors = [escape_controls(message) for message in listing.folder_errors]
    totals.add_unreadable(folder_errors)
    try:
        # the corpus is incomplete until the header is written again
        (folder / HEADER_FILE).unlink(missing_ok=True)
        path = folder / SKIPPED_FILE
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(message + "\n" for message in folder_errors)
            for block in blocks:
                summary = read_shard_summary(folder, block.number, block.digest, verify_hash=False)
                if summary is None or len(summary.lengths) != len(block.paths):
                    name = summary_path(folder, block.number)
                    raise FolderError(f"{name} has changed; run the same command again")
                totals.add_shard(block, summary)
                file.writelines(message + "\n" for message in summary.skipped)
    except OSError as error:
        raise FolderError(
            f"{folder / SKIPPED_FILE} cannot be written: {os_error_reason(error)}"
        ) from None
    return totals


def _write_texts(folder: Path, name: str, texts: TextArray) -> None:
    write_array(array_path(folder, f"{name}.content"), texts.content)
    write_array(array_path(folder, f"{name}.ends"), texts.ends)


def _remove_obsolete(folder: Path, header: CorpusHeader, blocks: int) -> None:
    """Remove shards and summaries of an earlier listing; ignore errors."""
    shards = {shard.name for shard in header.shards}
    summaries = {summary_path(folder, number).name for number in range(blocks)}
    for subfolder, current in ((SHARD_FOLDER, shards), (SUMMARY_FOLDER, summaries)):
        names = set(os.listdir(folder / subfolder)) - current
        for name in filter(_CORPUS_FILES[subfolder].fullmatch, names):
            with suppress(OSError):
                (folder / subfolder / name).unlink()
