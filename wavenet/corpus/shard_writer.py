"""Write the shard of a block: the 16-bit samples of its recordings in one file.

Input: a block. Output: a shard and its summary, each complete or absent. The summary is written
last: if there is a summary, its shard is complete. Called by `shard_workers`, in worker processes.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from audio_utils.atomic_files import atomic_file, os_error_reason
from audio_utils.decoding import DecodedAudio, decode_file
from audio_utils.errors import AudioError
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
from wavenet.left_out_files import UNREADABLE, unreadable_reason
from wavenet.terminal import escape_controls

MAX_LISTED = 20  # clipped files in a summary
SILENCE_BLOCK_SECONDS = 0.010
SILENCE_POWER = 1e-6  # -60 dB


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

    def add_skipped(self, message: str, reason: str) -> None:
        """Add a file that cannot be read."""
        self.lengths.append(0)
        self.skipped.append(escape_controls(message))
        self.reasons.append(reason)

    def add_recording(self, recording: DecodedAudio) -> None:
        """Add a file that was read."""
        if _is_clipped(recording.samples):
            self.clipped.append(len(self.lengths))
        self.lengths.append(len(recording.samples))
        self.rates[recording.original_rate] += 1
        self.channels[recording.channels] += 1
        self.silent += _silent_seconds(recording.samples, recording.sample_rate)


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
    digest, statistics = hashlib.sha256(), _BlockStatistics()
    try:
        # remove the header first: until it is written again, the corpus counts as incomplete
        (folder / HEADER_FILE).unlink(missing_ok=True)
        with atomic_file(path) as temporary, temporary.open("wb") as file:
            for n, name in enumerate(block.paths):
                on_file(n)
                pcm = _read_pcm(Path(settings.source, name), settings, statistics, n in crashing)
                digest.update(pcm)
                file.write(pcm)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {os_error_reason(error)}") from None
    summary = ShardSummary(
        digest=block.digest,
        shard=CorpusShard(name=path.name, samples=sum(statistics.lengths)),
        sha256=digest.hexdigest(),
        lengths=tuple(statistics.lengths),
        rates=dict(sorted(statistics.rates.items())),
        channels=dict(sorted(statistics.channels.items())),
        clipped=tuple(statistics.clipped[:MAX_LISTED]),
        clipped_count=len(statistics.clipped),
        silent=statistics.silent,
        skipped=tuple(statistics.skipped),
        reasons=tuple(statistics.reasons),
    )
    write_text(summary_path(folder, block.number), summary.model_dump_json())


def quantise(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round (T,) in [-1, 1] to 16 bits, halves to even; +1 becomes 32767.

    The samples of a 16-bit file are reproduced exactly.
    """
    scaled = np.rint(samples * np.float32(PCM_SCALE))
    pcm: NDArray[np.int16] = np.minimum(scaled, np.float32(PCM_SCALE - 1)).astype(PCM_DTYPE)
    return pcm


def _read_pcm(
    path: Path, settings: CorpusSettings, statistics: _BlockStatistics, is_crashing: bool
) -> bytes:
    """Return the bytes of a file for its shard, or b"" if it cannot be read."""
    if is_crashing:
        statistics.add_skipped(
            f"{path} crashed two worker processes; the file is damaged or too large.", UNREADABLE
        )
        return b""
    try:
        recording = decode_file(path, settings.sample_rate)
    except AudioError as error:
        statistics.add_skipped(str(error), unreadable_reason(path))
    except (OSError, MemoryError) as error:
        message = f"{path} cannot be read: {error or 'not enough memory'}."
        statistics.add_skipped(message, UNREADABLE)
    else:
        statistics.add_recording(recording)
        return quantise(recording.samples).tobytes()
    return b""


# The same measures as in `audio_utils.analysis`, but in numpy: torch alone would need more memory
# than everything else in a worker.


def _is_clipped(samples: NDArray[np.float32]) -> bool:
    """Return whether three consecutive samples are at full scale."""
    full = np.abs(samples) >= 1 - 1 / PCM_SCALE
    return bool((full[2:] & full[1:-1] & full[:-2]).any())


def _silent_seconds(samples: NDArray[np.float32], rate: int) -> float:
    """Return the length times the fraction of 10 ms blocks below -60 dB."""
    size = round(SILENCE_BLOCK_SECONDS * rate)
    starts = np.arange(0, len(samples), size)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    counts = np.diff(starts, append=len(samples))
    return float((power / counts < SILENCE_POWER).mean()) * len(samples) / rate
