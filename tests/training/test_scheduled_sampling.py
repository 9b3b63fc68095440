"""Scheduled sampling: the model's own samples as inputs, the recording as targets."""

import json
from functools import partial
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wavenet.training.batches import draw_own_samples, training_batches
from wavenet.training.prefetch import encode_batch
from wavenet.training.scheduled_sampling import own_share, replace_by_own_samples

from . import (
    CODEC,
    MODEL,
    TIMING,
    batch_nll,
    build_model,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    train,
)

CLIPS = [make_clip(60 + 7 * n, n, context=n) for n in range(9)]


def stream(share, count=6, first_step=0):
    steps = training_batches(
        CLIPS, CODEC, MODEL, 300, 6.0, 3, first_step, own_share=None if share is None else share
    )
    return [batch for step in islice(steps, count) for batch in step.batches]


def constant(share):
    return lambda step: share


def test_the_share_grows_linearly_to_the_last_step():
    shares = [own_share(step, 5, 0.4) for step in range(5)]
    assert shares == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert own_share(0, 1, 0.4) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_share_of_the_samples_is_drawn(share):
    draws = draw_own_samples(20_000, share, np.random.default_rng(0))
    assert draws.dtype == torch.float32
    own = draws >= 0
    assert float(own.float().mean()) == pytest.approx(share, abs=0.02)
    assert bool((draws[~own] == -1).all())
    assert not own.any() or float(draws[own].max()) < 1
    assert not own.any() or float(draws[own].mean()) == pytest.approx(0.5, abs=0.02)


def test_no_sample_of_context_or_padding_is_replaced_and_codes_stay():
    plain, own = stream(None), stream(constant(1.0))
    for one, other in zip(plain, own, strict=True):
        assert one.own_draws is None
        assert torch.equal(one.codes, other.codes)
        assert torch.equal(other.own_draws >= 0, other.mask)


def test_the_draws_are_a_function_of_the_step():
    share = partial(own_share, steps=6, largest=1.0)
    whole, rest = stream(share), stream(share, 3, first_step=3)
    assert all(torch.equal(a.own_draws, b.own_draws) for a, b in zip(whole[3:], rest, strict=True))
    assert not (whole[0].own_draws >= 0).any()  # the first step has no own samples


def test_a_replaced_code_is_drawn_from_its_own_prediction():
    model, batch = build_model(make_config()), stream(constant(0.5))[0]
    encoded = encode_batch(batch, model)
    found = replace_by_own_samples(model, encoded, batch.codes)
    own = batch.own_draws >= 0
    assert torch.equal(found[~own], batch.codes[~own])
    params = model(batch.codes, encoded.conditioning, batch.start)
    cumulative = F.softmax(params.double(), 1).cumsum(1)  # (B, P, T)
    drawn = (cumulative < batch.own_draws[:, None].double()).sum(1)
    assert (found[own] - drawn[own]).abs().max() <= 1  # rounding at the edge of a code
    assert (found[own] == drawn[own]).float().mean() > 0.99
    # negative control: the predictions of the next sample
    late = drawn.roll(1, dims=1)
    assert (found[own] == late[own]).float().mean() < 0.5


def test_the_loss_has_own_samples_in_the_past_and_the_recording_as_target():
    model, batch = build_model(make_config()), stream(constant(1.0))[0]
    encoded = encode_batch(batch, model)
    inputs = replace_by_own_samples(model, encoded, batch.codes)
    params = model(inputs, encoded.conditioning, batch.start).transpose(1, 2)
    expected = F.cross_entropy(params[batch.mask], batch.codes[batch.mask]).item()
    assert batch_nll(model, batch).item() == pytest.approx(expected, abs=1e-5)
    plain = batch_nll(model, stream(None)[0]).item()
    assert abs(plain - expected) > 1e-3  # negative control


def records_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in TIMING} for line in lines]


def test_a_resumed_training_is_equal_to_an_uninterrupted_one(tmp_path):
    dataset, settings = make_dataset(), make_settings(scheduled_sampling=0.6)
    train(make_config(), settings, dataset, tmp_path / "whole")
    stops = iter([False] * 4 + [True] + [False] * 20)
    arguments = (make_config(), settings, dataset, tmp_path / "parts")
    train(*arguments, should_stop=lambda: next(stops))
    train(*arguments, resume=True)
    found, expected = records_of(tmp_path / "parts"), records_of(tmp_path / "whole")
    assert [r["loss_bits"] for r in found] == [r["loss_bits"] for r in expected]
    # negative control: without own samples the losses differ
    train(make_config(), make_settings(), dataset, tmp_path / "plain")
    assert records_of(tmp_path / "plain")[-1]["loss_bits"] != expected[-1]["loss_bits"]
    assert records_of(tmp_path / "plain")[0]["loss_bits"] == expected[0]["loss_bits"]
