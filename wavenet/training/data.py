"""Audio files -> clips to train on and clips held out.

A folder enters (through `manifest`); clips leave, with their labels and frames. `batches` puts them
side by side.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.conditions import (
    FramesCondition,
    GlobalCondition,
    LocalCondition,
    VectorCondition,
)
from wavenet.config import DataConfig, ModelConfig
from wavenet.errors import ConditionError, DataError
from wavenet.manifest import find_entries
from wavenet.model.condition_network import widest_context
from wavenet.model.conditioning import Given
from wavenet.model.features import frames_of, read_array

Arrays = dict[str, Tensor]


@dataclass(frozen=True)
class Clip:
    """A recording, or one segment of a long one.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; the first `context` samples are no targets.
        labels: fields and vectors by name.
        start: where in the recording the waveform begins, in samples.
        total: length of the whole recording in samples.
        context: samples at the beginning that are given, not predicted.
        source: file name, for messages.
        local: (F, columns) float32 frames of the local conditions, or (0, 0).
        first: the frame of the recording at which `local` begins.
    """

    waveform: Tensor
    labels: Mapping[str, Given]
    start: int
    total: int
    context: int
    source: str
    local: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    first: int = 0

    @property
    def samples(self) -> int:
        """Number of samples, the context included."""
        return self.waveform.shape[0]


@dataclass
class Dataset:
    """The clips of a folder, split, and what could not be used."""

    train: list[Clip] = field(default_factory=list)
    validation: list[Clip] = field(default_factory=list)
    test: list[Clip] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # one sentence per unreadable file


def read_dataset(data: DataConfig, sample_rate: int, model: ModelConfig) -> Dataset:
    """Read a folder, compute the frames that the model asks for, cut long files, split.

    Vectors, and frames that are no feature of the recording, lie beside it in
    `<recording>.<condition>.npy`. Unreadable files are skipped, each with a sentence in `skipped`.

    Raises:
        DataError: nothing to train on.
    """
    if data.folder is None:
        raise DataError("no folder of audio is given; set data.folder in the recipe or --data")
    dataset = Dataset()
    entries = find_entries(Path(data.folder), data.pattern, data.metadata)
    for number, entry in enumerate(entries):
        try:
            waveform = io.read(entry.path, sample_rate).waveform
            local = frames_of(model, sample_rate, waveform, read_arrays(entry.path, model.locals))
            fields: dict[str, Given] = {**entry.fields}
            fields |= read_arrays(entry.path, model.globals)
        except (AudioError, ConditionError) as error:
            dataset.skipped.append(str(error))
            continue
        longest = max(1, round(data.max_seconds * sample_rate))
        clips = segments(waveform, fields, longest, model, entry.path.name, local)
        _split(dataset, data, entry.fields, clips, number, len(entries))
    if not dataset.train:
        why = f"; the first fault: {dataset.skipped[0]}" if dataset.skipped else ""
        raise DataError(f"{data.folder} leaves no clip to train on{why}")
    return dataset


def read_arrays(path: Path, conditions: Iterable[LocalCondition | GlobalCondition]) -> Arrays:
    """Read the arrays that lie beside a recording, by condition name.

    Raises:
        ConditionError: one is missing or cannot be read.
    """
    return {
        condition.name: read_array(path.with_suffix(f".{condition.name}.npy"))
        for condition in conditions
        if isinstance(condition, FramesCondition | VectorCondition)
    }


def segments(
    waveform: Tensor,
    labels: Mapping[str, Given],
    longest: int,
    model: ModelConfig,
    source: str,
    local: Tensor,
) -> list[Clip]:
    """Cut a recording into clips of at most `longest` targets, each after its own context."""
    total, hop = waveform.shape[0], model.condition_hop
    pieces = math.ceil(total / longest)
    edges = [round(n * total / pieces) for n in range(pieces + 1)]
    clips = []
    for begin, end in pairwise(edges):
        start = max(0, begin - model.receptive_field)
        # what lies around the samples, and one frame more to interpolate to
        first = max(0, start // hop - widest_context(model))
        frames = local[first : -(-end // hop) + 1 + widest_context(model)]
        clips.append(
            Clip(waveform[start:end], labels, start, total, begin - start, source, frames, first)
        )
    return clips


def label_values(clips: Sequence[Clip], name: str) -> tuple[str, ...]:
    """List the labels found under a name, in order.

    Raises:
        DataError: a clip has no such field.
    """
    for clip in clips:
        if name not in clip.labels:
            have = ", ".join(clip.labels) or "none"
            raise DataError(f"{clip.source} has no field {name!r}; its fields: {have}")
    return tuple(sorted({str(clip.labels[name]) for clip in clips}))


def _split(
    dataset: Dataset,
    data: DataConfig,
    fields: Mapping[str, Given],
    clips: list[Clip],
    number: int,
    files: int,
) -> None:
    """Put the clips of a recording, which is the `number`th of so many files, where they belong."""
    share = data.validation_share
    if any(fields.get(name) in values for name, values in data.test.items()):
        dataset.test.extend(clips)
        return
    if data.validation:
        held = any(fields.get(name) in values for name, values in data.validation.items())
        keep = 0 if held else len(clips)
    elif _whole(files * share):
        # the share of the files so far, counted in whole files, grows with this one
        keep = len(clips) if _whole((number + 1) * share) == _whole(number * share) else 0
    else:
        # Too few files to spare one: the end of each that is long enough to be cut.
        keep = max(1, len(clips) - math.ceil(len(clips) * share))
    dataset.train.extend(clips[:keep])
    dataset.validation.extend(clips[keep:])


def _whole(files: float) -> int:
    return math.floor(files + 1e-9)
