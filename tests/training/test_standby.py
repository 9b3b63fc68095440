"""A process that waits for a run: what becomes of the run, and of a process that nobody needs."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training.twig import fill, gone, plan, twigs, wait_for
from wavenet import folder_lock
from wavenet.cli import standby as inside
from wavenet.errors import ConfigError
from wavenet.training import child, standby
from wavenet.training.standby import Order, Standby
from wavenet.training.status import read_status

IDLE = (sys.executable, "-S", "-c", "import sys; sys.stdin.read()")  # waits, and loads nothing


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The folder of runs."""
    with twigs(tmp_path, monkeypatch):
        yield tmp_path / "runs"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Where a rehearsal puts its files."""
    (tmp_path / "rehearsal").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "rehearsal"))
    return tmp_path / "rehearsal"


@pytest.fixture
def ready(root, place):
    """Somebody who holds a process that waits."""
    made = Standby()
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def idle(monkeypatch):
    """Where no run is needed, a process that costs nothing."""
    monkeypatch.setattr(standby, "PROGRAM", IDLE)


def waiting(held):
    return held._process.pid


def kill(held):
    """Have the process die, and wait until the one that holds it could know."""
    held._process.kill()
    held._process.wait(20)
    return held._process.pid


def rehearses(folder, expected):
    """Wait until a rehearsal has put its files there, or has taken them away."""
    deadline = time.monotonic() + 60
    while any(folder.glob("tmp*")) is not expected:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def learnt(folder):
    """What a run has learnt and made, its speed left out."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k != "samples_per_second"} for row in rows]
    clips = [path.read_bytes() for path in sorted((folder / "samples").iterdir())]
    return rows, clips, (folder / "checkpoint" / "model.safetensors").read_bytes()


def test_a_run_in_a_standby_is_the_run_that_it_would_have_been(root, place, ready):
    """The second one finds nobody waiting, and begins as it always did."""
    for expected in (True, False):
        rehearses(place, expected)
    pid, labels = waiting(ready), {"pattern": "{pitch}_{take}", "labels": ("pitch",)}
    first = child.start(plan(4, **labels), root, fill, ready)
    second = child.start(plan(4, name="second", **labels), root, fill, ready)
    marks = [child.read_mark(first), child.read_mark(second)]
    assert (marks[0].pid, marks[0].word.split("-")[0], marks[1].word) == (pid, "standby", None)
    assert marks[1].pid != pid
    for folder, mark in zip((first, second), marks, strict=True):
        wait_for(folder, "finished")
        assert gone(mark.pid)  # a run is finished before its process has said its last words
        assert read_status(folder).words.endswith("checkpoint"), "its words are in its log"
    assert learnt(first) == learnt(second)
    assert len(learnt(first)[1]) == 2


def test_a_run_in_a_standby_is_paused_and_resumed_in_another(root, ready):
    folder, pid = child.start(plan(), root, fill, ready), child.read_mark(root / "first").pid
    assert child.is_starting(folder)
    wait_for(folder, "running", saved=2)
    assert folder_lock.lock_holder(folder) == pid
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getsid(pid) == pid, "it would get the signals of our terminal"
    child.pause(folder)
    paused = wait_for(folder, "paused")
    assert paused.saved == paused.step > 0
    assert gone(pid)
    ready.prepare()
    child.resume(folder, ready)
    assert child.read_mark(folder).word
    assert wait_for(folder, "running", saved=paused.saved + 2).step > paused.step
    child.stop(folder)
    assert wait_for(folder, "stopped").has_checkpoint


def test_a_run_is_paused_before_its_process_has_read_of_it(root, place, ready):
    rehearses(place, True)
    folder = child.start(plan(), root, fill, ready)
    child.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved, paused.is_alive) == (0, False)
    assert gone(child.read_mark(folder).pid)


