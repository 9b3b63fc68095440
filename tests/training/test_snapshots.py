"""Snapshots: complete or absent, and a run resumes only from those of the same model."""

import json
import os
import shutil
from collections import namedtuple

import pytest
import torch

from wavenet import disk_space
from wavenet.errors import FolderError, TrainingError
from wavenet.training import loop, snapshots
from wavenet.training.step_metrics import StepResult

from . import initial_state, make_config, make_dataset, make_settings, train


@pytest.fixture
def run(tmp_path):
    """Train for 12 steps, of which steps 8 and 12 are saved."""
    train(make_config(), make_settings(), make_dataset(), tmp_path / "run")
    return tmp_path / "run"


def saved_steps(folder):
    return [int(path.name.removeprefix("step-")) for path in sorted(folder.glob("step-*"))]


def refused_message(folder, config=None, resume=True, **settings):
    with pytest.raises((TrainingError, FolderError)) as caught:
        train(config or make_config(), make_settings(**settings), make_dataset(), folder, resume)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    assert str(folder) in message
    return message.replace(str(folder), "")


def recorded_steps(folder):
    """Return the steps in the metrics."""
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line)["step"] for line in text.splitlines()]


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_newest_two_snapshots_are_kept(run):
    assert saved_steps(run) == [8, 12]
    for path in run.glob("step-*"):
        assert {p.name for p in path.iterdir()} == {"state.safetensors", "state.json"}


def test_an_existing_run_is_not_overwritten(run):
    before = content(run)
    assert "already contains a run" in refused_message(run, resume=False)
    assert content(run) == before


@pytest.mark.parametrize(("resume", "copies"), [(False, 13), (True, 5)])
def test_a_run_needs_space_for_its_snapshots(run, tmp_path, monkeypatch, resume, copies):
    """A new run has three snapshots at once, a resumed run writes one more; both a checkpoint."""
    folder, before = (run, content(run)) if resume else (tmp_path / "new", {})
    model = initial_state().ema_model
    needed = copies * sum(4 * p.numel() for p in model.parameters())
    free = [needed - 1]
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage(10**9, 0, free[0]))
    assert "free some space" in refused_message(folder, resume=resume)
    assert folder.exists() == resume and (not resume or content(run) == before)
    free[0] = needed
    train(make_config(), make_settings(), make_dataset(), folder, resume)


@pytest.mark.parametrize("make", [False, True])
def test_a_run_without_a_snapshot_cannot_be_resumed(tmp_path, make):
    folder = tmp_path / "new"
    if make:
        folder.mkdir()
        (folder / "step-000000004.tmp").mkdir()  # left by a crash
    assert "no snapshot" in refused_message(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 13},
        {"learning_rate": 0.02},
        {"seed": 5},
        {"samples_per_step": 251},
        {"betas": (0.9, 0.98)},
        {"gain_db": 0.0, "ema_decay": 0.9},
    ],
    ids=str,
)
def test_other_settings_are_refused_by_name(run, change):
    before = content(run)
    message = refused_message(run, **change)
    assert "other values" in message and all(name in message for name in change)
    assert content(run) == before


@pytest.mark.parametrize("change", [{"skip_channels": 9}, {"dilations": (1, 2)}], ids=str)
def test_a_model_of_another_shape_is_refused(run, change):
    assert "another" in refused_message(run, make_config(**change))


def test_a_model_of_the_same_shape_but_other_dilations_is_refused(run):
    """Regression: a run continued with another model whose weights fit."""
    assert "belongs to another model" in refused_message(run, make_config(dilations=(1, 2, 8)))


def test_a_snapshot_without_a_model_config_can_be_resumed(run):
    shutil.rmtree(run / "step-000000012")
    path = run / "step-000000008" / "state.json"
    state = json.loads(path.read_text())
    del state["model"]
    path.write_text(json.dumps(state))
    assert train(make_config(), make_settings(), make_dataset(), run, resume=True).step == 12


@pytest.mark.parametrize(
    "name, damage",
    [
        ("state.json", b""),
        ("state.json", b"{"),
        ("state.json", b"\xff\xfe"),
        ("state.json", b'{"step": 12}'),
        ("state.json", None),
        ("state.safetensors", b""),
        ("state.safetensors", b"\x80\x04junk" * 9),
        ("state.safetensors", 0.5),
        ("state.safetensors", None),
    ],
    ids=range(9),
)
def test_a_damaged_snapshot_is_named_and_the_one_before_can_be_resumed(run, name, damage):
    """It does not restart at step 0. Regression: bytes that are not text raised UnicodeError."""
    path = run / "step-000000012" / name
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(whole[: int(damage * len(whole))] if damage == 0.5 else damage)
    message = refused_message(run)
    assert "step-000000012" in message
    assert "is damaged" in message
    shutil.rmtree(run / "step-000000012")
    state = train(make_config(), make_settings(), make_dataset(), run, resume=True)
    assert state.step == 12
    assert recorded_steps(run) == [*range(1, 13)]


def test_a_loaded_snapshot_is_what_was_saved(run):
    state = initial_state()
    fresh = state.model.output.weight.clone()
    snapshots.load(run / "step-000000012", state, make_settings())
    assert state.step == 12
    assert not torch.equal(state.model.output.weight, fresh)
    again = run.parent / "again"
    snapshots.save(again, state, make_settings())
    assert content(again) == {
        path: data for path, data in content(run).items() if "step-000000012" in str(path)
    }


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_snapshot_that_cannot_be_written_leaves_the_others(run, monkeypatch, call):
    shutil.rmtree(run / "step-000000012")
    before = content(run)
    state = initial_state()
    snapshots.load(run / "step-000000008", state, make_settings())
    state.step = 12

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(TrainingError, match=r"step-000000012 cannot be written: .*No space left"):
        snapshots.save(run, state, make_settings())
    assert content(run) == before
    assert not list(run.glob("*.tmp"))


@pytest.mark.parametrize("below", [".", "deeper/run"])
def test_a_folder_that_cannot_be_written_is_named_before_a_step(tmp_path, monkeypatch, below):
    def never(*args):
        raise AssertionError("a step was done")

    monkeypatch.setattr(loop, "train_step", never)
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refused_message(tmp_path / "file" / below, resume=False)


def test_metrics_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    def remove_folder(task, state, *args):
        state.step += 1
        shutil.rmtree(tmp_path / "run")
        return StepResult({"step": state.step, "samples": 1}, torch.zeros(2))

    monkeypatch.setattr(loop, "train_step", remove_folder)
    assert "metrics.jsonl cannot be written" in refused_message(tmp_path / "run", resume=False)


def test_a_crash_while_a_snapshot_is_saved_loses_no_record(tmp_path, monkeypatch):
    """Regression: records were written after the snapshot; a crash in between lost some."""
    save = snapshots.save

    def crash(folder, state, settings):
        save(folder, state, settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(snapshots, "save", crash)
    with pytest.raises(KeyboardInterrupt):
        train(make_config(), make_settings(), make_dataset(), tmp_path)
    monkeypatch.setattr(snapshots, "save", save)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss')  # torn
    train(make_config(), make_settings(), make_dataset(), tmp_path, resume=True)
    assert recorded_steps(tmp_path) == [*range(1, 13)]
