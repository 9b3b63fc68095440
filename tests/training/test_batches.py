"""Batches: padding never counts, every clip occurs, the order is a function of seed and step."""

from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wavenet.errors import ConditionError, DataError
from wavenet.model.conditions import LabelCondition, NumberCondition, PositionCondition
from wavenet.training.batches import (
    Batch,
    collate,
    partition_clips,
    plan_epoch,
    training_batches,
)

from . import CODEC, MODEL, RULES, batch_nll, build_model, clips_nll, make_clip, make_config


def test_conditions_are_dropped_with_their_own_probability():
    conditions = (
        LabelCondition(name="digit", values=("0", "1"), dropout=0.3),
        LabelCondition(name="speaker", values=("x",)),
        NumberCondition(name="level", low=0.0, high=1.0, dropout=0.6),
    )
    fields = {"digit": "1", "speaker": "x", "level": "0.5"}
    clips = [make_clip(30, 0, fields)] * 10
    steps = training_batches(clips, CODEC, make_config(conditions).model, 300, 0.0, 7)
    rows = [row for _ in range(100) for row in next(steps).batches[0].conditions]
    present = {name: sum(name in row for row in rows) / len(rows) for name in fields}
    assert present["speaker"] == 1
    assert present["digit"] == pytest.approx(0.7, abs=0.06)  # 4 standard deviations of 1,000 draws
    assert present["level"] == pytest.approx(0.4, abs=0.07)
    both = sum("digit" in row and "level" in row for row in rows) / len(rows)
    assert both == pytest.approx(0.28, abs=0.06)  # independent of each other


def test_padding_never_enters_the_loss():
    fields = [{"digit": "0"}, {"digit": "1"}, {"digit": "0"}]
    conditions = (LabelCondition(name="digit", values=("0", "1")), PositionCondition())
    model = build_model(make_config(conditions))
    shapes = [(37, 0, 0), (90, 8, 123), (61, 3, 17)]
    clips = [
        make_clip(n, seed, fields[seed], context, start)
        for seed, (n, context, start) in enumerate(shapes)
    ]
    batch = collate(clips, CODEC, MODEL, [1.0] * 3)
    assert batch.codes.shape == (3, 90)
    assert batch_nll(model, batch).item() == pytest.approx(clips_nll(model, clips), abs=1e-5)
    everything = Batch(
        batch.codes,
        torch.ones_like(batch.mask),
        batch.start,
        batch.conditions,
        batch.total_samples,
    )
    assert abs(batch_nll(model, everything).item() - clips_nll(model, clips)) > 1e-3


def test_a_batch_is_padded_with_silence_to_whole_frames():
    clips = [make_clip(37, 0), make_clip(51, 1, context=5, start=40)]
    batch = collate(clips, CODEC, MODEL.model_copy(update={"condition_hop": 20}), [1.0, 1.0])
    assert batch.codes.shape == (2, 60)
    assert torch.equal(batch.codes[0, :37], CODEC.encode(clips[0].waveform))
    assert (batch.codes[0, 37:] == 128).all()
    assert (batch.codes[1, 51:] == 128).all()
    assert batch.mask.sum(1).tolist() == [37, 46]
    assert not batch.mask[1, :5].any()
    assert not batch.mask[1, 51:].any()
    assert batch.start.tolist() == [0, 40]
    assert batch.total_samples == [37, 91]


@pytest.mark.parametrize("gain", [0.25, 1.0, 1.7, 100.0])
def test_a_gain_never_clips(gain):
    clip = make_clip(50)
    peak = clip.waveform.abs().max().item()
    batch = collate([clip], CODEC, MODEL, [gain])
    expected = (clip.waveform * min(gain, 1 / peak)).clamp(-1, 1)
    assert torch.equal(batch.codes[0, :50], CODEC.encode(expected))
    silent = make_clip(50)
    silent.waveform.zero_()
    assert (collate([silent], CODEC, MODEL, [gain]).codes == 128).all()


