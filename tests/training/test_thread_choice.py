"""The number of CPU threads of a training: chosen by injected speeds; no time is measured."""

import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from wavenet.training import loop, thread_choice, training_setup
from wavenet.training.thread_choice import RecentSpeed, ThreadChoice, thread_candidates
from wavenet.training.training_setup import choose_threads

from . import make_config, make_dataset, make_settings, train

STEP = 1000  # samples


def run(choice, speeds, seconds, step=STEP):
    """Do steps for a time; return the number of threads of each, and the notes.

    Args:
        speeds: samples per second by number of threads.
    """
    used, notes, clock = [], [], 0.0
    while clock < seconds:
        used.append(choice.threads)
        duration = step / speeds[choice.threads]
        clock += duration
        notes.append(choice.record(step, duration))
    return used, [note for note in notes if note]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))],
)
def test_candidates_are_powers_of_two_and_the_limit(limit, expected):
    assert thread_candidates(limit) == expected


@pytest.mark.parametrize(
    ("speeds", "expected"),
    [
        ({1: 36_000, 2: 60_000}, 2),
        ({1: 36_000, 2: 1_800}, 1),
        ({1: 36_000, 2: 37_000}, 1),  # not worth a second core
        ({1: 10_000, 2: 19_000, 4: 30_000, 8: 31_000}, 4),
    ],
)
def test_the_fastest_number_of_threads_is_chosen_and_printed(speeds, expected):
    choice = ThreadChoice(tuple(speeds))
    used, notes = run(choice, speeds, 15)
    assert set(used) == set(speeds), "all are measured"
    assert choice.threads == expected
    assert set(used[len(used) // 2 :]) == {expected}
    (note,) = notes
    assert note.startswith(f"training with {expected} CPU thread")
    assert all(f"{speed:,} with {n}" in note for n, speed in speeds.items())


def test_one_number_is_not_measured():
    choice = ThreadChoice((3,))
    assert run(choice, {3: 5000}, 1000) == ([3] * 5000, [])


def test_a_contended_core_is_released_and_used_again():
    choice = ThreadChoice((1, 2))
    free, contended = {1: 36_000, 2: 60_000}, {1: 30_000, 2: 1_800}
    run(choice, free, 100)
    assert choice.threads == 2
    used, notes = run(choice, contended, 60)
    assert choice.threads == 1
    assert ["with 1 CPU thread instead of 2" in note for note in notes] == [True]
    assert used.count(2) * STEP / 1_800 < 40, "seconds until the fall is noticed"
    # then the core is free: the speed does not fall, so the interval decides
    used, notes = run(choice, free, thread_choice.INTERVAL + 5)
    assert choice.threads == 2
    assert ["with 2 CPU threads instead of 1" in note for note in notes] == [True]
    assert run(choice, free, thread_choice.INTERVAL + 5)[1] == [], "unchanged: no note"


def test_a_single_slow_round_does_not_decide():
    choice = ThreadChoice((1, 2))
    run(choice, {1: 10_000, 2: 1_000}, 3)  # ends in the second step with two threads
    run(choice, {1: 10_000, 2: 20_000}, 10)
    assert choice.threads == 2


@pytest.mark.parametrize("seconds", [0.05, 1.0, 20.0])
def test_measuring_needs_a_small_part_of_the_time(seconds):
    choice = ThreadChoice((1, 2))
    speeds = {1: STEP / seconds, 2: 0.5 * STEP / seconds}
    used, _ = run(choice, speeds, 40_000)
    assert used.count(2) * 2 * seconds < 0.05 * 40_000


def test_the_speed_is_that_of_the_last_minute():
    speed = RecentSpeed(100.0)
    assert speed.record(102.0, 200) == 100.0
    for n in range(1, 101):
        found = speed.record(102.0 + n, 50)
    assert found == 50.0, "the fast step is over a minute ago"
    assert speed.record(502.0, 300) == 1.0, "a long step: this step alone"
    assert speed.record(902.0, 300) == 0.75


def test_each_step_runs_with_the_chosen_threads_which_are_recorded(tmp_path, monkeypatch):
    used, train_step = [], loop.train_step

    def watched_step(*arguments):
        used.append(torch.get_num_threads())
        return train_step(*arguments)

    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(loop, "train_step", watched_step)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: float(next(clock))))
    before = torch.get_num_threads()
    dataset, settings = make_dataset(), make_settings()
    train(make_config(), settings, dataset, tmp_path, thread_choice=ThreadChoice((1, 2)))
    assert torch.get_num_threads() == before
    # a step lasts 10 seconds: of each candidate one step is not measured, and one is, in two rounds
    assert used == [1, 1, 2, 2, 1, 1, 2, 2, *[used[8]] * 4]
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["threads"] for record in records] == used
    assert [n for n, record in enumerate(records, 1) if "note" in record] == [8]
    assert records[7]["note"].startswith(f"training with {used[8]} CPU thread")
    minute = sum(record["samples"] for record in records[-2:])
    assert records[-1]["samples_per_second"] == minute / 60  # three readings of the clock per step


@pytest.mark.parametrize("policy", [None, "ACTIVE"])
@pytest.mark.parametrize(
    "command",
    [
        "from wavenet.cli.main import run; run(['train', 'tiny'])",
        "from wavenet.cli.warm_worker_process import main; main()",
    ],
)
def test_threads_wait_passively_by_default(monkeypatch, command, policy):
    """Set before torch is loaded, because OpenMP reads it only then."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if policy is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", policy)
    code = f"""
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"), flush=True)
            os._exit(0)
sys.meta_path.insert(0, Finder())
{command}
"""
    done = subprocess.run(
        [sys.executable, "-c", code], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == (f"{policy or 'PASSIVE'}\n", "")


@pytest.mark.parametrize(("threads", "expected"), [(None, {1, 2, 3}), (5, {5}), (1, {1})])
def test_the_command_measures_up_to_the_cores_unless_a_number_is_set(
    monkeypatch, threads, expected
):
    before = torch.get_num_threads()
    monkeypatch.setattr(training_setup, "available_cores", lambda: 3)
    try:
        torch.set_num_threads(4)
        choice = choose_threads(threads)
        assert torch.get_num_threads() == (threads or 4)
        torch.set_num_threads(1)  # as OMP_NUM_THREADS=1
        assert set(run(choose_threads(None), {1: 100}, 100)[0]) == {1}
    finally:
        torch.set_num_threads(before)
    assert set(run(choice, dict.fromkeys(range(1, 6), 1000), 100)[0]) == expected
