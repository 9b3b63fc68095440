"""Runs as folders and separate processes: real processes, with minimal models."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.training.minimal_runs import (
    ENDLESS,
    make_plan,
    minimal_runs,
    wait_for,
    wait_for_end,
    write_recordings,
)
from wavenet import checkpoint, folder_lock
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.training import run_process, run_status
from wavenet.training.run_process import RunControl
from wavenet.training.run_status import KILLED, list_runs, read_status


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch):
    with minimal_runs(tmp_path, monkeypatch):
        yield


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def create_folder(root):
    """Create the folder of a run without starting it."""
    folder = root / "first"
    folder.mkdir(parents=True)
    (folder / run_process.PLAN_FILE).write_text(make_plan().model_dump_json())
    return folder


def write_control(folder, action, pid, process_tag=None):
    control = RunControl(action=action, pid=pid, started=time.time(), process_tag=process_tag)
    (folder / run_process.CONTROL_FILE).write_text(control.model_dump_json())


def test_a_run_is_paused_resumed_killed_and_stopped(root):
    plan = make_plan(pattern="{pitch}_{take}", labels=("pitch",))
    folder = run_process.start(plan, root, write_recordings)
    assert folder == root / "first"
    assert list_runs(root) == ["first"]
    running = wait_for(folder, "running", saved_step=2, clips=1)
    assert running.is_active
    assert running.samples_per_second > 0
    assert running.seconds_left > 0
    assert (running.threads, running.note) == (1, ""), "OMP_NUM_THREADS is 1: nothing to choose"
    first = folder_lock.lock_holder(folder)
    assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getsid(first) == first, "it would get the signals of our terminal"

    run_process.pause(folder)
    run_process.pause(folder)  # a second signal would end it at once, without saving
    paused = wait_for(folder, "paused")
    assert paused.saved_step == paused.step > 0
    assert paused.preview_clips[0][0] == 2
    assert paused.validation_curve
    assert not paused.is_active
    assert wait_for_end(first)
    with pytest.raises(TrainingError, match="not training"):
        run_process.pause(folder)

    run_process.resume(folder)
    with pytest.raises(TrainingError, match="running already"):
        run_process.resume(folder)
    second = wait_for(folder, "running", saved_step=paused.saved_step + 2)
    assert second.step > paused.step
    assert second.loss_curve[0][0] == 1, "the curve begins where the run began"
    pid = folder_lock.lock_holder(folder)
    os.kill(pid, signal.SIGKILL)
    assert wait_for_end(pid)
    killed = read_status(folder)
    assert (killed.state, killed.message) == ("failed", KILLED)

    assert "--resume" in run_process.train_arguments(make_plan(), folder)
    run_process.stop(folder)
    stopped = read_status(folder)
    assert stopped.state == "stopped"
    config = checkpoint.load(folder / "checkpoint").config
    assert config.name == "first"
    assert [c.name for c in config.model.labels] == ["pitch"]
    assert stopped.has_checkpoint


@pytest.mark.slow
def test_a_run_that_is_reading_its_recordings_can_be_paused_and_stopped(root):
    """In its imports or among its files, before it locks the folder."""
    folder = run_process.start(make_plan(), root, write_recordings)
    assert folder_lock.lock_holder(folder) is None, "too late for what is tested here"
    run_process.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved_step, paused.is_active) == (0, False)
    assert wait_for_end(run_process.read_control(folder).pid)
    run_process.resume(folder)
    wait_for(folder, "running", saved_step=2)
    run_process.stop(folder)
    assert wait_for(folder, "stopped").has_checkpoint


@pytest.mark.slow
def test_a_run_whose_interrupt_is_lost_in_an_import_is_paused(root, monkeypatch):
    folder = run_process.start(make_plan(), root, write_recordings)
    with monkeypatch.context() as patch:
        patch.setattr(run_process.os, "kill", lambda *arguments: None)
        run_process.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved_step, paused.is_active) == (0, False)


@pytest.mark.slow
def test_a_short_run_finishes_and_a_name_is_used_once(root):
    folder = run_process.start(make_plan(4), root, write_recordings)
    with pytest.raises(TrainingError, match="there is a run first already"):
        run_process.start(make_plan(), root, write_recordings)
    finished = wait_for(folder, "finished")
    assert (finished.step, finished.saved_step, finished.seconds_left) == (4, 4, None)
    assert [step for step, _ in finished.validation_curve] == [2, 4]
    assert [step for step, _ in finished.loss_curve] == [1, 2, 3, 4]
    clips = [(step, path.exists()) for step, path in finished.preview_clips]
    assert clips == [(2, True), (4, True)]


def test_threads_speed_and_time_left_are_those_of_the_last_minute(root, monkeypatch):
    folder = create_folder(root)
    record = {"step": 1, "loss_bits": 8.0, "samples": 400, "samples_per_second": 100.0}
    changed = {**record, "step": 2, "samples_per_second": 50.0, "threads": 1, "note": "1, not 2"}
    (folder / "metrics.jsonl").write_text(f"{json.dumps(record)}\n{json.dumps(changed)}\n")
    monkeypatch.setattr(run_status, "_active_state", lambda folder: "running")
    status = read_status(folder)
    assert (status.threads, status.note, status.samples_per_second) == (1, "1, not 2", 50.0)
    assert status.seconds_left == (ENDLESS - 2) * 400 / 50


@pytest.mark.slow
def test_a_run_without_audio_fails_with_a_message(root, tmp_path):
    (tmp_path / "empty").mkdir()
    folder = run_process.start(make_plan(data=str(tmp_path / "empty")), root)
    failed = wait_for(folder, "failed")
    assert "no audio" in failed.message
    assert "wavenet:" not in failed.message
    assert failed.saved_step == 0
    arguments = run_process.train_arguments(make_plan(), folder)
    assert "--resume" not in arguments, "there is no step to resume from"


@pytest.mark.parametrize("process_tag", [None, "warm-worker-1"])
def test_only_the_process_that_locks_the_folder_is_interrupted(root, process_tag):
    """A later process with the same id, which has nothing to do with the run, is not."""
    folder = create_folder(root)
    program = "import sys; sys.stdin.read(); sys.exit(7)"
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    try:
        write_control(folder, "run", other.pid, process_tag)
        (folder / folder_lock.LOCK_NAME).write_text(f"{other.pid}\n")
        assert folder_lock.lock_holder(folder) is None
        assert not run_process.is_starting(folder)
        run_process.stop(folder)
        with pytest.raises(TrainingError):
            run_process.pause(folder)
        other.stdin.close()
        assert other.wait(20) == 7, "it was interrupted"
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("holder", [0, None])
def test_no_process_is_interrupted_if_the_holder_is_unknown(root, monkeypatch, holder):
    folder = create_folder(root)
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: holder)
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail(f"{number} was sent to {pid}"))
    for act in (run_process.pause, run_process.stop):
        with pytest.raises(TrainingError):
            act(folder)


def test_a_run_started_from_a_command_line_is_running(root, monkeypatch):
    folder = create_folder(root)
    write_control(folder, "pause", 1)
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: os.getpid())
    assert read_status(folder).state == "running"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "-x", "é", "x" * 65])
def test_a_name_that_is_no_plain_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        make_plan(name=name)


def test_a_run_that_cannot_be_started_leaves_nothing(root, tmp_path):
    with pytest.raises(ConfigError, match="no recipe"):
        run_process.start(make_plan(recipe="none"), root)

    def fail(folder):
        raise FolderError("the disk is full")

    with pytest.raises(FolderError):
        run_process.start(make_plan(), root, fail)
    assert list_runs(root) == []
    assert not (root / "first").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError):
        run_process.start(make_plan(), tmp_path / "file")


@pytest.mark.parametrize("text", [None, "", "{}", '{"name": "first", "steps": 1, "shell": "rm"}'])
def test_a_missing_or_damaged_plan_is_refused(root, text):
    (root / "first").mkdir(parents=True)
    if text is not None:
        (root / "first" / run_process.PLAN_FILE).write_text(text)
    for act in (run_process.resume, read_status):
        with pytest.raises(TrainingError, match="first"):
            act(root / "first")


def test_values_of_a_plan_cannot_become_options(root):
    plan = make_plan(data="--device", pattern="--help{a}")
    arguments = run_process.train_arguments(plan, root / "first")
    assert {"--data=--device", "--pattern=--help{a}"} <= set(arguments)
    assert "--threads=1" in run_process.train_arguments(make_plan(threads=1), root / "first")


def test_a_crash_of_the_program_is_reported_without_its_traceback(root):
    folder = create_folder(root)
    log = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no such thing\n'
    (folder / run_process.LOG_FILE).write_text(log)
    failed = read_status(folder)
    assert failed.state == "failed"
    assert "ValueError: no such thing" in failed.message
    assert "x.py" not in failed.message
