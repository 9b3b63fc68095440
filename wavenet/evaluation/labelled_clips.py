"""Labelled clips: real recordings, read and split as in training, and clips generated from labels.

Input: a folder or a prepared corpus, with its split; or a checkpoint and requests. Output:
`LabelledClip`s. Called by the commands `wavenet evaluate`, by `label_evaluation` and by
`trade_off`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.engines.engine import Engine
from wavenet.errors import DataError
from wavenet.generation.generate import generate_many
from wavenet.generation.request import GenerationRequest, clip_name
from wavenet.model.conditioning import ConditionValue
from wavenet.progress import Progress
from wavenet.sampling import SamplingConfig
from wavenet.training.dataset import Dataset, read_dataset
from wavenet.training.recipe import DataConfig
from wavenet.training.segmentation import TrainingClip

MAX_SECONDS = 600.0  # of a recording whose length may become that of generated clips
UNLIMITED_SECONDS = 1e9
BATCH_SIZE = 64  # clips that are generated at the same time


@dataclass(frozen=True)
class LabelledClip:
    """A recording or a generated clip, with its labels.

    Attributes:
        name: of the file, or labels and seed of a generated clip.
        labels: by name, such as {"digit": "7"}.
        waveform: (T,) float32.
    """

    name: str
    labels: Mapping[str, str]
    waveform: Tensor


@dataclass(frozen=True)
class GeneratedClips:
    """Clips generated with one sampling setting.

    Attributes:
        clips: in the order of their seeds.
        clips_with_retries: number of clips with a window that the guard drew again.
    """

    clips: list[LabelledClip]
    clips_with_retries: int


def read_uncut_dataset(
    data: DataConfig, config: CheckpointConfig, max_seconds: float = MAX_SECONDS
) -> Dataset:
    """Read the dataset of a training run, but with uncut recordings at their own speed.

    Raises:
        DataError: there are no training recordings, or one is longer than `max_seconds`.
    """
    uncut = data.model_copy(update={"max_seconds": max_seconds, "speed_perturbation": ()})
    dataset = read_dataset(uncut, config.audio.sample_rate, config.model)
    for clips in (dataset.train, dataset.validation, dataset.test):
        for clip in clips:
            if clip.samples < clip.total_samples:
                raise DataError(
                    f"{clip.source} is longer than {max_seconds:g} s; split it into shorter files"
                )
    return dataset


def condition_values_of_recording(
    config: CheckpointConfig, clip: TrainingClip
) -> dict[str, ConditionValue]:
    """Return the values of labels and global conditions that a recording has, by name."""
    names = [c.name for c in (*config.model.labels, *config.model.globals)]
    return {name: clip.fields[name] for name in names if name in clip.fields}


def shared_label_names(config: CheckpointConfig, clips: Sequence[TrainingClip]) -> tuple[str, ...]:
    """Return the names of the label conditions for which every recording has a value."""
    names = [condition.name for condition in config.model.labels]
    return tuple(name for name in names if all(name in clip.fields for clip in clips))


def to_labelled_clips(
    clips: Sequence[TrainingClip], label_names: Sequence[str]
) -> list[LabelledClip]:
    """Return whole recordings with the named labels."""
    return [
        LabelledClip(
            clip.source,
            {name: str(clip.fields[name]) for name in label_names},
            clip.waveform.to(torch.float32),
        )
        for clip in clips
    ]


def labels_by_name(clips: Sequence[LabelledClip], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the labels of clips: one list per name, one value per clip."""
    return {name: [clip.labels[name] for clip in clips] for name in names}


def plan_requests(
    recordings: Sequence[LabelledClip], count: int, seed: int
) -> list[GenerationRequest]:
    """Choose labels, lengths and seeds of `count` clips; the first clips do not depend on `count`.

    Labels are assigned in rounds. Each round contains every combination of labels of the recordings
    once, in random order. A clip has the length of a random recording with its labels: a model with
    a position condition fits a word to the given duration, so that one length for all clips would
    change the speed of the words, and so their classification. Seeds are consecutive, so that
    `wavenet generate` can reproduce each clip.

    Args:
        recordings: source of labels and lengths.
        count: number of clips.
        seed: of the first clip.
    """
    lengths: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for recording in recordings:
        key = tuple(recording.labels.items())
        lengths.setdefault(key, []).append(recording.waveform.numel())
    combinations = sorted(lengths)
    requests = []
    for n in range(count):
        round_, place = divmod(n, len(combinations))
        order = np.random.default_rng([seed, round_]).permutation(len(combinations))
        labels = combinations[order[place]]
        samples = np.random.default_rng([seed + n, 1]).choice(lengths[labels])
        requests.append(GenerationRequest(int(samples), dict(labels), seed + n))
    return requests


def generate_clips(
    checkpoint: Checkpoint,
    requests: Sequence[GenerationRequest],
    sampling: SamplingConfig,
    engine: str | Engine[Any] = "auto",
    progress: Progress | None = None,
) -> GeneratedClips:
    """Generate clips with the guard enabled, like `wavenet generate`.

    Args:
        checkpoint: conditioned on the labels of the requests.
        requests: from `plan_requests`.
        sampling: sampling settings.
        engine: as for `generate_many`.
        progress: counts generated samples.
    Raises:
        ConditionError: a label is unknown, or the model requires further conditions.
    """
    generated = generate_many(
        checkpoint, requests, sampling, engine, progress=progress, max_active=BATCH_SIZE
    )
    clips, clips_with_retries = {}, 0
    for clip in generated:
        request = requests[clip.index]
        labels = {name: str(value) for name, value in request.conditions.items()}
        name = clip_name(checkpoint.config.name, request.conditions, request.seed)
        clips[clip.index] = LabelledClip(name, labels, clip.waveform.cpu())
        clips_with_retries += bool(clip.retries)
    return GeneratedClips([clips[n] for n in range(len(requests))], clips_with_retries)
