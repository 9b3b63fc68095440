"""Rows -> tasks: everything about a clip checked before the first sample of any is made.

A row of a manifest and the settings of the batch enter; a `Task`, which another process can take
over, or one sentence leaves.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from audio_utils import io
from wavenet.batch.columns import cell, drawing_of, identity_of, labels_of, number, path_of
from wavenet.batch.journal import hash_file
from wavenet.batch.names import check_output, fill_template
from wavenet.batch.rows import Row
from wavenet.checkpoint import CONFIG, WEIGHTS, Checkpoint, load
from wavenet.errors import ConditionError
from wavenet.generation.generate import DEFAULT_GUARD
from wavenet.generation.request import (
    GenerationRequest,
    check_request,
    prepare_clips,
    samples_from_seconds,
)
from wavenet.model.conditions import FramesCondition
from wavenet.model.frame_features import compute_frame_features, read_array
from wavenet.sampling import SamplingConfig, resolve_sampling

_GUARD = asdict(DEFAULT_GUARD)
_VERSION = 1  # of how a clip follows from a task; another one makes all clips anew


@dataclass(frozen=True)
class Settings:
    """What holds for all clips unless a row says otherwise.

    Attributes:
        checkpoint: folder.
        base: folder that prompts and conditions are relative to.
        sampling: the options given for drawing.
        template: of file names.
        format: wav, flac, ogg or mp3; subtype: PCM_16, PCM_24 or FLOAT.
        normalize: none, peak or lufs; target_lufs: for the last.
        precision, guard: as for `generate`.
        seconds: of a clip; the checkpoint's usual length when None.
    """

    checkpoint: str
    base: str = "."
    seed: int = 0
    seconds: float | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    template: str = "{id}_{seed}.{ext}"
    format: str = "wav"
    subtype: str = "PCM_16"
    normalize: str = "none"
    target_lufs: float = -23.0
    precision: str = "fp32"
    guard: bool = True


@dataclass(frozen=True)
class Task:
    """A clip to be made.

    Attributes:
        identity: its id, which with the seed decides its noise.
        prompt, condition: paths of a recording to continue, and of one to say again or of frames.
        output: relative to the output folder.
        params_hash: of everything that determines the file.
        extra: columns of the manifest that mean nothing here.
    """

    line: int
    identity: str
    checkpoint: str
    labels: Mapping[str, str | float]
    samples: int
    seed: int
    prompt: str | None
    condition: str | None
    sampling: SamplingConfig
    output: str
    params_hash: str
    extra: Mapping[str, Any]

    @property
    def group(self) -> tuple[str, str]:
        """What clips must share to be made together."""
        return self.checkpoint, self.sampling.model_dump_json()

    @property
    def seconds(self) -> float:
        """How long the clip is, what it continues not counted."""
        return self.samples / load_model(self.checkpoint)[0].config.audio.sample_rate


def make_task(row: Row, settings: Settings) -> Task:
    """Check a row.

    Raises:
        ConditionError, ConfigError, CheckpointError, AudioError: it cannot be made.
    """
    values = row.values
    folder = str(cell(values, "checkpoint") or settings.checkpoint)
    checkpoint, _ = load_model(folder)
    identity = identity_of(row)
    given_seed = cell(values, "seed")
    seed = number(settings.seed if given_seed is None else given_seed, "seed", int)
    labels, extra = labels_of(checkpoint.config.model, values)
    usual, drawing = checkpoint.config.sampling, {**settings.sampling, **drawing_of(values)}
    sampling = resolve_sampling(usual, **drawing)
    fields = {name: str(value) for name, value in labels.items()}
    fields |= {"id": identity, "seed": str(seed), "ext": settings.format, "line": str(row.line)}
    fields |= {"checkpoint": checkpoint.config.name}
    given = cell(values, "output")
    output = fill_template(settings.template, fields) if given is None else check_output(str(given))
    if not output.lower().endswith(f".{settings.format}"):
        output += f".{settings.format}"
    prompt, condition = (path_of(values, name, settings.base) for name in ("prompt", "condition"))
    seconds = cell(values, "seconds")
    chosen = settings.seconds if seconds is None else number(seconds, "seconds", float)
    samples = _samples(checkpoint, chosen, condition)
    task = Task(
        row.line, identity, folder, labels, samples, seed, prompt, condition, sampling, output,
        "", extra,
    )  # fmt: skip
    _check(task, checkpoint)
    return Task(**{**vars(task), "params_hash": _hash(task, settings)})


def make_item(task: Task) -> GenerationRequest:
    """Read what a clip needs.

    Raises:
        AudioError, ConditionError: a file is damaged, missing, or does not fit.
    """
    checkpoint, _ = load_model(task.checkpoint)
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    prompt = None if task.prompt is None else io.read(task.prompt, rate).waveform
    local = None
    if model.locals and task.condition is not None:
        if Path(task.condition).suffix == ".npy":
            name = next((c.name for c in model.locals if isinstance(c, FramesCondition)), None)
            arrays = {} if name is None else {name: read_array(Path(task.condition))}
            local = compute_frame_features(model, rate, None, arrays)
        else:
            local = compute_frame_features(model, rate, io.read(task.condition, rate).waveform)
    elif task.condition is not None:
        raise ConditionError(f"{checkpoint.config.name} takes no frames; leave condition out")
    return GenerationRequest(
        task.samples, task.labels, task.seed, noise_key(task.identity), prompt, local
    )


def _check(task: Task, checkpoint: Checkpoint) -> None:
    item = make_item(task)
    checkpoint.model.distribution.check(task.sampling)
    if item.prompt is None and item.frame_features is None:
        check_request(item, checkpoint.config.audio.sample_rate)
        _check_labels(task.checkpoint, tuple(task.labels.items()), task.sampling)
    else:
        prepare_clips(checkpoint, [item], task.sampling, None)


@lru_cache(maxsize=4096)
def _check_labels(
    folder: str, labels: tuple[tuple[str, str | float], ...], sampling: SamplingConfig
) -> None:
    """Check what thousands of rows share: labels, and how they are drawn."""
    checkpoint, _ = load_model(folder)
    prepare_clips(checkpoint, [GenerationRequest(1, dict(labels))], sampling, None)


def noise_key(identity: str) -> int:
    """Turn an id into the second key of the noise, 64 bits."""
    text = identity.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


@lru_cache(maxsize=4)
def load_model(folder: str) -> tuple[Checkpoint, str]:
    """Load a checkpoint once, on the CPU, with the hash of its files.

    Raises:
        CheckpointError: it is missing or damaged.
    """
    checkpoint = load(Path(folder))
    digests = [hash_file(Path(folder) / name) for name in (CONFIG, WEIGHTS)]
    return checkpoint, hashlib.sha256("".join(digests).encode()).hexdigest()


@lru_cache(maxsize=4096)
def _hash_input(path: str, changed: int, size: int) -> str:
    return hash_file(Path(path))


def _hash_of(path: str | None) -> str | None:
    if path is None:
        return None
    found = os.stat(path)
    return _hash_input(path, found.st_mtime_ns, found.st_size)


def _hash(task: Task, settings: Settings) -> str:
    content = {
        "version": _VERSION,
        "checkpoint": load_model(task.checkpoint)[1],
        "id": task.identity,
        "labels": dict(task.labels),
        "samples": task.samples,
        "seed": task.seed,
        "inputs": [_hash_of(task.prompt), _hash_of(task.condition)],
        "sampling": task.sampling.model_dump(),
        "output": task.output,
        "guard": _GUARD if settings.guard else None,
        "file": [settings.subtype, settings.normalize, settings.target_lufs, settings.precision],
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _samples(checkpoint: Checkpoint, seconds: float | None, condition: str | None) -> int:
    """Give the length of a clip; one that says a recording again has that recording's."""
    rate, model = checkpoint.config.audio.sample_rate, checkpoint.config.model
    if seconds is None and condition is not None and model.locals:
        if Path(condition).suffix == ".npy":
            frames = read_array(Path(condition)).shape
            return max(1, ((frames[0] if frames else 0) - 1) * model.condition_hop)
        return int(io.read(condition, rate).waveform.numel())
    usual = checkpoint.config.default_seconds
    return samples_from_seconds(usual if seconds is None else seconds, rate)
