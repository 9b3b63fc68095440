"""Runs that stop: they resume bit for bit, and stop before a step that is not finite."""

import itertools

import pytest
import torch

from wavenet import checkpoint
from wavenet.errors import TrainingError
from wavenet.training import loop, snapshots, task

from . import make_config, make_dataset, make_settings, newest_snapshot, read_metrics, train


def stop_after(count):
    """Return a should_stop that is true at the count-th call."""
    calls = itertools.count(1)
    return lambda: next(calls) == count


def are_equal(one, other):
    """Compare every tensor of two states."""
    a, b = snapshots.state_tensors(one), snapshots.state_tensors(other)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stops", [[4], [1, 4], [4, 8]])
def test_an_interrupted_and_resumed_run_equals_one_that_was_not_interrupted(
    tmp_path, conditioned, stops
):
    settings = make_settings(validate_every=1 if 1 in stops else 4)
    whole = train(conditioned[0], settings, conditioned[1], tmp_path / "whole")
    done, folder = 0, tmp_path / "parts"
    for stop in stops:
        should_stop = stop_after(stop - done)
        part = train(
            conditioned[0], settings, conditioned[1], folder, done > 0, should_stop=should_stop
        )
        assert part.step == stop
        done = stop
    parts = train(conditioned[0], settings, conditioned[1], folder, resume=True)
    assert parts.step == whole.step == 12
    assert parts.best_bits == whole.best_bits
    assert are_equal(parts, whole)
    assert read_metrics(folder) == read_metrics(tmp_path / "whole")
    for name in ("state.safetensors", "state.json"):
        one, other = (newest_snapshot(f) / name for f in (folder, tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes()
    weights = [f / "checkpoint" / "model.safetensors" for f in (folder, tmp_path / "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_interruption_adds_only_a_validation(tmp_path, conditioned):
    config, dataset = conditioned
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train(config, make_settings(), dataset, tmp_path / "parts", should_stop=stop_after(6))
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert are_equal(parts, whole)
    interrupted, straight = read_metrics(tmp_path / "parts"), read_metrics(tmp_path / "whole")
    assert "bits_per_sample" in interrupted[5]
    del interrupted[5]["bits_per_sample"]
    assert interrupted == straight


@pytest.mark.parametrize("lost", ["order", "optimizer", "average"])
def test_the_comparison_of_runs_notices_what_a_resumed_run_lost(
    tmp_path, conditioned, monkeypatch, lost
):
    """The control of the tests above."""
    config, dataset = conditioned
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train(config, make_settings(), dataset, tmp_path / "parts", should_stop=stop_after(4))
    if lost == "order":
        batches = task.training_batches
        monkeypatch.setattr(
            task,
            "training_batches",
            lambda *args, **rest: batches(*args[:-1], 0, **rest),
        )
    else:
        load = snapshots.load

        def incomplete_load(path, state, settings):
            load(path, state, settings)
            for name, tensor in snapshots.state_tensors(state).items():
                if name.startswith(lost):
                    tensor.zero_()

        monkeypatch.setattr(snapshots, "load", incomplete_load)
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert not are_equal(parts, whole)


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_differ(tmp_path):
    config, dataset = make_config(), make_dataset()
    seeds = {"a": 4, "b": 4, "c": 5}
    states = {
        name: train(config, make_settings(steps=3, seed=seed), dataset, tmp_path / name)
        for name, seed in seeds.items()
    }
    assert are_equal(states["a"], states["b"])
    assert not are_equal(states["a"], states["c"])


def test_the_largest_seed_works(tmp_path):
    settings = make_settings(steps=1, seed=(1 << 63) - 1)
    assert train(make_config(), settings, make_dataset(), tmp_path).step == 1


def test_a_finished_run_can_be_resumed_and_does_not_change(tmp_path):
    config, dataset = make_config(), make_dataset()
    train(config, make_settings(), dataset, tmp_path)
    before = read_metrics(tmp_path)
    assert train(config, make_settings(), dataset, tmp_path, resume=True).step == 12
    assert read_metrics(tmp_path) == before


@pytest.mark.parametrize("where", ["weight", "loss", "gradient"])
def test_training_stops_before_a_step_that_is_not_finite(tmp_path, monkeypatch, where):
    config, dataset = make_config(), make_dataset()
    seen = {}
    train_step, mean_nll, calls = loop.train_step, task.mean_nll, itertools.count(1)

    def poisoned_nll(model, batch, truncation=None):
        loss = mean_nll(model, batch)
        if next(calls) != 3 or not model.output.weight.requires_grad:
            return loss
        if where == "loss":
            return loss * torch.nan
        # finite, with a gradient that is not
        return loss + (model.output.weight[0, 0] - model.output.weight[0, 0].detach()).sqrt()

    def watched_step(this_task, state, *args):
        if where == "weight" and state.step == 2:
            with torch.no_grad():
                state.model.hidden.weight[0, 0] = torch.nan
        seen["state"] = state
        seen["before"] = (
            {n: t.clone() for n, t in snapshots.state_tensors(state).items()} if state.step else {}
        )
        return train_step(this_task, state, *args)

    if where != "weight":
        monkeypatch.setattr(task, "mean_nll", poisoned_nll)
    monkeypatch.setattr(loop, "train_step", watched_step)
    settings = make_settings(save_every=1, validate_every=100)
    with pytest.raises(TrainingError, match="step 3 is not finite") as caught:
        train(config, settings, dataset, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    after = snapshots.state_tensors(seen["state"])
    assert seen["state"].step == 2
    for name, tensor in seen["before"].items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert newest_snapshot(tmp_path).name == "step-000000002"
    assert [record["step"] for record in read_metrics(tmp_path)] == [1, 2]


def test_a_run_can_be_stopped_after_any_step(tmp_path):
    config, dataset = make_config(), make_dataset()
    state = train(config, make_settings(), dataset, tmp_path, should_stop=lambda: True)
    assert state.step == 1
    assert checkpoint.load(tmp_path / "checkpoint").config == config
    assert newest_snapshot(tmp_path).name == "step-000000001"


def test_the_precision_is_that_of_the_run_and_not_of_the_process(tmp_path, conditioned):
    config, dataset = conditioned
    losses = {}
    for n, precision in enumerate(("bf16", "fp32", "bf16")):
        settings = make_settings(steps=3, precision=precision)
        train(config, settings, dataset, tmp_path / str(n))
        losses[n] = [record["loss_bits"] for record in read_metrics(tmp_path / str(n))]
    assert losses[0] == losses[2] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
