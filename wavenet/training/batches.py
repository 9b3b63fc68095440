"""Batches of codes from training clips, in an order that is a function of seed and step.

Input: clips. Output: batches of codes with masks. The order depends on the seed and the step only,
so that a resumed run continues with exactly the next batch. Each process of a training plans the
whole batch by the lengths of the clips, and reads the waveforms of its own clips. Called by `task`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from wavenet.training.segmentation import TrainingClip

BUCKET_SIZE = 64  # clips that are sorted by length together before they are cut into batches


@dataclass(frozen=True)
class Batch:
    """Clips side by side, padded at their end.

    Attributes:
        codes: (B, T) int64; padding has the silence code.
        mask: (B, T) bool, true where a sample is a target.
        start: (B,) int64; where in its recording each clip begins, in samples.
        conditions: per clip, condition values by name, dropped conditions left out.
        total_samples, frame_features, first_frame: per clip, as in `TrainingClip`.
        input_codes: (B, T) int64, the input of the model instead of the codes; None: the codes.
        own_draws: (B, T) float32, for scheduled sampling: the uniform that draws the model's own
            code, which replaces the input code; -1 keeps the input code. None: keep all.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    conditions: list[Mapping[str, ConditionValue]]
    total_samples: list[int]
    frame_features: list[Tensor] = field(default_factory=list)
    first_frame: list[int] = field(default_factory=list)
    input_codes: Tensor | None = None
    own_draws: Tensor | None = None


BatchT = TypeVar("BatchT")


@dataclass(frozen=True)
class MicroBatches(Generic[BatchT]):
    """The part of a step that one process computes.

    Attributes:
        batches: its clips, processed one batch after the other; empty if all clips are on other
            processes.
        step_targets: number of targets of the whole step, over all processes.
    """

    batches: list[BatchT]
    step_targets: int


def training_batches(
    clips: Sequence[TrainingClip],
    codec: Codec,
    model: ModelConfig,
    samples_per_step: int,
    gain_db: float,
    seed: int,
    first_step: int = 0,
    parts: int = 1,
    own_parts: Sequence[int] = (0,),
    input_noise: float = 0.0,
    own_share: Callable[[int], float] | None = None,
) -> Iterator[MicroBatches[Batch]]:
    """Yield the micro-batches of each step, without end, beginning with `first_step`.

    Args:
        clips: of the training.
        codec: of the codes.
        model: its conditions.
        samples_per_step: largest padded size of a step's batch.
        gain_db: each clip gets a random gain from -gain_db to gain_db.
        seed: of order, gains, dropped conditions and noise.
        parts: number of parts of a step's batch; it does not change which clips the batch has.
        own_parts: indices of the parts that this process computes.
        input_noise: as in `draw_code_noise`; 0: none.
        own_share: for scheduled sampling, from the index of a step to the share of input codes
            that the model draws itself.
    Raises:
        DataError: there are no clips.
    """
    if not clips:
        raise DataError("there is no clip to train on; choose a folder that contains audio")
    lengths = [clip.samples for clip in clips]
    step = 0
    for epoch in count():
        for indices in plan_epoch(lengths, samples_per_step, seed, epoch):
            if step >= first_step:
                rng = np.random.Generator(np.random.Philox(key=[seed + 1, step]))
                gains = 10 ** (rng.uniform(-gain_db, gain_db, len(indices)) / 20)
                chosen = [clips[i] for i in indices]
                dropped = [draw_dropped_conditions(model, rng) for _ in chosen]
                # drawn last: a run without noise draws the same gains and dropped conditions
                noised = chosen if input_noise else []
                noises = [draw_code_noise(clip.samples, input_noise, rng) for clip in noised]
                draws = []
                if own_share is not None:
                    draws = [draw_own_samples(c.samples, own_share(step), rng) for c in chosen]
                partition = partition_clips([clip.samples for clip in chosen], parts)
                batches = [
                    collate(
                        [chosen[i] for i in rows],
                        codec,
                        model,
                        [float(gains[i]) for i in rows],
                        [dropped[i] for i in rows],
                        [noises[i] for i in rows if noises],
                        [draws[i] for i in rows if draws],
                    )
                    for rows in (partition[n] for n in own_parts)
                    if rows
                ]
                yield MicroBatches(batches, sum(clip.samples - clip.context for clip in chosen))
            step += 1


def plan_epoch(
    lengths: Sequence[int], samples_per_step: int, seed: int, epoch: int
) -> list[list[int]]:
    """Shuffle clips, sort them by length in buckets, cut them into batches, shuffle the batches.

    Args:
        lengths: of each clip, in samples.
        samples_per_step: clips are added to a batch while its padded size is at most this; a batch
            has at least one clip.
        seed, epoch: the plan is a function of these.
    Returns:
        clip indices per batch; every clip occurs once.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = rng.permutation(len(lengths))
    plan: list[list[int]] = []
    for begin in range(0, len(order), BUCKET_SIZE):
        batch: list[int] = []
        bucket = order[begin : begin + BUCKET_SIZE].tolist()
        for index in sorted(bucket, key=lambda i: lengths[i]):
            if batch and (len(batch) + 1) * lengths[index] > samples_per_step:
                plan.append(batch)
                batch = []
            batch.append(index)
        plan.append(batch)
    return [plan[i] for i in rng.permutation(len(plan))]


def partition_clips(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Partition clips into parts of about equal total length.

    Clips are assigned by decreasing length, each to the part with the smallest total so far.

    Returns:
        clip indices per part, sorted; the last parts are empty if there are few clips.
    """
    partition: list[list[int]] = [[] for _ in range(parts)]
    sums = [0] * parts
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        shortest = sums.index(min(sums))
        partition[shortest].append(index)
        sums[shortest] += lengths[index]
    return [sorted(part) for part in partition]


