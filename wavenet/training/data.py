"""Audio files -> clips -> batches of codes.

A folder enters (through `manifest`), batches of codes with masks leave, in an order that is a pure
function of the seed and the step, so that a resumed run goes on with the very next batch.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet import codec
from wavenet.conditions import (
    FramesCondition,
    GlobalCondition,
    LocalCondition,
    VectorCondition,
)
from wavenet.config import DataConfig, ModelConfig
from wavenet.errors import ConditionError, DataError
from wavenet.manifest import find_entries
from wavenet.model.conditioning import Given, widest_context
from wavenet.model.features import frames_of, louder, read_array

Arrays = dict[str, Tensor]

BUCKET = 64  # clips that are sorted by length together, before they are cut into batches


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


@dataclass(frozen=True)
class Batch:
    """Clips side by side, padded at their end.

    Attributes:
        codes: (B, T) int64; padding has the silence code.
        mask: (B, T) bool, true where a sample is a target.
        start: (B,) int64; labels, totals, local and first: one per row, see `Clip`.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    labels: list[Mapping[str, Given]]
    totals: list[int]
    local: list[Tensor] = field(default_factory=list)
    first: list[int] = field(default_factory=list)


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
    for n, entry in enumerate(find_entries(Path(data.folder), data.pattern, data.metadata)):
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
        _split(dataset, data, n, entry.fields).extend(clips)
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


def collate(
    clips: Sequence[Clip],
    bits: int,
    model: ModelConfig,
    gains: Sequence[float],
    labels: Sequence[Mapping[str, Given]] | None = None,
    rounding: codec.Rounding = "half-up",
) -> Batch:
    """Pad clips to one length, a multiple of the condition hop, and encode them.

    Args:
        clips: of any length.
        bits: of the codec.
        model: condition frames then fit without a remainder.
        gains: factor per clip; a clip is never made louder than full scale.
        labels: those of the clips unless some are left out.
        rounding: of the codec.
    """
    hop = model.condition_hop
    longest = -(-max(clip.samples for clip in clips) // hop) * hop
    local = []
    waveform = torch.zeros(len(clips), longest)
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, (clip, gain) in enumerate(zip(clips, gains, strict=True)):
        gain = min(gain, 1 / max(float(clip.waveform.abs().max()), 1e-6))
        waveform[row, : clip.samples] = clip.waveform * gain
        local.append(louder(model, clip.local, 20 * math.log10(gain)))
        mask[row, clip.context : clip.samples] = True
    return Batch(
        codec.encode(waveform.clamp(-1, 1), bits, rounding),
        mask,
        torch.tensor([clip.start for clip in clips]),
        list(labels or [clip.labels for clip in clips]),
        [clip.total for clip in clips],
        local,
        [clip.first for clip in clips],
    )


def plan_epoch(
    lengths: Sequence[int], samples_per_step: int, seed: int, epoch: int
) -> list[list[int]]:
    """Shuffle clips, sort them by length in buckets, cut into batches, shuffle those.

    Args:
        lengths: of each clip, in samples.
        samples_per_step: a batch takes clips while its padded size stays within this; at least one.
        seed, epoch: the plan is a pure function of these.
    Returns:
        clip indices per batch; every clip occurs once.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = rng.permutation(len(lengths))
    plan: list[list[int]] = []
    for begin in range(0, len(order), BUCKET):
        batch: list[int] = []
        for index in sorted(order[begin : begin + BUCKET].tolist(), key=lambda i: lengths[i]):
            if batch and (len(batch) + 1) * lengths[index] > samples_per_step:
                plan.append(batch)
                batch = []
            batch.append(index)
        plan.append(batch)
    return [plan[i] for i in rng.permutation(len(plan))]


def batches(
    clips: Sequence[Clip],
    bits: int,
    model: ModelConfig,
    samples_per_step: int,
    gain_db: float,
    seed: int,
    first_step: int = 0,
    rounding: codec.Rounding = "half-up",
) -> Iterator[Batch]:
    """Yield training batches for ever, beginning with the batch of `first_step`.

    Raises:
        DataError: there are no clips.
    """
    if not clips:
        raise DataError("there is no clip to train on; give a folder that holds audio")
    lengths = [clip.samples for clip in clips]
    step = 0
    for epoch in count():
        for index in plan_epoch(lengths, samples_per_step, seed, epoch):
            if step >= first_step:
                rng = np.random.Generator(np.random.Philox(key=[seed + 1, step]))
                gains = 10 ** (rng.uniform(-gain_db, gain_db, len(index)) / 20)
                chosen = [clips[i] for i in index]
                labels = [leave_out(model, clip.labels, rng) for clip in chosen]
                yield collate(chosen, bits, model, gains.tolist(), labels, rounding)
            step += 1


def leave_out(
    model: ModelConfig, labels: Mapping[str, Given], rng: np.random.Generator
) -> Mapping[str, Given]:
    """Drop what a clip is conditioned on at random, each condition by its own share.

    So one model learns to do with and without, and guidance can push from the one to the other.
    """
    shares = {c.name: c.dropout for c in (*model.labels, *model.globals) if c.dropout}
    gone = {name for name, share in shares.items() if rng.random() < share}
    return {name: label for name, label in labels.items() if name not in gone}


def _split(dataset: Dataset, data: DataConfig, n: int, fields: Mapping[str, Given]) -> list[Clip]:
    if any(fields.get(name) in values for name, values in data.test.items()):
        return dataset.test
    if data.validation:
        held = any(fields.get(name) in values for name, values in data.validation.items())
    else:
        # the share of the files so far, counted in whole files, grows with this one
        before, now = (math.floor(k * data.validation_share + 1e-9) for k in (n, n + 1))
        held = now > before
    return dataset.validation if held else dataset.train
