"""Write a generated clip and build its record.

Input: a clip. Output: its file, complete or absent, and its record. Called by `clip_worker`, in
threads.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.clip_levels import normalize
from wavenet.batch.journal import hash_file
from wavenet.batch.tasks import ClipTask
from wavenet.checkpoint import Checkpoint
from wavenet.errors import ConditionError, FolderError
from wavenet.generation.clip_mel_matching import match_clip_mel
from wavenet.generation.generate import GeneratedClip
from wavenet.generation.guard import Retry
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import score_clip
from wavenet.speech.voice import MATCHING_PASSES

Record = Mapping[str, Any]  # one line of results.jsonl


def write_clip(
    checkpoint: Checkpoint,
    settings: BatchSettings,
    execution: ExecutionConfig,
    task: ClipTask,
    request: GenerationRequest,
    clip: GeneratedClip,
    elapsed: float,
) -> Record:
    """Write the prompt, if any, followed by the clip, to one file; return the record of the clip.

    The record's "seconds" is the length of the file; its "rtf" is the time per second of the file.
    Its "below_target" is whether the file is quieter than the target loudness.

    Args:
        elapsed: duration of the generation in seconds.
    Raises:
        FolderError: the disk is full or not writable.
        AudioError, ConditionError: this clip cannot be written.
    """
    rate = checkpoint.config.audio.sample_rate
    waveform = clip.waveform
    if request.prompt is not None:
        waveform = torch.cat([request.prompt, waveform])
    if task.speech is not None and request.frame_features is not None:
        frames = request.frame_features
        waveform = match_clip_mel(checkpoint, waveform, frames, MATCHING_PASSES).clamp(-1, 1)
    seconds = waveform.numel() / rate
    normalized = normalize(waveform, rate, settings)
    if task.has_unknown_file:
        _check_unknown_file(execution, task, normalized.waveform, rate, settings.subtype)
    try:
        stored = execution.storage.write(
            task.output, lambda path: io.write(path, normalized.waveform, rate, settings.subtype)
        )
    except (AudioError, OSError) as error:
        if isinstance(error, OSError) or isinstance(error.__cause__, OSError):
            raise FolderError(str(error)) from None
        raise
    warnings = [f"{stored.clipped_samples} samples clipped"] if stored.clipped_samples else []
    warnings += [] if normalized.warning is None else [normalized.warning]
    warnings += task.input_levels.sentences(advise=False)
    warnings += task.notices
    warnings += map(retry_warning, clip.retries)
    bits = _bits_per_sample(checkpoint, request, clip) if execution.score else None
    return {
        "id": task.identity,
        "status": "done",
        "file": task.output,
        "seconds": seconds,
        "rtf": elapsed / seconds,
        "seed": task.seed,
        "labels": dict(task.conditions),
        "bytes": stored.size,
        "sha256": stored.sha256,
        "audio_sha256": hashlib.sha256(waveform.numpy().tobytes()).hexdigest(),
        "params_hash": task.params_hash,
        "bits_per_sample": bits,
        "warnings": warnings,
        "error": None,
        "line": task.line,
        "extra": dict(task.extra),
        "below_target": normalized.warning is not None,
        "precision": clip.precision,
    }


def _check_unknown_file(
    execution: ExecutionConfig, task: ClipTask, waveform: torch.Tensor, rate: int, subtype: str
) -> None:
    """Check that an existing file is the clip: then a killed batch wrote it.

    Raises:
        ConditionError: it is another file.
    """
    storage, suffix = execution.storage, Path(task.output).suffix
    with tempfile.TemporaryDirectory(prefix="wavenet-") as folder:
        path = Path(folder) / f"clip{suffix}"
        io.write(path, waveform, rate, subtype)
        size = path.stat().st_size
        # the stream number of an Ogg file is random
        is_clip = suffix == ".ogg" or storage.is_unchanged(task.output, hash_file(path), size)
    if not is_clip:
        raise ConditionError(
            f"{task.output} exists and was not written by this batch; choose another output or add "
            "--overwrite"
        )


def retry_warning(retry: Retry) -> str:
    """Return the warning for windows that the guard rejected."""
    if retry.solved:
        return f"{retry.reason}, drawn again"
    if not retry.attempts:
        return f"{retry.reason}, not drawn again"
    times = "once" if retry.attempts == 1 else f"{retry.attempts} times"
    return f"{retry.reason}, drawn again {times} without success"


def _bits_per_sample(
    checkpoint: Checkpoint, request: GenerationRequest, clip: GeneratedClip
) -> float:
    """Score a clip by its model, without its prompt."""
    score = score_clip(
        checkpoint,
        clip.waveform,
        clip.codes,
        request.prompt,
        request.conditions,
        request.frame_features,
    )
    return float(score.surprise[-clip.codes.numel() :].double().mean())


def failure_record(task: ClipTask, error: Exception | str) -> Record:
    """Return the record of a clip that could not be generated."""
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
