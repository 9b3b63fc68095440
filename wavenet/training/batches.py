"""Clips -> batches of codes, in an order that can be taken up anywhere.

Clips enter, batches of codes with masks leave, in an order that is a pure function of the seed and
the step, so that a resumed run goes on with the very next batch. Each process of a training plans
all of a batch, by lengths alone, and touches the waveforms of its own clips.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from wavenet.codec import Codec
from wavenet.errors import DataError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import NumberCondition
from wavenet.model.frame_features import apply_gain_db, measure_loudness
from wavenet.model.model_config import ModelConfig
from wavenet.training.data import Clip

BUCKET = 64  # clips that are sorted by length together, before they are cut into batches


@dataclass(frozen=True)
class Batch:
    """Clips side by side, padded at their end.

    Attributes:
        codes: (B, T) int64; padding has the silence code.
        mask: (B, T) bool, true where a sample is a target.
        start: (B,) int64; labels, totals, local and first: one per row, see `Clip`.
        heard: (B, T) int64, what the network hears in place of the codes; None: the codes.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    labels: list[Mapping[str, ConditionValue]]
    totals: list[int]
    local: list[Tensor] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    heard: Tensor | None = None


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
    codec: Codec,
    model: ModelConfig,
    gains: Sequence[float],
    absent: Sequence[Collection[str]] = (),
    noises: Sequence[Tensor] = (),
) -> Batch:
    """Pad clips to one length, a multiple of the condition hop, and encode them.

    Args:
        clips: of any length.
        codec: of the codes.
        model: condition frames then fit without a remainder.
        gains: factor per clip; a clip is never made louder than full scale.
        absent: of each clip, the names of conditions that are left out.
        noises: of each clip, what is added to the codes (samples,) for the network to hear.
    """
    hop = model.condition_hop
    longest = -(-max(clip.samples for clip in clips) // hop) * hop
    labels, local = [], []
    waveform = torch.zeros(len(clips), longest)
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, (clip, gain) in enumerate(zip(clips, gains, strict=True)):
        gain = fitting(clip, gain)
        labels.append(describe(model, clip, gain, absent[row] if absent else ()))
        waveform[row, : clip.samples] = clip.waveform * gain
        local.append(apply_gain_db(model, clip.local, 20 * math.log10(gain)))
        mask[row, clip.context : clip.samples] = True
    codes = codec.encode(waveform.clamp(-1, 1))
    return Batch(
        codes,
        mask,
        torch.tensor([clip.start for clip in clips]),
        labels,
        [clip.total for clip in clips],
        local,
        [clip.first for clip in clips],
        blur(codes, noises, codec.n_classes) if noises else None,
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
    codec: Codec,
    model: ModelConfig,
    samples_per_step: int,
    gain_db: float,
    seed: int,
    first_step: int = 0,
    parts: int = 1,
    mine: Sequence[int] = (0,),
    input_noise: float = 0.0,
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
                absent = [draw_absent(model, rng) for _ in chosen]
                # after what was drawn before it: without noise, a run is what it always was
                noises = [
                    draw_noise(clip.samples, input_noise, rng) for clip in chosen if input_noise
                ]
                dealt = deal([clip.samples for clip in chosen], parts)
                yield Portion(
                    [
                        collate(
                            [chosen[i] for i in rows],
                            codec,
                            model,
                            [float(gains[i]) for i in rows],
                            [absent[i] for i in rows],
                            [noises[i] for i in rows if noises],
                        )
                        for rows in (dealt[n] for n in mine)
                        if rows
                    ],
                    sum(clip.samples - clip.context for clip in chosen),
                )
            step += 1


def fitting(clip: Clip, gain: float) -> float:
    """Lower a gain that would make a clip louder than full scale."""
    return min(gain, 1 / max(float(clip.waveform.abs().max()), 1e-6))


def describe(
    model: ModelConfig, clip: Clip, gain: float, absent: Collection[str]
) -> Mapping[str, ConditionValue]:
    """Give the labels of a clip, and what is measured of it at a gain; but not those absent."""
    labels = dict(clip.labels)
    for condition in model.globals:
        if isinstance(condition, NumberCondition) and condition.derived_from:
            levels = measure_loudness(
                clip.waveform * gain, clip.start, clip.first, model.condition_hop
            )
            labels[condition.name] = levels.clamp(condition.low, condition.high)
    return {name: label for name, label in labels.items() if name not in absent}


def draw_noise(samples: int, most: float, rng: np.random.Generator) -> Tensor:
    """Draw what is added to the codes of a clip: normal, of a deviation drawn from 0 to `most`.

    A network that has only ever heard recordings takes its own small mistakes for something else;
    one that has heard such mistakes goes on as if they were not there. After FFTNet (Jin et al.,
    ICASSP 2018, section 2.3), which adds noise of one deviation.

    Returns:
        (samples,) int64.
    """
    deviation = rng.uniform(0, most)
    return torch.from_numpy(np.rint(deviation * rng.standard_normal(samples)).astype(np.int64))


def blur(codes: Tensor, noises: Sequence[Tensor], n_classes: int) -> Tensor:
    """Add noise to the codes (B, T) of clips, within the alphabet; the padding stays."""
    heard = codes.clone()
    for row, noise in zip(heard, noises, strict=True):
        row[: noise.numel()] += noise
    return heard.clamp(0, n_classes - 1)


def draw_absent(model: ModelConfig, rng: np.random.Generator) -> set[str]:
    """Draw which conditions a clip is learnt without, each by its own share.

    So one model learns to do with and without, and guidance can push from the one to the other.
    """
    shares = {c.name: c.dropout for c in (*model.labels, *model.globals) if c.dropout}
    return {name for name, share in shares.items() if rng.random() < share}