def test_a_process_that_waits_ends_with_whoever_started_it(root):
    words = "import sys, time; from wavenet.training import standby; "
    words += "standby.PROGRAM = sys.argv[1:]; held = standby.Standby(); held.prepare(); "
    words += "print(held._process.pid, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", words, *IDLE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as studio:
        pid = int(studio.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        studio.kill()
    assert gone(pid)


def test_there_is_one_process_at_most_until_it_is_needed(idle):
    held = Standby()
    held.prepare()
    first = waiting(held)
    held.prepare()
    assert waiting(held) == first
    order = Order(arguments=("tiny",), log="/nowhere")
    assert held.give(order, lambda pid, word: None)
    assert not held.give(order, lambda pid, word: pytest.fail("there is none"))
    assert gone(first), "its stdin was left open"


def test_a_process_that_nobody_needs_ends_after_its_time(idle):
    held = Standby(seconds=3)
    held.prepare()
    pid, began = waiting(held), time.monotonic()
    time.sleep(0.5)
    held.prepare()  # its time begins anew
    assert waiting(held) == pid
    assert gone(pid)
    assert time.monotonic() - began >= 3.5
    with held._lock:
        assert held._process is None


def test_a_process_that_died_is_noticed(idle, root):
    held = Standby()
    held.prepare()
    kill(held)
    folder = child.start(plan(1), root, fill, held)
    assert child.read_mark(folder).word is None
    held.prepare()
    pid = kill(held)
    held.prepare()
    assert waiting(held) != pid
    held.close()


def test_a_run_that_cannot_be_noted_leaves_nobody_waiting(idle):
    held = Standby()
    held.prepare()
    pid = waiting(held)

    def full(pid, word):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        held.give(Order(arguments=("tiny",), log="/nowhere"), full)
    assert gone(pid)


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\n",
        b"rm -rf\n",
        b"[]\n",
        b'{"arguments": [], "log": "/x"}\n',
        b'{"arguments": ["tiny"], "log": 1}\n',
        b'{"arguments": ["tiny"], "log": "/x", "shell": "rm"}\n',
        b'{"arguments": ["tiny"], "log": "/missing/folder/run.log"}\n',
        b'{"arguments": ["tiny"], "log": "/x"}',
        b" " * (standby.LONGEST_LINE + 1) + b"\n",
    ],
)
def test_a_line_that_is_no_order_is_one_sentence(line, monkeypatch):
    monkeypatch.setattr(inside, "run", lambda words: pytest.fail(f"{words} was run"))
    with pytest.raises(ConfigError) as refusal:
        inside.wait(io.BytesIO(line))
    assert len(str(refusal.value).splitlines()) == 1
    assert len(str(refusal.value)) < 300


def test_nothing_but_training_is_run_and_nothing_where_nobody_asks(monkeypatch):
    ran = []
    monkeypatch.setattr(inside, "speak_into", lambda log: None)
    monkeypatch.setattr(inside, "run", lambda words: ran.append(words) or 7)
    assert inside.wait(io.BytesIO(b"")) == 0
    assert ran == []
    order = Order(arguments=("ui", "--port=1"), log="/nowhere").model_dump_json()
    assert inside.wait(io.BytesIO(order.encode() + b"\n")) == 7
    assert ran == [["train", "ui", "--port=1"]]


def test_a_rehearsal_that_fails_ends_the_process_unread(monkeypatch, capsys):
    monkeypatch.setattr(inside, "wait", lambda lines: pytest.fail("it would run nothing well"))
    monkeypatch.setattr(inside, "rehearse", lambda: 130)
    with pytest.raises(SystemExit) as end:
        inside.main()
    assert end.value.code == 130

    def refuse():
        raise ConfigError("no such recipe")

    monkeypatch.setattr(inside, "rehearse", refuse)
    with pytest.raises(SystemExit) as end:
        inside.main()
    assert (end.value.code, capsys.readouterr().err) == (2, "wavenet: no such recipe\n")
