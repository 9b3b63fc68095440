"""Audio files -> clips -> batches of codes.

A folder enters (through `manifest`), batches of codes with masks leave, in an order that is a pure
function of the seed and the step, so that a resumed run goes on with the very next batch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet import codec
from wavenet.config import DataConfig
from wavenet.errors import DataError
from wavenet.manifest import find_entries

BUCKET = 64  # clips that are sorted by length together, before they are cut into batches


@dataclass(frozen=True)
class Clip:
    """A recording, or one segment of a long one.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; the first `context` samples are no targets.
        labels: fields by name.
        start: where in the recording the waveform begins, in samples.
        total: length of the whole recording in samples.
        context: samples at the beginning that are given, not predicted.
        source: file name, for messages.
    """

    waveform: Tensor
    labels: Mapping[str, str]
    start: int
    total: int
    context: int
    source: str

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
        start: (B,) int64; labels and totals: one per row.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    labels: list[Mapping[str, str]]
    totals: list[int]


def read_dataset(data: DataConfig, sample_rate: int, receptive_field: int) -> Dataset:
    """Read a folder, cut long files into segments, split.

    Unreadable files are skipped, each with a sentence in `skipped`.

    Raises:
        DataError: nothing to train on.
    """
    if data.folder is None:
        raise DataError("no folder of audio is given; set data.folder in the recipe or --data")
    dataset = Dataset()
    for n, entry in enumerate(find_entries(Path(data.folder), data.pattern, data.metadata)):
        try:
            recording = io.read(entry.path, sample_rate)
        except AudioError as error:
            dataset.skipped.append(str(error))
            continue
        clips = segments(
            recording.waveform,
            entry.fields,
            max(1, round(data.max_seconds * sample_rate)),
            receptive_field,
            entry.path.name,
        )
        _split(dataset, data, n, entry.fields).extend(clips)
    if not dataset.train:
        why = f"; the first fault: {dataset.skipped[0]}" if dataset.skipped else ""
        raise DataError(f"{data.folder} leaves no clip to train on{why}")
    return dataset


def segments(
    waveform: Tensor, labels: Mapping[str, str], longest: int, context: int, source: str
) -> list[Clip]:
    """Cut a recording into clips of at most `longest` targets, each after its own context."""
    total = waveform.shape[0]
    pieces = math.ceil(total / longest)
    edges = [round(n * total / pieces) for n in range(pieces + 1)]
    clips = []
    for first, last in pairwise(edges):
        start = max(0, first - context)
        clips.append(Clip(waveform[start:last], labels, start, total, first - start, source))
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
    return tuple(sorted({clip.labels[name] for clip in clips}))


def collate(clips: Sequence[Clip], bits: int, multiple: int, gains: Sequence[float]) -> Batch:
    """Pad clips to one length, a multiple of `multiple`, and encode them.

    Args:
        clips: of any length.
        bits: of the codec.
        multiple: condition frames then fit without a remainder.
        gains: factor per clip; a clip is never made louder than full scale.
    """
    longest = -(-max(clip.samples for clip in clips) // multiple) * multiple
    waveform = torch.zeros(len(clips), longest)
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, (clip, gain) in enumerate(zip(clips, gains, strict=True)):
        peak = float(clip.waveform.abs().max())
        waveform[row, : clip.samples] = clip.waveform * min(gain, 1 / max(peak, 1e-6))
        mask[row, clip.context : clip.samples] = True
    return Batch(
        codec.encode(waveform.clamp(-1, 1), bits),
        mask,
        torch.tensor([clip.start for clip in clips]),
        [clip.labels for clip in clips],
        [clip.total for clip in clips],
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
    multiple: int,
    samples_per_step: int,
    gain_db: float,
    seed: int,
    first_step: int = 0,
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
                yield collate([clips[i] for i in index], bits, multiple, gains.tolist())
            step += 1


def _split(dataset: Dataset, data: DataConfig, n: int, fields: Mapping[str, str]) -> list[Clip]:
    if any(fields.get(name) in values for name, values in data.test.items()):
        return dataset.test
    if data.validation:
        held = any(fields.get(name) in values for name, values in data.validation.items())
    else:
        # the share of the files so far, counted in whole files, grows with this one
        before, now = (math.floor(k * data.validation_share + 1e-9) for k in (n, n + 1))
        held = now > before
    return dataset.validation if held else dataset.train
