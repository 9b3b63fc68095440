"""Clips -> batches of codes, in an order that can be taken up anywhere.

Clips enter, batches of codes with masks leave, in an order that is a pure function of the seed and
the step, so that a resumed run goes on with the very next batch. Each process of a training plans
all of a batch, by lengths alone, and touches the waveforms of its own clips.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from wavenet import codec
from wavenet.config import ModelConfig
from wavenet.errors import DataError
from wavenet.model.conditioning import Given
from wavenet.model.features import louder
from wavenet.training.data import Clip

BUCKET = 64  # clips that are sorted by length together, before they are cut into batches


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


Part = TypeVar("Part")


@dataclass(frozen=True)
class Portion(Generic[Part]):
    """What one process does of a step.

    Attributes:
        parts: its clips, worked off part after part; none where others have all the clips.
        targets: of the whole step, whoever has them.
    """

    parts: list[Part]
    targets: int


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


def deal(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Deal out clips so that the parts take about equally long: the longest first, to the least.

    Returns:
        clip indices per part, in order; the last parts have none where clips are few.
    """
    dealt: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        least = sums.index(min(sums))
        dealt[least].append(index)
        sums[least] += lengths[index]
    return [sorted(part) for part in dealt]


def batches(
    clips: Sequence[Clip],
    bits: int,
    model: ModelConfig,
    samples_per_step: int,
    gain_db: float,
    seed: int,
    first_step: int = 0,
    rounding: codec.Rounding = "half-up",
    parts: int = 1,
    mine: Sequence[int] = (0,),
) -> Iterator[Portion[Batch]]:
    """Yield what is to be done of each step, for ever, beginning with `first_step`.

    Args:
        parts: into so many a batch is divided; which clips it has does not depend on that.
        mine: those that are collated.
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
                dealt = deal([clip.samples for clip in chosen], parts)
                yield Portion(
                    [
                        collate(
                            [chosen[i] for i in rows],
                            bits,
                            model,
                            [float(gains[i]) for i in rows],
                            [labels[i] for i in rows],
                            rounding,
                        )
                        for rows in (dealt[n] for n in mine)
                        if rows
                    ],
                    sum(clip.samples - clip.context for clip in chosen),
                )
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
