"""Read a prepared corpus: its index is mapped, its samples are mapped while they are copied.

A folder enters; recordings leave, by their place in it. Nothing that was read is kept, so that
memory does not grow with the corpus. Called by training and by whoever reports on a corpus.
"""

import mmap
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.atomic_files import os_error_reason
from wavenet.config import parse_config
from wavenet.corpus.format import (
    CODES,
    FULL,
    HEADER,
    PCM,
    RECORDS,
    SETTINGS,
    SHARDS,
    Header,
    Texts,
    array_path,
)
from wavenet.errors import ConfigError, DataError

AGAIN = "prepare it again with --overwrite"


class Corpus:
    """The recordings of a prepared corpus.

    Args:
        folder: of the corpus.
    Raises:
        DataError: it is not finished, of another version, damaged, or contradicts itself.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        opened = _stamp(folder)
        self.header = _read_header(folder)
        self.records = self._load("records", RECORDS, self.header.recordings)
        self.names = self._texts("names", self.header.recordings)
        self._columns = {
            name: (
                self._load(f"field-{n}.codes", CODES, self.header.recordings),
                self._texts(f"field-{n}"),
            )
            for n, name in enumerate(self.header.fields)
        }
        self._check()
        if _stamp(folder) != opened:
            raise DataError(f"{folder} was changed while it was opened; try again")

    def __len__(self) -> int:
        """Count the recordings."""
        return self.header.recordings

    @cached_property
    def fields(self) -> dict[str, tuple[str, ...]]:
        """The values that are given to files, in order, by the name of the label."""
        return {name: tuple(sorted(texts)) for name, (_, texts) in self._columns.items()}

    def labels(self, n: int) -> dict[str, str]:
        """Give the labels of a recording."""
        found = ((name, int(codes[n]), texts) for name, (codes, texts) in self._columns.items())
        return {name: texts[code] for name, code, texts in found if code >= 0}

    def read(self, n: int, begin: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Read a recording, or a part of it.

        Args:
            n: which recording.
            begin, end: in samples.
        Returns:
            (end - begin,) in [-1, 1].
        Raises:
            DataError: the corpus was changed or damaged since it was opened.
        """
        _, shard, offset, samples = self.records[n].tolist()
        path = self.folder / SHARDS / self.header.shards[shard].name
        length = (samples if end is None else end) - begin
        try:
            with path.open("rb", buffering=0) as file:
                pcm = _mapped(file.fileno(), offset + begin, length)
        except (OSError, ValueError) as error:
            why = os_error_reason(error) if isinstance(error, OSError) else "it is too short"
            raise DataError(
                f"{path} cannot be read any more: {why}; the corpus was changed meanwhile"
            ) from None
        waveform: NDArray[np.float32] = pcm.astype(np.float32) / np.float32(FULL)
        return waveform

    def check_labels(self, pattern: str | None, metadata: str | None) -> None:
        """See that labels are asked for as the corpus was prepared with them, or not at all.

        Raises:
            ConfigError: they are not.
        """
        asked = {"pattern": pattern, "metadata": metadata}
        for name, value in asked.items():
            made = getattr(self.header, name)
            if value not in (None, made):
                raise ConfigError(
                    f"the corpus {self.folder} was prepared with {name} {made or 'none'}, asked is "
                    f"{value}; leave out {name}, or prepare it with that"
                )

    def _texts(self, name: str, count: int | None = None) -> Texts:
        ends = self._load(f"{name}.ends", np.dtype(np.int64), count)
        content = self._load(f"{name}.content", np.dtype(np.uint8))
        if (np.diff(ends, prepend=0) < 0).any() or int(ends[-1]) + 1 != len(content):
            raise DataError(f"{array_path(self.folder, name)} contradicts itself; {AGAIN}")
        return Texts(content, ends)

    def _load(self, name: str, kind: np.dtype[Any], count: int | None = None) -> NDArray[Any]:
        path = array_path(self.folder, name)
        try:
            array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError, OverflowError, SyntaxError) as error:
            why = (
                os_error_reason(error)
                if isinstance(error, OSError)
                else "it is damaged or cut short"
            )
            raise DataError(f"{path} cannot be read: {why}; {AGAIN}") from None
        if array.dtype != kind or array.ndim != 1 or not len(array):
            raise DataError(f"{path} is no array of {kind}; {AGAIN}")
        if count is not None and len(array) != count:
            raise DataError(f"{path} has {len(array):,} rows, expected {count:,}; {AGAIN}")
        # a view without the class of maps, whose every element would carry the map along
        return array.view(np.ndarray)

    def _check(self) -> None:
        """See that all that the index says can be."""
        header, records = self.header, self.records
        for shard in header.shards:
            path = self.folder / SHARDS / shard.name
            expected = PCM.itemsize * shard.samples
            found = path.stat().st_size if path.is_file() else None
            if found != expected:
                what = "is missing" if found is None else f"has {found:,} bytes"
                raise DataError(f"{path} {what}, expected {expected:,} bytes; {AGAIN}")
        room = np.array([shard.samples for shard in header.shards])
        inside = (records["shard"] >= 0) & (records["shard"] < len(room))
        inside &= (records["samples"] >= 1) & (records["offset"] >= 0)
        # subtracted, not added up, which could overflow
        known = room[np.where(inside, records["shard"], 0)]
        inside &= records["offset"] <= known - records["samples"]
        if not inside.all():
            n = int(inside.argmin())
            raise DataError(
                f"{array_path(self.folder, 'records')} puts recording {n:,} outside its shard; "
                f"{AGAIN}"
            )
        numbers = records["number"]
        in_order = (np.diff(numbers, prepend=-1) > 0).all() and numbers[-1] < header.files
        if not in_order or int(records["samples"].sum()) != header.samples:
            raise DataError(f"{self.folder / HEADER} and the index contradict each other; {AGAIN}")
        for name, (codes, texts) in self._columns.items():
            if codes.min() < -1 or codes.max() >= len(texts):
                raise DataError(f"{self.folder}: the labels {name!r} point nowhere; {AGAIN}")


def _mapped(descriptor: int, first: int, samples: int) -> NDArray[np.int16]:
    """Map samples of a file, and no more: pages that stay mapped would count as memory of ours."""
    begin = PCM.itemsize * first
    start = begin - begin % mmap.ALLOCATIONGRANULARITY
    length = begin - start + PCM.itemsize * samples
    if hasattr(mmap, "MAP_POPULATE"):  # all pages at once, not one after the other
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        window = mmap.mmap(descriptor, length, flags, mmap.PROT_READ, offset=start)
    else:
        window = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=start)
    return np.frombuffer(window, PCM, samples, begin - start)


def _stamp(folder: Path) -> tuple[int, int] | None:
    """Tell one header from another that took its place."""
    try:
        found = (folder / HEADER).stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _read_header(folder: Path) -> Header:
    path = folder / HEADER
    if not path.is_file() and (folder / SETTINGS).is_file():
        raise DataError(f"{folder} is not finished; run the same `wavenet data prepare` again")
    try:
        return parse_config(Header, path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except ConfigError as error:
        raise DataError(f"{error}; {AGAIN}") from None
