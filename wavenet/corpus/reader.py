"""Read a prepared corpus through memory maps.

Input: a folder. Output: recordings, by their index. No samples are kept in memory, so the memory
does not grow with the duration of the corpus. Called by training, and by reports on a corpus.
"""

import hashlib
import mmap
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_utils.atomic_files import os_error_reason
from audio_utils.levels import Channel
from wavenet.array_files import map_array
from wavenet.config import parse_config
from wavenet.corpus.format import (
    HEADER_FILE,
    PCM_DTYPE,
    PCM_SCALE,
    RECORD_DTYPE,
    SETTINGS_FILE,
    SHARD_FOLDER,
    VALUE_INDEX_DTYPE,
    CorpusHeader,
    ShardSummary,
    TextArray,
    array_path,
    hash_shard,
    summary_path,
)
from wavenet.errors import ConfigError, DataError

PREPARE_AGAIN = "prepare it again with --overwrite"


class Corpus:
    """The recordings of a prepared corpus.

    Attributes:
        folder: of the corpus.
        header: its header.
        records: (recordings,) of `format.RECORD_DTYPE`, the index entry of each recording.
        names: path of each recording, relative to the source folder.

    Args:
        folder: of the corpus.
    Raises:
        DataError: the corpus is incomplete, damaged, inconsistent, or of another version.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        version = _header_version(folder)
        self.header = _read_header(folder)
        self.records = self._load_array("records", RECORD_DTYPE, self.header.recordings)
        self.names = self._load_texts("names", self.header.recordings)
        self._columns = {
            name: (
                self._load_array(f"field-{n}.codes", VALUE_INDEX_DTYPE, self.header.recordings),
                self._load_texts(f"field-{n}"),
            )
            for n, name in enumerate(self.header.fields)
        }
        self._check_shards()
        self._check_index()
        if _header_version(folder) != version:
            raise DataError(f"{folder} has changed while it was opened; try again")

    def __len__(self) -> int:
        """Return the number of recordings."""
        return self.header.recordings

    @cached_property
    def field_values(self) -> dict[str, tuple[str, ...]]:
        """All values of each field, sorted, by the name of the field."""
        return {name: tuple(sorted(texts)) for name, (_, texts) in self._columns.items()}

    def count_values(self) -> dict[str, dict[str, int]]:
        """Return, for each field, the number of recordings with each value."""
        counts = {}
        for name, (codes, texts) in self._columns.items():
            numbers = np.bincount(codes[codes >= 0], minlength=len(texts)).tolist()
            counts[name] = {text: n for text, n in zip(texts, numbers, strict=True) if n}
        return counts

    def rename_fields(self, renamed: Mapping[str, str]) -> None:
        """Rename fields, by a mapping from new names to names in the corpus."""
        names = {found: name for name, found in renamed.items()}
        self._columns = {names.get(n, n): column for n, column in self._columns.items()}

    def fields(self, n: int) -> dict[str, str]:
        """Return the fields of a recording."""
        found = ((name, int(codes[n]), texts) for name, (codes, texts) in self._columns.items())
        return {name: texts[code] for name, code, texts in found if code >= 0}

    def read(self, n: int, begin: int = 0, end: int | None = None) -> NDArray[np.float32]:
        """Read a recording, or a segment of it.

        Args:
            n: index of the recording.
            begin, end: in samples; by default the whole recording.
        Returns:
            (end - begin,) in [-1, 1].
        Raises:
            DataError: the corpus has been changed or damaged since it was opened.
        """
        _, shard, offset, samples = self.records[n].tolist()
        path = self.folder / SHARD_FOLDER / self.header.shards[shard].name
        length = (samples if end is None else end) - begin
        try:
            with path.open("rb", buffering=0) as file:
                pcm = _map_samples(file.fileno(), offset + begin, length)
        except (OSError, ValueError) as error:
            why = os_error_reason(error) if isinstance(error, OSError) else "it is too short"
            raise DataError(
                f"{path} can no longer be read: {why}; the corpus was changed after it was opened"
            ) from None
        waveform: NDArray[np.float32] = pcm.astype(np.float32) / np.float32(PCM_SCALE)
        return waveform

    def check_field_source(self, pattern: str | None, metadata: str | None) -> None:
        """Check that `pattern` and `metadata` equal those of the corpus.

        Args:
            pattern, metadata: as in `audio_metadata.find_audio_files`; None accepts any.
        Raises:
            ConfigError: the corpus was prepared with another value.
        """
        for name, wanted in {"pattern": pattern, "metadata": metadata}.items():
            prepared = getattr(self.header, name)
            if wanted not in (None, prepared):
                raise ConfigError(
                    f"the corpus {self.folder} was prepared with {name} {prepared or 'none'}, not "
                    f"{wanted}; omit {name}, or prepare the corpus again with it"
                )

    def check_reading(self, channel: Channel, normalize: bool) -> None:
        """Check that the corpus was prepared with the requested channel and normalisation.

        Args:
            channel, normalize: as in `audio_utils.io.read`; the defaults accept any.
        Raises:
            ConfigError: it was prepared with other settings.
        """
        header = self.header
        for name, wanted, default, prepared in (
            ("channel", channel, "mix", header.channel),
            ("normalize", normalize, False, header.normalize),
        ):
            if wanted not in (default, prepared):
                raise ConfigError(
                    f"the corpus {self.folder} was prepared with {name} {prepared}, not {wanted}; "
                    f"omit {name}, or prepare the corpus again with it"
                )

    def check_content(self) -> None:
        """Compare the hash of every shard with the hash that its preparation recorded.

        Raises:
            DataError: a shard has changed since, or it or its summary cannot be read.
        """
        shards = [self.folder / SHARD_FOLDER / shard.name for shard in self.header.shards]
        with ThreadPoolExecutor() as pool:
            jobs = [pool.submit(hash_shard, path) for path in shards]
            try:
                for number, (path, job) in enumerate(zip(shards, jobs, strict=True)):
                    if job.result() != self._prepared_hash(number):
                        raise DataError(
                            f"{path} has changed since the corpus was prepared; {PREPARE_AGAIN}"
                        )
            except OSError as error:
                raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None
            finally:
                pool.shutdown(cancel_futures=True)

    def content_digest(self) -> str:
        """Compute a digest of samples, names and fields, which does not depend on file times.

        Raises:
            DataError: the summary of a shard cannot be read.
        """
        digest = hashlib.sha256(f"{self.header.sample_rate} {self.header.files}".encode())
        for number in range(len(self.header.shards)):
            digest.update(self._prepared_hash(number).encode())
        digest.update(self.records.tobytes())
        columns = ((name, codes, texts) for name, (codes, texts) in self._columns.items())
        for name, codes, texts in (("", np.zeros(0), self.names), *columns):
            for part in (name.encode(), *(a.tobytes() for a in (codes, texts.content, texts.ends))):
                digest.update(hashlib.sha256(part).digest())
        return digest.hexdigest()

    def _prepared_hash(self, number: int) -> str:
        """Return the hash of a shard when it was prepared, from its summary."""
        path = summary_path(self.folder, number)
        try:
            return parse_config(ShardSummary, path.read_bytes(), str(path)).sha256
        except (OSError, ConfigError):
            raise DataError(f"{path} cannot be read; {PREPARE_AGAIN}") from None

    def _load_texts(self, name: str, count: int | None = None) -> TextArray:
        ends = self._load_array(f"{name}.ends", np.dtype(np.int64), count)
        content = self._load_array(f"{name}.content", np.dtype(np.uint8))
        if (np.diff(ends, prepend=0) < 0).any() or int(ends[-1]) + 1 != len(content):
            raise DataError(f"{array_path(self.folder, name)} is inconsistent; {PREPARE_AGAIN}")
        return TextArray(content, ends)

    def _load_array(
        self, name: str, dtype: np.dtype[Any], count: int | None = None
    ) -> NDArray[Any]:
        path = array_path(self.folder, name)
        try:
            array = map_array(path)
        except (OSError, ValueError) as error:
            why = os_error_reason(error) if isinstance(error, OSError) else str(error)
            raise DataError(f"{path} cannot be read: {why}; {PREPARE_AGAIN}") from None
        if array.dtype != dtype or array.ndim != 1 or not len(array):
            raise DataError(f"{path} is not an array of {dtype}; {PREPARE_AGAIN}")
        if count is not None and len(array) != count:
            raise DataError(f"{path} has {len(array):,} rows, expected {count:,}; {PREPARE_AGAIN}")
        # a plain view: elements of a memmap keep a reference to the map
        return array.view(np.ndarray)

    def _check_shards(self) -> None:
        """Check that every shard exists and has the size in the header."""
        for shard in self.header.shards:
            path = self.folder / SHARD_FOLDER / shard.name
            expected = PCM_DTYPE.itemsize * shard.samples
            found = path.stat().st_size if path.is_file() else None
            if found != expected:
                what = "is missing" if found is None else f"has {found:,} bytes"
                raise DataError(f"{path} {what}, expected {expected:,} bytes; {PREPARE_AGAIN}")

    def _check_index(self) -> None:
        """Check that the index is consistent, also with the header."""
        header, records = self.header, self.records
        sizes = np.array([shard.samples for shard in header.shards])
        inside = (records["shard"] >= 0) & (records["shard"] < len(sizes))
        inside &= (records["samples"] >= 1) & (records["offset"] >= 0)
        # a difference, because the sum of offset and samples could overflow
        size = sizes[np.where(inside, records["shard"], 0)]
        inside &= records["offset"] <= size - records["samples"]
        if not inside.all():
            n = int(inside.argmin())
            raise DataError(
                f"{array_path(self.folder, 'records')} places recording {n:,} outside its shard; "
                f"{PREPARE_AGAIN}"
            )
        numbers = records["number"]
        in_order = (np.diff(numbers, prepend=-1) > 0).all() and numbers[-1] < header.files
        if not in_order or int(records["samples"].sum()) != header.samples:
            raise DataError(
                f"{self.folder / HEADER_FILE} and the index are inconsistent; {PREPARE_AGAIN}"
            )
        for name, (codes, texts) in self._columns.items():
            if codes.min() < -1 or codes.max() >= len(texts):
                raise DataError(
                    f"{self.folder}: the field {name!r} has invalid values; {PREPARE_AGAIN}"
                )


def _map_samples(descriptor: int, first: int, samples: int) -> NDArray[np.int16]:
    """Map only these samples of a file, because mapped pages count as memory of this process."""
    begin = PCM_DTYPE.itemsize * first
    start = begin - begin % mmap.ALLOCATIONGRANULARITY
    length = begin - start + PCM_DTYPE.itemsize * samples
    if hasattr(mmap, "MAP_POPULATE"):  # reads all pages at once
        flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
        window = mmap.mmap(descriptor, length, flags, mmap.PROT_READ, offset=start)
    else:
        window = mmap.mmap(descriptor, length, access=mmap.ACCESS_READ, offset=start)
    return np.frombuffer(window, PCM_DTYPE, samples, begin - start)


def _header_version(folder: Path) -> tuple[int, int] | None:
    """Return (inode, modification time) of the header file, or None; a new file has others."""
    try:
        status = (folder / HEADER_FILE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _read_header(folder: Path) -> CorpusHeader:
    path = folder / HEADER_FILE
    if not path.is_file() and (folder / SETTINGS_FILE).is_file():
        raise DataError(f"{folder} is not finished; run the same `wavenet data prepare` again")
    try:
        return parse_config(CorpusHeader, path.read_bytes(), str(path))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {os_error_reason(error)}") from None
    except ConfigError as error:
        raise DataError(f"{error}; {PREPARE_AGAIN}") from None
