"""The training loop: it learns, at the learning rate of each step, and saves its best EMA."""

import itertools
import math

import pytest
import torch

from wavenet import checkpoint
from wavenet.errors import DataError
from wavenet.model.conditions import LabelCondition, PositionCondition
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.training import task
from wavenet.training.dataset import Dataset
from wavenet.training.schedule import learning_rate
from wavenet.training.task import bits_per_sample

from . import (
    TIMING,
    initial_state,
    make_clip,
    make_config,
    make_dataset,
    make_settings,
    read_metrics,
    train,
)


def test_a_tiny_model_learns_a_sine(tmp_path):
    clips = [make_clip(200, 0)] * 2
    config = make_config(dilations=(1, 2, 4, 8))
    settings = make_settings(
        steps=120,
        samples_per_step=400,
        learning_rate=0.03,
        gain_db=0.0,
        validate_every=60,
        save_every=60,
    )
    state = train(config, settings, Dataset(train=clips, validation=clips[:1]), tmp_path)
    records = read_metrics(tmp_path)
    assert records[0]["loss_bits"] == pytest.approx(8, abs=0.3)
    assert records[-1]["loss_bits"] < 4
    best = checkpoint.load(tmp_path / "checkpoint").model
    assert bits_per_sample(best, config, clips[:1]) == pytest.approx(state.best_bits)
    assert state.best_bits < 4.5


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"residual_channels": 2, "gate_channels": 2, "skip_channels": 2},
        {"residual_channels": 64, "gate_channels": 32, "skip_channels": 128},
        {"kernel_size": 3, "dilations": tuple(2**n for n in range(8))},
    ],
    ids=["tiny", "tinier", "wide", "deep"],
)
def test_training_begins_near_the_bits_of_the_codec(sizes):
    dataset = make_dataset({"digit": "0"})
    for conditions in [(), (LabelCondition(name="digit", values=("0",)), PositionCondition())]:
        config = make_config(conditions, **sizes)
        model = initial_state(config).model
        assert 7.5 < bits_per_sample(model, config, dataset.train) < 8.5


def test_every_step_has_a_record(tmp_path, conditioned):
    records = []
    train(conditioned[0], make_settings(), conditioned[1], tmp_path, on_record=records.append)
    assert [record["step"] for record in records] == list(range(1, 13))
    assert [r["step"] for r in records if "bits_per_sample" in r] == [4, 8, 12]
    untimed = [{k: v for k, v in record.items() if k not in TIMING} for record in records]
    assert untimed == read_metrics(tmp_path)
    assert all(math.isfinite(v) for record in records for v in record.values())
    assert all(60 <= record["samples"] <= 250 for record in records)


def test_a_step_with_an_absurd_learning_rate_is_limited_by_the_clipped_gradient(tmp_path):
    config, dataset = make_config(), make_dataset()
    settings = make_settings(learning_rate=1.0, warmup_steps=0, gradient_clip=1e-3, steps=5)
    state = train(config, settings, dataset, tmp_path)
    assert all(p.isfinite().all() for p in state.model.parameters())


def test_the_learning_rate_warms_up_linearly_and_falls_along_a_cosine():
    settings = make_settings(
        steps=110, warmup_steps=10, learning_rate=0.01, final_learning_rate=0.001
    )
    rates = [learning_rate(settings, step) for step in range(111)]
    assert rates[:10] == pytest.approx([0.001 * (n + 1) for n in range(10)])
    assert rates[10] == max(rates) == pytest.approx(0.01)
    assert rates[60] == pytest.approx((0.01 + 0.001) / 2)
    assert rates[110] == min(rates[10:]) == pytest.approx(0.001)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))
    assert learning_rate(settings, 1_000) == pytest.approx(0.001)


def test_the_learning_rate_is_constant_for_the_stable_fraction():
    settings = make_settings(steps=110, warmup_steps=10, learning_rate=0.01, stable_fraction=0.4)
    rates = [learning_rate(settings, step) for step in range(111)]
    assert set(rates[10:51]) == {0.01}
    assert all(a > b for a, b in itertools.pairwise(rates[50:]))
    middle = (settings.learning_rate + settings.final_learning_rate) / 2
    assert rates[80] == pytest.approx(middle)
    assert rates[110] == pytest.approx(settings.final_learning_rate)


@pytest.mark.parametrize("warmup", [0, 1, 12, 50])
def test_the_learning_rate_stays_in_its_bounds_however_long_the_warm_up(warmup):
    settings = make_settings(warmup_steps=warmup)
    rates = [learning_rate(settings, step) for step in range(12)]
    assert 0 < min(rates) <= max(rates) <= settings.learning_rate


def test_the_optimizer_uses_the_learning_rate_of_its_step(tmp_path):
    settings = make_settings(steps=6)
    state = train(make_config(), settings, make_dataset(), tmp_path)
    rates = [learning_rate(settings, step) for step in range(6)]
    assert [record["learning_rate"] for record in read_metrics(tmp_path)] == rates
    assert [group["lr"] for group in state.optimizers[0].param_groups] == [rates[-1]] * 2