@RULES
@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=200),
    st.integers(1, 2_000),
    st.integers(0, (1 << 63) - 1),
    st.integers(0, 1_000),
)
def test_every_clip_occurs_once_in_an_epoch(lengths, samples_per_step, seed, epoch):
    plan = plan_epoch(lengths, samples_per_step, seed, epoch)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        assert batch
        padded = len(batch) * max(lengths[i] for i in batch)
        assert len(batch) == 1 or padded <= samples_per_step
    assert plan == plan_epoch(lengths, samples_per_step, seed, epoch)


def test_epochs_and_seeds_differ_in_their_order():
    lengths = list(range(100, 200))
    plans = [plan_epoch(lengths, 500, seed, epoch) for seed, epoch in [(0, 0), (0, 1), (1, 0)]]
    assert plans[0] != plans[1] != plans[2] != plans[0]


def test_clips_of_one_batch_are_of_similar_length():
    rng = np.random.default_rng(0)
    lengths = rng.integers(100, 2_000, 256).tolist()
    plan = plan_epoch(lengths, 8_000, 0, 0)
    padded = sum(len(batch) * max(lengths[i] for i in batch) for batch in plan)
    assert padded < 1.15 * sum(lengths)
    unsorted = sum(4 * max(lengths[n : n + 4]) for n in range(0, 256, 4))  # negative control
    assert unsorted > 1.3 * sum(lengths)


@RULES
@given(st.lists(st.integers(1, 1_000), max_size=40), st.integers(1, 9))
def test_clips_are_partitioned_evenly_and_each_once(lengths, parts):
    partition = partition_clips(lengths, parts)
    assert len(partition) == parts
    assert sorted(index for part in partition for index in part) == list(range(len(lengths)))
    sums = [sum(lengths[i] for i in part) for part in partition]
    assert max(sums) - min(sums) <= max(lengths, default=0)
    assert partition_clips(lengths, 1) == [list(range(len(lengths)))]


def stream(clips, count, first_step=0, seed=3):
    steps = training_batches(clips, CODEC, MODEL, 300, 6.0, seed, first_step)
    batches = [step.batches[0] for step in islice(steps, count)]
    return [(b.codes, b.mask, b.start, b.total_samples) for b in batches]


def are_equal(one, other):
    return (
        one[0].shape == other[0].shape
        and all(torch.equal(a, b) for a, b in zip(one[:3], other[:3], strict=True))
        and one[3] == other[3]
    )


@pytest.mark.parametrize("first_step", [1, 4, 5, 13])
def test_the_stream_can_begin_at_any_step(first_step):
    clips = [make_clip(60 + 7 * n, n) for n in range(9)]
    whole = stream(clips, 20)
    rest = stream(clips, 20 - first_step, first_step)
    assert all(are_equal(a, b) for a, b in zip(whole[first_step:], rest, strict=True))
    other = stream(clips, 20 - first_step, first_step, seed=5)  # negative control
    assert not all(are_equal(a, b) for a, b in zip(rest, other, strict=True))


def test_a_clip_has_another_gain_in_every_epoch():
    clip = make_clip(60)
    first, second = (step[0] for step in stream([clip], 2))
    assert not torch.equal(first, second)


def test_an_empty_dataset_is_refused_instead_of_waiting_forever():
    with pytest.raises(DataError, match="no clip"):
        next(training_batches([], CODEC, MODEL, 300, 0.0, 0))


@pytest.mark.parametrize("fields", [{}, {"speaker": "x"}, {"digit": "7"}])
def test_a_clip_without_the_label_of_the_model_is_refused(fields):
    """Regression: a missing label raised a KeyError."""
    model = build_model(make_config((LabelCondition(name="digit", values=("0", "1")),)))
    batch = collate([make_clip(30, 0, fields)], CODEC, MODEL, [1.0])
    with pytest.raises(ConditionError, match="digit"):
        batch_nll(model, batch)


def test_fields_that_the_model_does_not_know_are_ignored():
    model = build_model(make_config((LabelCondition(name="digit", values=("0", "1")),)))
    batch = collate([make_clip(30, 0, {"digit": "1", "speaker": "x"})], CODEC, MODEL, [1.0])
    assert batch_nll(model, batch).isfinite()
