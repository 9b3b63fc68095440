"""Runs as folders and processes of their own: real ones, as small as can be."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tests.training.twig import fill, gone, plan, twigs, wait_for
from wavenet import checkpoint, folder_lock
from wavenet.errors import ConfigError, FolderError, TrainingError
from wavenet.training import child, history
from wavenet.training.status import KILLED, list_runs, read_status


@pytest.fixture(autouse=True)
def twig(tmp_path, monkeypatch):
    with twigs(tmp_path, monkeypatch):
        yield


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


def test_a_run_is_paused_resumed_killed_and_stopped(root):
    folder = child.start(plan(pattern="{pitch}_{take}", labels=("pitch",)), root, fill)
    assert folder == root / "first"
    assert list_runs(root) == ["first"]
    running = wait_for(folder, "running", saved=2, clips=1)
    assert running.is_alive
    assert running.speed > 0
    assert running.seconds_left > 0
    first = folder_lock.lock_holder(folder)
    assert os.getpriority(os.PRIO_PROCESS, first) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getsid(first) == first, "it would get the signals of our terminal"

    child.pause(folder)
    child.pause(folder)  # a second signal would end it at once, the step not saved
    paused = wait_for(folder, "paused")
    assert paused.saved == paused.step > 0
    assert paused.clips[0][0] == 2
    assert paused.bits
    assert not paused.is_alive
    assert gone(first)
    with pytest.raises(TrainingError, match="does not train at this moment"):
        child.pause(folder)

    child.resume(folder)
    with pytest.raises(TrainingError, match="goes on already"):
        child.resume(folder)
    second = wait_for(folder, "running", saved=paused.saved + 2)
    assert second.step > paused.step
    assert second.loss[0][0] == 1, "the curve begins where the run began"
    pid = folder_lock.lock_holder(folder)
    os.kill(pid, signal.SIGKILL)
    assert gone(pid)
    killed = read_status(folder)
    assert (killed.state, killed.words) == ("failed", KILLED)

    assert "--resume" in child.arguments(plan(), folder)
    child.stop(folder)
    stopped = read_status(folder)
    assert stopped.state == "stopped"
    config = checkpoint.load(folder / "checkpoint").config
    assert config.name == "first"
    assert [c.name for c in config.model.labels] == ["pitch"]
    assert stopped.has_checkpoint


def test_a_run_that_still_reads_its_recordings_can_be_stopped(root):
    """Wherever it is: in its imports, or among its files, before it holds the folder."""
    folder = child.start(plan(), root, fill)
    assert folder_lock.lock_holder(folder) is None, "no longer what is tested here"
    child.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved, paused.is_alive) == (0, False)
    assert gone(child.read_mark(folder).pid)
    child.resume(folder)
    wait_for(folder, "running", saved=2)
    child.stop(folder)
    assert wait_for(folder, "stopped").has_checkpoint


def test_an_interrupt_that_is_lost_in_an_import_is_made_up_for(root, monkeypatch):
    folder = child.start(plan(), root, fill)
    with monkeypatch.context() as patch:
        patch.setattr(child.os, "kill", lambda *given: None)
        child.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved, paused.is_alive) == (0, False)


def test_a_short_run_finishes_and_a_name_is_used_once(root):
    folder = child.start(plan(4), root, fill)
    with pytest.raises(TrainingError, match="there is a run first already"):
        child.start(plan(), root, fill)
    finished = wait_for(folder, "finished")
    assert (finished.step, finished.saved, finished.seconds_left) == (4, 4, None)
    assert [step for step, _ in finished.bits] == [2, 4]
    assert [step for step, _ in finished.loss] == [1, 2, 3, 4]
    assert [(step, path.exists()) for step, path in finished.clips] == [(2, True), (4, True)]


def test_what_cannot_be_trained_on_fails_with_its_sentence(root, tmp_path):
    (tmp_path / "empty").mkdir()
    folder = child.start(plan(data=str(tmp_path / "empty")), root)
    failed = wait_for(folder, "failed")
    assert "holds no audio" in failed.words
    assert "wavenet:" not in failed.words
    assert failed.saved == 0
    assert "--resume" not in child.arguments(plan(), folder), "there is no step to resume from"


@pytest.mark.parametrize("word", [None, "standby-1"])
def test_only_the_process_that_holds_the_folder_is_signalled(root, word):
    """A process of that number that has nothing to do with the run lives on."""
    folder = root / "first"
    folder.mkdir(parents=True)
    (folder / child.PLAN).write_text(plan().model_dump_json())
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        child._note(folder, "run", other.pid, time.time(), word)
        (folder / folder_lock.LOCK_NAME).write_text(f"{other.pid}\n")
        assert folder_lock.lock_holder(folder) is None
        assert not child.is_starting(folder)
        child.stop(folder)
        with pytest.raises(TrainingError):
            child.pause(folder)
        time.sleep(0.2)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("holder", [0, None])
def test_nobody_is_signalled_where_the_holder_is_not_known(root, monkeypatch, holder):
    folder = root / "first"
    folder.mkdir(parents=True)
    (folder / child.PLAN).write_text(plan().model_dump_json())
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: holder)
    monkeypatch.setattr(os, "kill", lambda pid, number: pytest.fail(f"{number} was sent to {pid}"))
    for act in (child.pause, child.stop):
        with pytest.raises(TrainingError):
            act(folder)


def test_a_run_started_by_hand_is_shown_as_running(root, monkeypatch):
    folder = root / "first"
    folder.mkdir(parents=True)
    (folder / child.PLAN).write_text(plan().model_dump_json())
    child._note(folder, "pause", 1, time.time())
    monkeypatch.setattr(folder_lock, "lock_holder", lambda folder: os.getpid())
    assert read_status(folder).state == "running"


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "-x", "é", "x" * 65])
def test_a_name_that_is_no_plain_name_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        plan(name=name)


def test_a_run_that_cannot_be_started_leaves_nothing(root, tmp_path):
    with pytest.raises(ConfigError, match="no recipe"):
        child.start(plan(recipe="none"), root)

    def broken(folder):
        raise FolderError("the disk is full")

    with pytest.raises(FolderError):
        child.start(plan(), root, broken)
    assert list_runs(root) == []
    assert not (root / "first").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="cannot be made"):
        child.start(plan(), tmp_path / "file")


@pytest.mark.parametrize("text", [None, "", "{}", '{"name": "first", "steps": 1, "shell": "rm"}'])
def test_a_damaged_plan_is_one_sentence(root, text):
    (root / "first").mkdir(parents=True)
    if text is not None:
        (root / "first" / child.PLAN).write_text(text)
    for act in (child.resume, read_status):
        with pytest.raises(TrainingError, match="first"):
            act(root / "first")


def test_values_of_a_plan_cannot_become_options(root):
    words = child.arguments(plan(data="--device", pattern="--help{a}"), root / "first")
    assert {"--data=--device", "--pattern=--help{a}"} <= set(words)
    assert "--threads=1" in child.arguments(plan(threads=1), root / "first")


def test_a_crash_of_the_program_is_told_without_its_traceback(root):
    folder = root / "first"
    folder.mkdir(parents=True)
    (folder / child.PLAN).write_text(plan().model_dump_json())
    log = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no such thing\n'
    (folder / child.LOG).write_text(log)
    failed = read_status(folder)
    assert failed.state == "failed"
    assert "ValueError: no such thing" in failed.words
    assert "x.py" not in failed.words


def record(step, **more):
    values = {"loss_bits": 8 / step, "samples": 100, "samples_per_second": 50.0}
    return json.dumps({"step": step, **values, **more}) + "\n"


def test_curves_are_thinned_and_read_on_from_where_they_ended(tmp_path):
    path = tmp_path / "metrics.jsonl"
    found = history.History(path)
    found.read()
    assert (found.step, found.loss) == (0, [])
    torn = record(5001, bits_per_sample=3.75)
    path.write_text("".join(map(record, range(1, 5001))) + torn[:20])
    found.read()
    assert found.step == 5000
    assert 200 < len(found.loss) <= history.MOST_POINTS
    with path.open("a") as file:
        file.write(torn[20:] + record(5002, bits_per_sample=3.5) + "no JSON\n")
    taken = []
    keep = history.History._take
    found._take = lambda line: (taken.append(line), keep(found, line))
    found.read()
    assert len(taken) == 3, "what was read is read again"
    assert found.step == 5002
    assert found.bits == [(5001, 3.75), (5002, 3.5)]


def test_curves_begin_anew_where_a_resumed_run_wrote_other_lines(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(record(n) for n in range(1, 9)))
    found = history.History(path)
    found.read()
    path.write_text("".join(record(n, loss=n) for n in range(1, 30)))
    found.read()
    assert [step for step, _ in found.loss] == list(range(1, 30))
    path.write_text("".join(record(n) for n in range(1, 4)))
    found.read()
    assert found.step == 3