def draw_dropped_conditions(model: ModelConfig, rng: np.random.Generator) -> set[str]:
    """Draw which conditions are dropped for a clip, each independently with its `dropout`.

    So one model learns to predict with and without conditions, which guidance needs.
    """
    dropout = {c.name: c.dropout for c in (*model.labels, *model.globals) if c.dropout}
    return {name for name, probability in dropout.items() if rng.random() < probability}


def draw_code_noise(samples: int, max_deviation: float, rng: np.random.Generator) -> Tensor:
    """Draw normal noise for the input codes of a clip.

    Its standard deviation is drawn uniformly from 0 to `max_deviation`. A model that was trained
    without noise continues its own small errors as if they were signal. A model that was trained
    with such errors in its input ignores them.

    Returns:
        (samples,) int64.
    Source: Jin et al., FFTNet, ICASSP 2018, section 2.3; there with one fixed deviation.
    """
    deviation = rng.uniform(0, max_deviation)
    return torch.from_numpy(np.rint(deviation * rng.standard_normal(samples)).astype(np.int64))


def draw_own_samples(samples: int, share: float, rng: np.random.Generator) -> Tensor:
    """Draw which input codes of a clip are the model's own samples.

    Args:
        share: expected fraction of these codes.
    Returns:
        (samples,) float32: a uniform in [0, 1) for such a code, -1 for all others.
    Source: Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
        Networks".
    """
    is_own = rng.random(samples) < share
    # the largest uniform is below 1 in float32, too
    uniforms = rng.random(samples, dtype=np.float32)
    return torch.from_numpy(np.where(is_own, uniforms, np.float32(-1)))


def collate(
    clips: Sequence[TrainingClip],
    codec: Codec,
    model: ModelConfig,
    gains: Sequence[float],
    dropped: Sequence[Collection[str]] = (),
    noises: Sequence[Tensor] = (),
    draws: Sequence[Tensor] = (),
) -> Batch:
    """Pad clips to one length, a multiple of the condition hop, and encode them.

    Args:
        clips: of any length.
        codec: of the codes.
        model: its conditions; the length becomes a multiple of its condition hop, as the frames
            need.
        gains: factor per clip; lowered if the clip would exceed full scale.
        dropped: per clip, the names of conditions that are dropped.
        noises: per clip, noise (samples,) that is added to its input codes.
        draws: per clip, from `draw_own_samples`; not used in its context.
    """
    hop = model.condition_hop
    longest = -(-max(clip.samples for clip in clips) // hop) * hop
    conditions, frame_features = [], []
    waveform = torch.zeros(len(clips), longest)
    mask = torch.zeros(len(clips), longest, dtype=torch.bool)
    for row, (clip, gain) in enumerate(zip(clips, gains, strict=True)):
        gain = limit_gain(clip, gain)
        omitted = dropped[row] if dropped else ()
        conditions.append(batch_condition_values(model, clip, gain, omitted))
        waveform[row, : clip.samples] = clip.waveform * gain
        frame_features.append(apply_gain_db(model, clip.frame_features, 20 * math.log10(gain)))
        mask[row, clip.context : clip.samples] = True
    waveform = waveform.clamp(-1, 1)
    starts = torch.tensor([clip.start for clip in clips])
    # The sample before a segment is not read. Pre-emphasis takes the first one in its place.
    codes = codec.encode(waveform, torch.where(starts > 0, waveform[:, 0], 0))
    return Batch(
        codes,
        mask,
        starts,
        conditions,
        [clip.total_samples for clip in clips],
        frame_features,
        [clip.first_frame for clip in clips],
        add_code_noise(codes, noises, codec.n_classes) if noises else None,
        pad_draws(draws, mask) if draws else None,
    )


def pad_draws(draws: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Return draws (B, T) of clips side by side; -1 where a sample is no target."""
    padded = torch.full(mask.shape, -1.0)
    for row, own in zip(padded, draws, strict=True):
        row[: len(own)] = own
    return padded.masked_fill(~mask, -1.0)


def limit_gain(clip: TrainingClip, gain: float) -> float:
    """Return the gain, lowered if the clip would otherwise exceed full scale."""
    return min(gain, 1 / max(float(clip.waveform.abs().max()), 1e-6))


def batch_condition_values(
    model: ModelConfig, clip: TrainingClip, gain: float, dropped: Collection[str]
) -> Mapping[str, ConditionValue]:
    """Return the condition values of a clip: its fields, and numbers derived from its waveform.

    Args:
        model: its conditions.
        gain: the waveform is measured with this factor.
        dropped: names of conditions that are left out.
    """
    values = dict(clip.fields)
    for condition in model.globals:
        if isinstance(condition, NumberCondition) and condition.derived_from:
            levels = measure_loudness(
                clip.waveform * gain, clip.start, clip.first_frame, model.condition_hop
            )
            values[condition.name] = levels.clamp(condition.low, condition.high)
    return {name: value for name, value in values.items() if name not in dropped}


def add_code_noise(codes: Tensor, noises: Sequence[Tensor], n_classes: int) -> Tensor:
    """Return codes (B, T) with noise added to each clip, clamped to 0..n_classes - 1.

    Padding is not changed.
    """
    noisy = codes.clone()
    for row, noise in zip(noisy, noises, strict=True):
        row[: noise.numel()] += noise
    return noisy.clamp(0, n_classes - 1)
