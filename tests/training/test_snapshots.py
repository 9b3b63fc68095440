"""What a run leaves behind: whole steps or none, the right model or a refusal."""

import json
import os
import shutil

import pytest
import torch

from wavenet.errors import FolderError, TrainingError
from wavenet.training import loop, snapshots
from wavenet.training.loop import train
from wavenet.training.step_metrics import StepResult

from . import CPU, make_config, make_dataset, make_settings


@pytest.fixture(autouse=True)
def cpu(monkeypatch):
    """Stay on the CPU wherever this runs."""
    monkeypatch.setattr(loop, "choose_device", lambda: CPU)


@pytest.fixture
def run(tmp_path):
    """Train for 12 steps, of which steps 8 and 12 are kept."""
    train(make_config(), make_settings(), make_dataset(), tmp_path / "run")
    return tmp_path / "run"


def steps(folder):
    return [int(path.name.removeprefix("step-")) for path in sorted(folder.glob("step-*"))]


def refusal(folder, config=None, resume=True, **settings):
    with pytest.raises((TrainingError, FolderError)) as caught:
        train(config or make_config(), make_settings(**settings), make_dataset(), folder, resume)
    sentence = str(caught.value)
    assert len(sentence.splitlines()) == 1
    assert str(folder) in sentence
    return sentence.replace(str(folder), "")


def metrics_of(folder):
    """Return the steps that the metrics hold."""
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line)["step"] for line in text.splitlines()]


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_newest_two_steps_are_kept(run):
    assert steps(run) == [8, 12]
    for path in run.glob("step-*"):
        assert {p.name for p in path.iterdir()} == {"state.safetensors", "state.json"}


def test_a_run_that_is_there_is_not_begun_again(run):
    before = content(run)
    assert "already holds a run; resume it or choose another" in refusal(run, resume=False)
    assert content(run) == before


@pytest.mark.parametrize("make", [False, True])
def test_there_must_be_something_to_resume(tmp_path, make):
    folder = tmp_path / "new"
    if make:
        folder.mkdir()
        (folder / "step-000000004.tmp").mkdir()  # left by a crash
    assert "has no step to resume from; start it without --resume" in refusal(folder)


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
    sentence = refusal(run, **change)
    assert f"was made with other settings of {', '.join(sorted(change, reverse=True))}" in (
        sentence.replace("ema_decay, gain_db", "gain_db, ema_decay")
    )
    assert content(run) == before


@pytest.mark.parametrize("change", [{"skip_channels": 9}, {"dilations": (1, 2)}], ids=str)
def test_a_model_of_another_shape_is_refused(run, change):
    assert "another" in refusal(run, make_config(**change))


def test_a_model_of_the_same_shape_but_other_dilations_is_refused(run):
    """Its weights fit, and the run once went on with what was another model."""
    assert "belongs to another model" in refusal(run, make_config(dilations=(1, 2, 8)))


def test_a_step_from_before_the_model_was_kept_can_be_resumed(run):
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
def test_a_damaged_step_is_named_and_the_one_before_can_be_resumed(run, name, damage):
    """It never begins again at step 0; bytes that are no text once ended in a UnicodeError."""
    path = run / "step-000000012" / name
    whole = path.read_bytes()
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(whole[: int(damage * len(whole))] if damage == 0.5 else damage)
    sentence = refusal(run)
    assert "step-000000012" in sentence
    assert "is damaged" in sentence
    shutil.rmtree(run / "step-000000012")
    state = train(make_config(), make_settings(), make_dataset(), run, resume=True)
    assert state.step == 12
    assert metrics_of(run) == [*range(1, 13)]


def test_a_step_comes_back_as_it_was_saved(run):
    state = loop.make_state(make_config(), make_settings())
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
def test_a_step_that_cannot_be_written_leaves_the_ones_before(run, monkeypatch, call):
    shutil.rmtree(run / "step-000000012")
    before = content(run)
    state = loop.make_state(make_config(), make_settings())
    snapshots.load(run / "step-000000008", state, make_settings())
    state.step = 12

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(TrainingError, match=r"step-000000012 cannot be written: .*No space left"):
        snapshots.save(run, state, make_settings())
    assert content(run) == before
    assert not list(run.glob("*.tmp"))


@pytest.mark.parametrize("below", [".", "deeper/run"])
def test_a_folder_that_cannot_be_written_is_named_before_any_step(tmp_path, monkeypatch, below):
    def never(*args):
        raise AssertionError("a step was made")

    monkeypatch.setattr(loop, "train_step", never)
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refusal(tmp_path / "file" / below, resume=False)


def test_metrics_that_cannot_be_written_are_named(tmp_path, monkeypatch):
    def remove(state, *args):
        state.step += 1
        shutil.rmtree(tmp_path / "run")
        return StepResult({"step": state.step, "samples": 1}, torch.zeros(2))

    monkeypatch.setattr(loop, "train_step", remove)
    assert "metrics.jsonl cannot be written" in refusal(tmp_path / "run", resume=False)


def test_a_crash_while_a_step_is_saved_costs_no_line_of_the_metrics(tmp_path, monkeypatch):
    """The line of a step was once written after the step; a crash between left a gap."""
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
    assert metrics_of(tmp_path) == [*range(1, 13)]
