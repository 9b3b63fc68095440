"""Write the shard of a block: the 16-bit samples of its recordings in one file.

Input: a block. Output: a shard and its summary, each complete or absent. The summary is written
last: if there is a summary, its shard is complete. Called by `shard_workers`, in worker processes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.decoding import AudioStream, measure_file, open_stream
from audio_utils.errors import AudioError
from audio_utils.levels import LevelSummary, SampleStatistics
from wavenet.corpus.file_listing import FileBlock
from wavenet.corpus.format import (
    HEADER_FILE,
    PCM_DTYPE,
    PCM_SCALE,
    SHARD_FOLDER,
    CorpusSettings,
    CorpusShard,
    ShardSummary,
    read_shard_summary,
    summary_path,
    write_text,
)
from wavenet.errors import FolderError
from wavenet.recordings.left_out_files import UNREADABLE, unreadable_reason
from wavenet.terminal import escape_controls

MAX_LISTED = 20  # clipped files in a summary


@dataclass
class _BlockStatistics:
    """Statistics of the files of a block so far; see `ShardSummary`."""

    lengths: list[int] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    clipped: list[int] = field(default_factory=list)
    silent: float = 0.0
    skipped: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    levels: LevelSummary = field(default_factory=LevelSummary)

    def add_skipped(self, message: str, reason: str) -> None:
        """Add a file that cannot be read."""
        self.lengths.append(0)
        self.skipped.append(escape_controls(message))
        self.reasons.append(reason)

    def add_recording(
        self, name: str, stream: AudioStream, samples: SampleStatistics, gain: float
    ) -> None:
        """Add a file that was read completely."""
        if samples.is_clipped:
            self.clipped.append(len(self.lengths))
        self.lengths.append(samples.samples)
        self.rates[stream.original_rate] += 1
        self.channels[stream.channels] += 1
        self.silent += samples.silent_seconds
        levels = stream.measured(samples.samples, gain).levels
        self.levels = self.levels.with_file(escape_controls(name), levels)


def write_shard(
    folder: Path,
    settings: CorpusSettings,
    block: FileBlock,
    crashing: Container[int] = (),
    on_file: Callable[[int], None] = lambda n: None,
) -> None:
    """Write the shard of a block and its summary, unless both exist and are undamaged.

    Args:
        folder: of the corpus.
        crashing: indices of files that are skipped, because they crashed the processes that read
            them.
        on_file: called with the index of each file before it is read.
    Raises:
        FolderError: the corpus cannot be written.
    """
    if read_shard_summary(folder, block.number, block.digest) is not None:
        return
    path = folder / SHARD_FOLDER / f"{block.number:05d}-{block.digest[:12]}.pcm"
    statistics = _BlockStatistics()
    try:
        # remove the header first: until it is written again, the corpus counts as incomplete
        (folder / HEADER_FILE).unlink(missing_ok=True)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            output = _ShardOutput(file, path)
            for n, name in enumerate(block.paths):
                on_file(n)
                _add_file(output, name, settings, statistics, n in crashing)
    except OSError as error:
        raise cannot_write(path, error) from None
    summary = ShardSummary(
        digest=block.digest,
        shard=CorpusShard(name=path.name, samples=sum(statistics.lengths)),
        sha256=output.digest.hexdigest(),
        lengths=tuple(statistics.lengths),
        rates=dict(sorted(statistics.rates.items())),
        channels=dict(sorted(statistics.channels.items())),
        clipped=tuple(statistics.clipped[:MAX_LISTED]),
        clipped_count=len(statistics.clipped),
        silent=statistics.silent,
        skipped=tuple(statistics.skipped),
        reasons=tuple(statistics.reasons),
        levels=statistics.levels,
    )
    write_text(summary_path(folder, block.number), summary.model_dump_json())


def quantise(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round (T,) in [-1, 1] to 16 bits, halves to even; +1 becomes 32767.

    The samples of a 16-bit file are reproduced exactly.
    """
    scaled = np.rint(samples * np.float32(PCM_SCALE))
    pcm: NDArray[np.int16] = np.minimum(scaled, np.float32(PCM_SCALE - 1)).astype(PCM_DTYPE)
    return pcm


def cannot_write(path: Path, error: OSError) -> FolderError:
    """Return the error for a shard that cannot be written."""
    return FolderError(f"{path} cannot be written: {os_error_reason(error)}")


class _ShardOutput:
    """The file of a shard and its hash; the samples of an unreadable recording are removed again.

    Args:
        file: open for writing, empty.
        path: of the shard, for messages.
    """

    def __init__(self, file: BinaryIO, path: Path):
        self.digest = hashlib.sha256()
        self._file, self._path = file, path

    @contextmanager
    def undo_on_error(self) -> Iterator[None]:
        """Remove the samples that the `with` block has written if it raises."""
        position, digest = self._file.tell(), self.digest.copy()
        try:
            yield
        except BaseException:
            self._file.seek(position)
            self._file.truncate()
            self.digest = digest
            raise

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Append samples."""
        content = pcm.tobytes()
        self.digest.update(content)
        try:
            self._file.write(content)
        except OSError as error:
            raise cannot_write(self._path, error) from None


def _add_file(
    output: _ShardOutput,
    name: str,
    settings: CorpusSettings,
    statistics: _BlockStatistics,
    is_crashing: bool,
) -> None:
    """Append a file to its shard block by block; nothing is appended if it cannot be read."""
    path = Path(settings.source, name)
    if is_crashing:
        statistics.add_skipped(
            f"{path} crashed two worker processes; it is damaged or too large.", UNREADABLE
        )
        return
    try:
        with output.undo_on_error():
            _copy_samples(output, path, name, settings, statistics)
    except AudioError as error:
        statistics.add_skipped(str(error), unreadable_reason(path))
    except (OSError, MemoryError) as error:
        message = f"{path} cannot be read: {error or 'not enough memory'}."
        statistics.add_skipped(message, UNREADABLE)


def _copy_samples(
    output: _ShardOutput,
    path: Path,
    name: str,
    settings: CorpusSettings,
    statistics: _BlockStatistics,
) -> None:
    rate, channel, gain = settings.sample_rate, settings.channel, 1.0
    if settings.normalize:
        gain = measure_file(path, rate, channel, normalize=True).levels.gain
    samples = SampleStatistics(rate)
    with open_stream(path, rate, channel, check_peak=not settings.normalize) as stream:
        for block in stream.limited_blocks(gain):
            samples.add(block)
            output.write(quantise(block))
        statistics.add_recording(name, stream, samples, gain)