def test_the_best_ema_is_the_checkpoint(tmp_path, monkeypatch):
    config, dataset = make_config(), make_dataset()
    bits = iter([7.0, 5.0, 6.0])
    monkeypatch.setattr(task, "bits_per_sample", lambda *args: next(bits))
    saved = []
    save = checkpoint.save

    def watched_save(folder, config, model):
        saved.append(model.output.bias.clone())
        save(folder, config, model)

    monkeypatch.setattr(checkpoint, "save", watched_save)
    state = train(config, make_settings(), dataset, tmp_path)
    assert state.best_bits == 5.0
    assert len(saved) == 2
    best = checkpoint.load(tmp_path / "checkpoint").model.output.bias
    assert torch.equal(best, saved[1])
    assert not torch.equal(best, state.ema_model.output.bias)


def test_without_held_out_clips_the_newest_ema_is_the_checkpoint(tmp_path):
    """Regression: with fewer than 20 files nothing was held out, and no checkpoint was written."""
    config, dataset = make_config(), make_dataset(validation=0)
    state = train(config, make_settings(), dataset, tmp_path)
    loaded = checkpoint.load(tmp_path / "checkpoint")
    assert torch.equal(loaded.model.output.weight, state.ema_model.output.weight)
    assert "bits_per_sample" not in read_metrics(tmp_path)[-1]
    assert "Infinity" not in (tmp_path / "metrics.jsonl").read_text()
    assert bits_per_sample(state.ema_model, config, []) == math.inf


def test_the_ema_lags_behind_the_model(tmp_path):
    state = train(make_config(), make_settings(), make_dataset(), tmp_path)
    start = initial_state().model.output.weight
    far = (state.model.output.weight - start).norm()
    assert 0 < (state.ema_model.output.weight - start).norm() < far


def test_the_bits_of_a_validation_are_those_of_each_clip_alone(monkeypatch):
    config, dataset = make_config(), make_dataset()
    model = initial_state(config).model
    samples = [clip.samples for clip in dataset.train]
    alone = [bits_per_sample(model, config, [clip]) for clip in dataset.train]
    mean = sum(n * bits for n, bits in zip(samples, alone, strict=True)) / sum(samples)
    assert bits_per_sample(model, config, dataset.train) == pytest.approx(mean, abs=1e-5)
    assert abs(sum(alone) / len(alone) - mean) > 1e-5  # negative control: clips weigh by length
    monkeypatch.setattr(task, "VALIDATION_SAMPLES", 1)
    assert bits_per_sample(model, config, dataset.train) == pytest.approx(mean, abs=1e-5)


def test_a_run_can_start_from_the_weights_of_a_checkpoint(tmp_path):
    config, dataset = make_config(), make_dataset()
    train(config, make_settings(steps=4), dataset, tmp_path / "first")
    start = checkpoint.load(tmp_path / "first" / "checkpoint")
    still = make_settings(steps=1, learning_rate=1e-9, final_learning_rate=0.0, seed=9)
    states = [
        train(config, still, dataset, tmp_path / str(n), start=begin)
        for n, begin in enumerate([start, None])
    ]
    continued, fresh = (state.ema_model.hidden.weight for state in states)
    torch.testing.assert_close(continued, start.model.hidden.weight, atol=1e-6, rtol=0)
    torch.testing.assert_close(states[0].model.hidden.weight.detach(), continued, atol=1e-6, rtol=0)
    assert (fresh - start.model.hidden.weight).abs().max() > 0.01
    card = (tmp_path / "0" / "checkpoint" / "README.md").read_text()
    assert "| steps | 1, from the weights of `tiny` |" in card
    assert "from the weights" not in (tmp_path / "1" / "checkpoint" / "README.md").read_text()


def test_a_dataset_without_clips_is_refused(tmp_path):
    with pytest.raises(DataError, match="no clip to train on"):
        train(make_config(), make_settings(), Dataset(), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "output", [LogisticOutput(components=2), GaussianOutput()], ids=lambda o: o.kind
)
def test_a_mixture_learns_a_sine_in_16_bits(tmp_path, output):
    clips = [make_clip(200, 0)] * 2
    config = make_config(bits=16, output=output, dilations=(1, 2, 4, 8))
    settings = make_settings(
        steps=150,
        samples_per_step=400,
        learning_rate=0.02,
        gain_db=0.0,
        validate_every=150,
        save_every=150,
    )
    train(config, settings, Dataset(train=clips, validation=clips[:1]), tmp_path)
    records = read_metrics(tmp_path)
    # the noise in the sine has 0.1 of full scale: log2(0.1 * sqrt(2 pi e) * 32768) = 13.7 bits
    assert records[0]["loss_bits"] > 16
    assert 13 < records[-1]["loss_bits"] < 15.2
    best = checkpoint.load(tmp_path / "checkpoint").model
    assert bits_per_sample(best, config, clips[:1]) == pytest.approx(records[-1]["bits_per_sample"])
