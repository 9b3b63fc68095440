"""A clip that was made -> its file, whole or absent, and its record."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from audio_utils import io
from audio_utils.errors import AudioError
from audio_utils.lufs import integrated_loudness
from wavenet.batch.store import Folder, Store, open_remote
from wavenet.batch.tasks import Settings, Task
from wavenet.checkpoint import Checkpoint
from wavenet.errors import FolderError
from wavenet.generation.generate import GeneratedClip
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score_clip

Record = Mapping[str, Any]
CEILING = 10 ** (-1 / 20)  # -1 dBFS: what is made louder gets no louder than this


@dataclass(frozen=True)
class Place:
    """Where and how clips are made.

    Attributes:
        folder: of the journal, and of the clips where `remote` is None.
        engine, device, threads: as for `make_engine`.
        together: clips at once; chosen by memory when None.
        score: whether each clip is scored by its model, which costs about half its making.
        remote: an address for the clips, as in s3://bucket/clips.
        cluster: where workers are actors of Ray: local, auto or HOST:PORT.
    """

    folder: Path
    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None
    together: int | None = None
    score: bool = False
    remote: str | None = None
    cluster: str | None = None

    @property
    def store(self) -> Store:
        """Where clips are kept."""
        return Folder(self.folder) if self.remote is None else open_remote(self.remote)


def finish(
    loaded: Checkpoint,
    settings: Settings,
    where: Place,
    task: Task,
    item: GenerationRequest,
    clip: GeneratedClip,
    took: float,
) -> Record:
    """Write a clip and tell of it.

    Raises:
        FolderError: the disk is full, or closed to us.
        AudioError, ConditionError: this clip cannot be kept.
    """
    rate = loaded.config.audio.sample_rate
    waveform = clip.waveform
    if item.prompt is not None:
        waveform = torch.cat([item.prompt, waveform])
    seconds = waveform.numel() / rate
    louder = normalized(waveform, rate, settings)
    try:
        kept = where.store.keep(
            task.output, lambda path: io.write(path, louder, rate, settings.subtype)
        )
    except (AudioError, OSError) as error:
        if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
            raise FolderError(str(error)) from None
        raise
    warnings = [f"{kept.clipped} samples clipped"] if kept.clipped else []
    warnings += [
        f"{rescue.reason}, {'drawn again' if rescue.solved else 'left as it is'}"
        for rescue in clip.retries
    ]
    bits = None
    if where.score:
        found = score_clip(
            loaded, clip.waveform, clip.codes, item.prompt, item.conditions, item.frame_features
        )
        bits = float(found.bits[-clip.codes.numel() :].double().mean())
    return {
        "id": task.identity,
        "status": "done",
        "file": task.output,
        "seconds": seconds,
        "rtf": took / seconds,
        "seed": task.seed,
        "labels": dict(task.labels),
        "bytes": kept.size,
        "sha256": kept.sha256,
        "audio_sha256": hashlib.sha256(waveform.numpy().tobytes()).hexdigest(),
        "params_hash": task.params_hash,
        "bits_per_sample": bits,
        "warnings": warnings,
        "error": None,
        "line": task.line,
        "extra": dict(task.extra),
    }


def normalized(waveform: torch.Tensor, rate: int, settings: Settings) -> torch.Tensor:
    """Scale a clip to a peak or a loudness; one too short to have a loudness, to the peak."""
    peak = float(waveform.abs().max())
    if settings.normalize == "none" or peak == 0:
        return waveform
    gain = CEILING / peak
    if settings.normalize == "lufs":
        loudness = integrated_loudness(waveform, rate)
        if loudness is not None:
            gain = min(gain, 10 ** ((settings.target_lufs - loudness) / 20))
    return waveform * gain


def failed(task: Task, error: Exception | str) -> Record:
    """Tell of a clip that could not be made."""
    return {
        "id": task.identity,
        "status": "failed",
        "file": None,
        "seed": task.seed,
        "params_hash": task.params_hash,
        "error": str(error),
        "line": task.line,
        "extra": dict(task.extra),
    }
