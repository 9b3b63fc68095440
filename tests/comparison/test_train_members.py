"""Training of a member: search, run, interruption."""

import json
import math

import pytest

from tests.comparison.conftest import BUDGET, TINY
from wavenet import checkpoint
from wavenet.comparison import train_members
from wavenet.comparison.plan import Entry
from wavenet.comparison.train_members import (
    TrainingStopped,
    next_rates,
    read_records,
    read_training,
    train_entry,
)
from wavenet.errors import DataError, TrainingError
from wavenet.training import loop


def read(path):
    return json.loads(path.read_text())


def fix_speed(monkeypatch, speed=300.0):
    """Make the number of steps independent of the machine: 30 in all, 10 per learning rate."""
    monkeypatch.setattr(train_members, "measure_speed", lambda *arguments: speed)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, source):
    """Return an entry with 30 steps, and the lines that its training reported."""
    entry, lines = Entry(tmp_path_factory.mktemp("trained"), BUDGET, TINY), []
    with pytest.MonkeyPatch.context() as patch:
        fix_speed(patch)
        train_entry(entry, source, lines.append)
    return entry, lines


def test_a_member_is_searched_and_trained(trained):
    entry, lines = trained
    search, training = read(entry.search_file), read(entry.training_file)
    tried = {row["learning_rate"]: row["bits"] for row in search["tried"]}
    assert training["learning_rate"] == min(tried, key=tried.get)
    assert training["steps"] == search["steps"] == 30
    assert training["samples"] == sum(r["samples"] for r in read_records(entry.run))
    loaded = checkpoint.load(entry.checkpoint)
    assert loaded.model.parameter_count == training["parameters"]
    assert training["validation_bits"] < max(tried.values())
    assert lines


def test_the_steps_follow_from_the_measured_speed(entry, source, monkeypatch):
    fix_speed(monkeypatch, 500.0)
    train_entry(entry, source)
    assert read(entry.training_file)["steps"] == 50


def test_a_finished_member_is_not_trained_again(trained, source, monkeypatch):
    entry, _ = trained
    before = entry.training_file.stat().st_mtime_ns
    monkeypatch.setattr(loop, "train", None)  # a call would be a TypeError
    train_entry(entry, source)
    assert entry.training_file.stat().st_mtime_ns == before


@pytest.mark.parametrize("stop_after", [5, 45])
def test_a_stopped_member_continues(tmp_path, source, trained, monkeypatch, stop_after):
    """Stopped in the search or in the run; the result is that of an uninterrupted training."""
    fix_speed(monkeypatch)
    whole, _ = trained
    entry = Entry(tmp_path / "stopped", BUDGET, TINY)
    steps = 0

    def should_stop():
        nonlocal steps
        steps += 1
        return steps == stop_after

    with pytest.raises(TrainingStopped):
        train_entry(entry, source, should_stop=should_stop)
    assert not entry.training_file.exists()
    train_entry(entry, source)
    found, expected = read(entry.training_file), read(whole.training_file)
    assert found["validation_bits"] == expected["validation_bits"]
    assert found["samples"] == expected["samples"]


@pytest.mark.parametrize("content", ["", "{", "[1]", "{}", "\udcff"])
@pytest.mark.parametrize("name", ["search.json", "training.json"])
def test_a_damaged_file_is_one_sentence(entry, source, name, content):
    entry.folder.mkdir(parents=True)
    (entry.folder / name).write_bytes(content.encode(errors="surrogateescape"))
    read_again = train_entry if name == "search.json" else lambda entry, _: read_training(entry)
    with pytest.raises(DataError, match=rf"{name} is damaged; delete the folder .* compare train"):
        read_again(entry, source)


@pytest.mark.parametrize("content", [None, '{"step": 1}\n', "{"])
def test_damaged_records_are_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "metrics.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"metrics.jsonl is missing or damaged; delete the folder"):
        read_records(tmp_path)


def test_a_rate_at_which_the_loss_is_not_finite_is_not_chosen(entry, source, monkeypatch):
    fix_speed(monkeypatch)
    train = loop.train

    def fail_at_high_rates(task, folder, *arguments, **named):
        if task.settings.learning_rate > 2e-3:
            raise TrainingError("the loss is not finite")
        return train(task, folder, *arguments, **named)

    monkeypatch.setattr(loop, "train", fail_at_high_rates)
    train_entry(entry, source)
    search = read(entry.search_file)
    assert search["learning_rate"] < 2e-3
    assert [row["bits"] for row in search["tried"]][-1] is None


def test_the_search_continues_beyond_its_ends():
    assert next_rates({1e-3: 5.0, 3e-3: 4.0, 1e-2: 6.0}) == []
    assert next_rates({1e-3: 5.0, 3e-3: 4.0, 1e-2: 3.0}) == [pytest.approx(math.sqrt(10) / 100)]
    assert next_rates({1e-3: 3.0, 3e-3: 4.0}) == [pytest.approx(1e-3 / math.sqrt(10))]
    assert next_rates({1e-3: 3.0, 0.09: 2.0}) == []
