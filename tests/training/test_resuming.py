"""Runs that stop: they resume bit for bit, and stop before a bad step."""

import itertools

import pytest
import torch

from wavenet import checkpoint
from wavenet.errors import TrainingError
from wavenet.training import loop, snapshots
from wavenet.training.loop import train

from . import last_step, lines, make_config, make_dataset, make_settings

pytestmark = pytest.mark.usefixtures("one_thread_of_the_cpu")


def stop_after(count):
    """Return a should_stop that is true when asked for the count-th time."""
    asked = itertools.count(1)
    return lambda: next(asked) == count


def equal(one, other):
    """Compare every tensor of two states."""
    a, b = snapshots._tensors(one), snapshots._tensors(other)
    assert a.keys() == b.keys()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("stops", [[4], [1, 4], [4, 8]])
def test_a_run_that_was_interrupted_and_resumed_equals_one_that_was_not(
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
    assert equal(parts, whole)
    assert lines(folder) == lines(tmp_path / "whole")
    for name in ("state.safetensors", "state.json"):
        one, other = (last_step(f) / name for f in (folder, tmp_path / "whole"))
        assert one.read_bytes() == other.read_bytes()
    weights = [f / "checkpoint" / "model.safetensors" for f in (folder, tmp_path / "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_an_extra_validation_is_all_that_an_interruption_adds(tmp_path, conditioned):
    config, dataset = conditioned
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train(config, make_settings(), dataset, tmp_path / "parts", should_stop=stop_after(6))
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert equal(parts, whole)
    stopped, straight = lines(tmp_path / "parts"), lines(tmp_path / "whole")
    assert "bits_per_sample" in stopped[5]
    del stopped[5]["bits_per_sample"]
    assert stopped == straight


@pytest.mark.parametrize("lost", ["order", "optimizer", "average"])
def test_the_comparison_of_runs_notices_what_a_resumed_run_lost(
    tmp_path, conditioned, monkeypatch, lost
):
    config, dataset = conditioned
    whole = train(config, make_settings(), dataset, tmp_path / "whole")
    train(config, make_settings(), dataset, tmp_path / "parts", should_stop=stop_after(4))
    if lost == "order":
        feed = loop.batches
        monkeypatch.setattr(
            loop, "batches", lambda *args, **rest: feed(*args[:-2], 0, args[-1], **rest)
        )
    else:
        load = snapshots.load

        def forgetful(path, state, settings):
            load(path, state, settings)
            for name, tensor in snapshots._tensors(state).items():
                if name.startswith(lost):
                    tensor.zero_()

        monkeypatch.setattr(snapshots, "load", forgetful)
    parts = train(config, make_settings(), dataset, tmp_path / "parts", resume=True)
    assert not equal(parts, whole)


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_differ(tmp_path):
    config, dataset = make_config(), make_dataset()
    seeds = {"a": 4, "b": 4, "c": 5}
    states = {
        name: train(config, make_settings(steps=3, seed=seed), dataset, tmp_path / name)
        for name, seed in seeds.items()
    }
    assert equal(states["a"], states["b"])
    assert not equal(states["a"], states["c"])


def test_the_largest_seed_works(tmp_path):
    settings = make_settings(steps=1, seed=(1 << 63) - 1)
    assert train(make_config(), settings, make_dataset(), tmp_path).step == 1


def test_a_run_that_has_ended_can_be_resumed_and_stays_as_it_is(tmp_path):
    config, dataset = make_config(), make_dataset()
    train(config, make_settings(), dataset, tmp_path)
    before = lines(tmp_path)
    assert train(config, make_settings(), dataset, tmp_path, resume=True).step == 12
    assert lines(tmp_path) == before


@pytest.mark.parametrize("where", ["weight", "loss", "gradient"])
def test_training_stops_before_a_step_that_is_not_finite(tmp_path, monkeypatch, where):
    config, dataset = make_config(), make_dataset()
    seen = {}
    step, nll, count = loop.train_step, loop.fed_nll, itertools.count(1)

    def poisoned_nll(model, *args):
        loss = nll(model, *args)
        if next(count) != 3 or not model.output.weight.requires_grad:
            return loss
        if where == "loss":
            return loss * torch.nan
        # finite, with a gradient that is not
        return loss + (model.output.weight[0, 0] - model.output.weight[0, 0].detach()).sqrt()

    def watched(state, *args):
        if where == "weight" and state.step == 2:
            with torch.no_grad():
                state.model.hidden.weight[0, 0] = torch.nan
        seen["state"] = state
        seen["before"] = (
            {n: t.clone() for n, t in snapshots._tensors(state).items()} if (state.step) else {}
        )
        return step(state, *args)

    if where != "weight":
        monkeypatch.setattr(loop, "fed_nll", poisoned_nll)
    monkeypatch.setattr(loop, "train_step", watched)
    settings = make_settings(save_every=1, validate_every=100)
    words = "the loss of step 3 is not finite .*; the weights were left as they were"
    with pytest.raises(TrainingError, match=words) as caught:
        train(config, settings, dataset, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    after = snapshots._tensors(seen["state"])
    assert seen["state"].step == 2
    for name, tensor in seen["before"].items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=0, equal_nan=True)
    assert last_step(tmp_path).name == "step-000000002"
    assert [record["step"] for record in lines(tmp_path)] == [1, 2]


def test_a_run_can_be_stopped_after_any_step(tmp_path):
    config, dataset = make_config(), make_dataset()
    state = train(config, make_settings(), dataset, tmp_path, should_stop=lambda: True)
    assert state.step == 1
    assert checkpoint.load(tmp_path / "checkpoint").config == config
    assert last_step(tmp_path).name == "step-000000001"


def test_runs_of_different_precision_follow_each_other_in_one_process(tmp_path, conditioned):
    config, dataset = conditioned
    losses = {}
    for n, precision in enumerate(("bf16", "fp32", "bf16")):
        settings = make_settings(steps=3, precision=precision)
        train(config, settings, dataset, tmp_path / str(n))
        losses[n] = [record["loss_bits"] for record in lines(tmp_path / str(n))]
    assert losses[0] == losses[2] != losses[1]  # the precision is that of the run
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
