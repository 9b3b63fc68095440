"""Make the shard of a block: recordings of any kind -> samples of 16 bits in one file.

A block enters; a shard and the part that tells of it leave, each whole or not at all, the part
last: a part that is there speaks of a shard that is. Called by `crew`, in a process of its own.
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
from wavenet.corpus.format import (
    FULL,
    HEADER,
    PCM,
    SHARDS,
    Part,
    Settings,
    Shard,
    part_path,
    plain,
    read_part,
    write_text,
)
from wavenet.corpus.listing import Block
from wavenet.errors import FolderError

SHOWN = 20  # numbers of clipped files that a part names


@dataclass
class _Found:
    """What is known of the files of a block so far."""

    lengths: list[int] = field(default_factory=list)
    rates: Counter[int] = field(default_factory=Counter)
    channels: Counter[int] = field(default_factory=Counter)
    clipped: list[int] = field(default_factory=list)
    silent: float = 0.0
    skipped: list[str] = field(default_factory=list)

    def skip(self, sentence: str) -> None:
        self.lengths.append(0)
        self.skipped.append(plain(sentence))

    def note(self, recording: DecodedAudio) -> None:
        if _is_clipped(recording.samples):
            self.clipped.append(len(self.lengths))
        self.lengths.append(len(recording.samples))
        self.rates[recording.original_rate] += 1
        self.channels[recording.channels] += 1
        self.silent += _silence(recording.samples, recording.sample_rate)


def make_shard(
    folder: Path,
    settings: Settings,
    block: Block,
    deadly: Container[int] = (),
    begin: Callable[[int], None] = lambda n: None,
) -> None:
    """Make the shard of a block and its part, unless both are there and whole.

    Args:
        folder: of the corpus.
        deadly: files of the block that are not touched: they killed whoever read them.
        begin: told which file comes next.
    Raises:
        FolderError: the corpus cannot be written.
    """
    if read_part(folder, block.number, block.digest) is not None:
        return
    shard = folder / SHARDS / f"{block.number:05d}-{block.digest[:12]}.pcm"
    hashed, found = hashlib.sha256(), _Found()
    try:
        # what is there is no whole corpus any more
        (folder / HEADER).unlink(missing_ok=True)
        with atomic_file(shard) as temporary, temporary.open("wb") as file:
            for n, name in enumerate(block.names):
                begin(n)
                pcm = _read(Path(settings.source, name), settings, found, n in deadly)
                hashed.update(pcm)
                file.write(pcm)
    except OSError as error:
        raise FolderError(f"{shard} cannot be written: {os_error_reason(error)}") from None
    part = Part(
        digest=block.digest,
        shard=Shard(name=shard.name, samples=sum(found.lengths)),
        sha256=hashed.hexdigest(),
        lengths=tuple(found.lengths),
        rates=dict(sorted(found.rates.items())),
        channels=dict(sorted(found.channels.items())),
        clipped=tuple(found.clipped[:SHOWN]),
        clipped_count=len(found.clipped),
        silent=found.silent,
        skipped=tuple(found.skipped),
    )
    write_text(part_path(folder, block.number), part.model_dump_json())


def quantise(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Round (T,) in [-1, 1] to 16 bits, halves to even; +1 becomes the largest number.

    What a file of 16 bits held comes back as it was.
    """
    scaled = np.rint(samples * np.float32(FULL))
    codes: NDArray[np.int16] = np.minimum(scaled, np.float32(FULL - 1)).astype(PCM)
    return codes


def _read(path: Path, settings: Settings, found: _Found, is_deadly: bool) -> bytes:
    """Read a file as it will stand in the shard; nothing where it cannot be read."""
    if is_deadly:
        found.skip(f"{path} ended the process that read it, twice; it is damaged or too large.")
        return b""
    try:
        recording = decode_file(path, settings.sample_rate)
    except AudioError as error:
        found.skip(str(error))
    except (OSError, MemoryError) as error:
        found.skip(f"{path} cannot be read: {error or 'there is too little memory'}.")
    else:
        found.note(recording)
        return quantise(recording.samples).tobytes()
    return b""


# As `audio_utils.analysis` has them for tensors. Here they are in numpy, for torch alone would take
# more memory than all that a worker does.


def _is_clipped(samples: NDArray[np.float32]) -> bool:
    """Tell whether three neighbouring samples are at full scale."""
    full = np.abs(samples) >= 1 - 1 / FULL
    return bool((full[2:] & full[1:-1] & full[:-2]).any())


def _silence(samples: NDArray[np.float32], rate: int) -> float:
    """Give the seconds in blocks of 10 ms below -60 dB, as that share of all blocks."""
    size = round(0.010 * rate)
    starts = np.arange(0, len(samples), size)
    power = np.add.reduceat(np.square(samples, dtype=np.float64), starts)
    counts = np.diff(starts, append=len(samples))
    return float((power / counts < 1e-6).mean()) * len(samples) / rate
