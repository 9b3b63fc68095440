"""Bring together what the shards hold: the index, the report, and last of all the header.

The parts of all blocks enter, one at a time; a corpus that can be opened leaves.
"""

import os
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.files import TEMPORARY_PREFIX, atomic_file, reason
from wavenet.corpus.file_listing import FileBlock, FileListing
from wavenet.corpus.format import (
    FIELD_CODE_DTYPE,
    HEADER_FILE,
    INDEX_FOLDER,
    RECORD_DTYPE,
    REPORT_FILE,
    SHARD_FOLDER,
    SHARD_NAME,
    SKIPPED_FILE,
    SUMMARY_FOLDER,
    SUMMARY_NAME,
    CorpusHeader,
    CorpusReport,
    CorpusSettings,
    CorpusShard,
    ShardSummary,
    TextArray,
    array_path,
    printable,
    read_shard_summary,
    summary_path,
    write_array,
    write_text,
)
from wavenet.errors import DataError, FolderError
from wavenet.parsing import make

SHOWN = 20  # names and sentences in the report
_PARTIAL = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}\.(pcm|json|npy|txt)")

# what may be removed from where; nothing else is
_OURS = {
    SHARD_FOLDER: re.compile(SHARD_NAME),
    SUMMARY_FOLDER: re.compile(SUMMARY_NAME),
    INDEX_FOLDER: re.compile(r"[a-z]+(-[0-9]+)?(\.[a-z]+)?\.npy"),
    ".": re.compile(re.escape(REPORT_FILE) + "|" + re.escape(SKIPPED_FILE)),
}


@dataclass
class _Totals:
    """What is known of all blocks so far."""

    records: list[NDArray[Any]] = field(default_factory=list)
    shards: list[CorpusShard] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    clipped: list[str] = field(default_factory=list)
    clipped_count: int = 0
    silent: float = 0.0  # seconds
    skipped: list[str] = field(default_factory=list)
    skipped_count: int = 0

    def skip(self, sentences: Sequence[str]) -> None:
        self.skipped = [*self.skipped, *sentences][:SHOWN]
        self.skipped_count += len(sentences)

    def add(self, block: FileBlock, part: ShardSummary) -> None:
        lengths = np.array(part.lengths, np.int64)
        (there,) = lengths.nonzero()
        records = np.zeros(len(there), RECORD_DTYPE)
        records["number"] = block.first + there
        records["shard"] = len(self.shards)
        records["offset"] = (np.cumsum(lengths) - lengths)[there]
        records["samples"] = lengths[there]
        self.records.append(records)
        self.shards.append(part.shard)
        self.rates.update(part.rates)
        self.channels.update(part.channels)
        names = [printable(block.names[n]) for n in part.clipped]
        self.clipped = [*self.clipped, *names][:SHOWN]
        self.clipped_count += part.clipped_count
        self.silent += part.silent
        self.skip(part.skipped)


def write_index(
    folder: Path, settings: CorpusSettings, listing: FileListing, blocks: Sequence[FileBlock]
) -> CorpusReport:
    """Write index, report and header of a corpus whose shards are made; remove what is not of it.

    Raises:
        DataError: no file could be read.
        FolderError: it cannot be written.
    """
    totals = _gather(folder, listing, blocks)
    records = np.concatenate(totals.records)
    if not len(records):
        raise DataError(
            f"{settings.source} leaves no recording; the first fault: {totals.skipped[0]}"
        )
    numbers = records["number"]
    _write_texts(folder, "names", TextArray.of(listing.names[n] for n in numbers))
    for n, column in enumerate(listing.columns.values()):
        codes = np.array(column.codes, FIELD_CODE_DTYPE)[numbers]
        write_array(array_path(folder, f"field-{n}.codes"), codes)
        _write_texts(folder, f"field-{n}", TextArray.of(column.values))
    write_array(array_path(folder, "records"), records)
    report = _report(totals, len(listing.names), records["samples"] / settings.sample_rate)
    write_text(folder / REPORT_FILE, report.model_dump_json(indent=2) + "\n")
    header = make(
        CorpusHeader,
        str(folder / HEADER_FILE),
        sample_rate=settings.sample_rate,
        pattern=settings.pattern,
        metadata=settings.metadata,
        files=len(listing.names),
        recordings=len(records),
        samples=int(records["samples"].sum()),
        fields=tuple(map(printable, listing.columns)),
        shards=tuple(totals.shards),
    )
    write_text(folder / HEADER_FILE, header.model_dump_json(indent=2) + "\n")
    _sweep_old(folder, header, len(blocks))
    return report


def clean_folder(folder: Path, every: bool = False) -> None:
    """Remove what killed processes left half-written, or all files of a corpus, header first.

    Raises:
        FolderError: a file cannot be removed.
    """
    try:
        if every:
            (folder / HEADER_FILE).unlink(missing_ok=True)
        for name, ours in _OURS.items():
            place = folder / name
            for path in place.iterdir() if place.is_dir() else ():
                if _PARTIAL.fullmatch(path.name) or (every and ours.fullmatch(path.name)):
                    path.unlink()
    except OSError as error:
        raise FolderError(f"{error.filename} cannot be removed: {reason(error)}") from None


def _gather(folder: Path, listing: FileListing, blocks: Sequence[FileBlock]) -> _Totals:
    """Read all parts; what could not be read goes into a file of its own, for it may be much."""
    totals = _Totals()
    totals.skip([printable(fault) for fault in listing.faults])
    try:
        # what is there is no whole corpus while its index is written
        (folder / HEADER_FILE).unlink(missing_ok=True)
        path = folder / SKIPPED_FILE
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(printable(fault) + "\n" for fault in listing.faults)
            for block in blocks:
                part = read_shard_summary(folder, block.number, block.digest, is_checked=False)
                if part is None or len(part.lengths) != len(block.names):
                    name = summary_path(folder, block.number)
                    raise FolderError(f"{name} was changed meanwhile; run the same again")
                totals.add(block, part)
                file.writelines(sentence + "\n" for sentence in part.skipped)
    except OSError as error:
        raise FolderError(f"{folder / SKIPPED_FILE} cannot be written: {reason(error)}") from None
    return totals


def _report(totals: _Totals, files: int, seconds: NDArray[np.float64]) -> CorpusReport:
    whole = float(seconds.sum())
    return CorpusReport(
        files=files,
        readable=len(seconds),
        seconds=whole,
        shortest=float(seconds.min()),
        median=float(np.median(seconds)),
        longest=float(seconds.max()),
        rates=dict(sorted(totals.rates.items())),
        channels=dict(sorted(totals.channels.items())),
        clipped=tuple(totals.clipped),
        clipped_count=totals.clipped_count,
        silent=totals.silent / whole,
        unreadable=tuple(totals.skipped),
        unreadable_count=totals.skipped_count,
    )


def _write_texts(folder: Path, name: str, texts: TextArray) -> None:
    write_array(array_path(folder, f"{name}.content"), texts.content)
    write_array(array_path(folder, f"{name}.ends"), texts.ends)


def _sweep_old(folder: Path, header: CorpusHeader, blocks: int) -> None:
    """Remove what a listing that was another one left; it is no fault if that cannot be done."""
    shards = {shard.name for shard in header.shards}
    parts = {summary_path(folder, number).name for number in range(blocks)}
    for place, names in ((SHARD_FOLDER, shards), (SUMMARY_FOLDER, parts)):
        for name in filter(_OURS[place].fullmatch, set(os.listdir(folder / place)) - names):
            with suppress(OSError):
                (folder / place / name).unlink()
