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

from audio_utils.atomic_files import TEMPORARY_PREFIX, atomic_file, os_error_reason
from wavenet.config import make_config
from wavenet.corpus.format import (
    CODES,
    HEADER,
    INDEX,
    PART_NAME,
    PARTS,
    RECORDS,
    REPORT,
    SHARD_NAME,
    SHARDS,
    SKIPPED,
    Header,
    Part,
    Report,
    Settings,
    Shard,
    Texts,
    array_path,
    part_path,
    plain,
    read_part,
    write_array,
    write_text,
)
from wavenet.corpus.listing import Block, Listing
from wavenet.errors import DataError, FolderError

SHOWN = 20  # names and sentences in the report
_PARTIAL = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}\.(pcm|json|npy|txt)")

# what may be removed from where; nothing else is
_OURS = {
    SHARDS: re.compile(SHARD_NAME),
    PARTS: re.compile(PART_NAME),
    INDEX: re.compile(r"[a-z]+(-[0-9]+)?(\.[a-z]+)?\.npy"),
    ".": re.compile(re.escape(REPORT) + "|" + re.escape(SKIPPED)),
}


@dataclass
class _Totals:
    """What is known of all blocks so far."""

    records: list[NDArray[Any]] = field(default_factory=list)
    shards: list[Shard] = field(default_factory=list)
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

    def add(self, block: Block, part: Part) -> None:
        lengths = np.array(part.lengths, np.int64)
        (there,) = lengths.nonzero()
        records = np.zeros(len(there), RECORDS)
        records["number"] = block.first + there
        records["shard"] = len(self.shards)
        records["offset"] = (np.cumsum(lengths) - lengths)[there]
        records["samples"] = lengths[there]
        self.records.append(records)
        self.shards.append(part.shard)
        self.rates.update(part.rates)
        self.channels.update(part.channels)
        names = [plain(block.names[n]) for n in part.clipped]
        self.clipped = [*self.clipped, *names][:SHOWN]
        self.clipped_count += part.clipped_count
        self.silent += part.silent
        self.skip(part.skipped)


def finish(folder: Path, settings: Settings, listing: Listing, blocks: Sequence[Block]) -> Report:
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
    _write_texts(folder, "names", Texts.of(listing.names[n] for n in numbers))
    for n, column in enumerate(listing.columns.values()):
        codes = np.array(column.codes, CODES)[numbers]
        write_array(array_path(folder, f"field-{n}.codes"), codes)
        _write_texts(folder, f"field-{n}", Texts.of(column.values))
    write_array(array_path(folder, "records"), records)
    report = _report(totals, len(listing.names), records["samples"] / settings.sample_rate)
    write_text(folder / REPORT, report.model_dump_json(indent=2) + "\n")
    header = make_config(
        Header,
        str(folder / HEADER),
        sample_rate=settings.sample_rate,
        pattern=settings.pattern,
        metadata=settings.metadata,
        files=len(listing.names),
        recordings=len(records),
        samples=int(records["samples"].sum()),
        fields=tuple(map(plain, listing.columns)),
        shards=tuple(totals.shards),
    )
    write_text(folder / HEADER, header.model_dump_json(indent=2) + "\n")
    _sweep_old(folder, header, len(blocks))
    return report


def sweep(folder: Path, every: bool = False) -> None:
    """Remove what killed processes left half-written, or all files of a corpus, header first.

    Raises:
        FolderError: a file cannot be removed.
    """
    try:
        if every:
            (folder / HEADER).unlink(missing_ok=True)
        for name, ours in _OURS.items():
            place = folder / name
            for path in place.iterdir() if place.is_dir() else ():
                if _PARTIAL.fullmatch(path.name) or (every and ours.fullmatch(path.name)):
                    path.unlink()
    except OSError as error:
        raise FolderError(f"{error.filename} cannot be removed: {os_error_reason(error)}") from None


def _gather(folder: Path, listing: Listing, blocks: Sequence[Block]) -> _Totals:
    """Read all parts; what could not be read goes into a file of its own, for it may be much."""
    totals = _Totals()
    totals.skip([plain(fault) for fault in listing.faults])
    try:
        # what is there is no whole corpus while its index is written
        (folder / HEADER).unlink(missing_ok=True)
        path = folder / SKIPPED
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.writelines(plain(fault) + "\n" for fault in listing.faults)
            for block in blocks:
                part = read_part(folder, block.number, block.digest, is_checked=False)
                if part is None or len(part.lengths) != len(block.names):
                    name = part_path(folder, block.number)
                    raise FolderError(f"{name} was changed meanwhile; run the same again")
                totals.add(block, part)
                file.writelines(sentence + "\n" for sentence in part.skipped)
    except OSError as error:
        raise FolderError(
            f"{folder / SKIPPED} cannot be written: {os_error_reason(error)}"
        ) from None
    return totals


def _report(totals: _Totals, files: int, seconds: NDArray[np.float64]) -> Report:
    whole = float(seconds.sum())
    return Report(
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


def _write_texts(folder: Path, name: str, texts: Texts) -> None:
    write_array(array_path(folder, f"{name}.content"), texts.content)
    write_array(array_path(folder, f"{name}.ends"), texts.ends)


def _sweep_old(folder: Path, header: Header, blocks: int) -> None:
    """Remove what a listing that was another one left; it is no fault if that cannot be done."""
    shards = {shard.name for shard in header.shards}
    parts = {part_path(folder, number).name for number in range(blocks)}
    for place, names in ((SHARDS, shards), (PARTS, parts)):
        for name in filter(_OURS[place].fullmatch, set(os.listdir(folder / place)) - names):
            with suppress(OSError):
                (folder / place / name).unlink()
