"""A warm worker: the run is equal to one in a new process, and an idle process ends."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.training import TIMING
from tests.training.minimal_runs import (
    make_plan,
    minimal_runs,
    wait_for,
    wait_for_end,
    write_recordings,
)
from wavenet import folder_lock
from wavenet.cli import warm_worker_process
from wavenet.errors import ConfigError
from wavenet.training import run_process, warm_worker
from wavenet.training.run_status import read_status
from wavenet.training.warm_worker import TrainCommand, WarmWorker

IDLE = (sys.executable, "-S", "-c", "import sys; sys.stdin.read()")  # waits, and loads nothing


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return the folder of runs."""
    with minimal_runs(tmp_path, monkeypatch):
        yield tmp_path / "runs"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Return the folder in which a worker creates its temporary folder."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


@pytest.fixture
def worker(root, temporary):
    """Start a real worker."""
    worker = WarmWorker()
    worker.ensure_started()
    yield worker
    worker.close()


@pytest.fixture
def idle(monkeypatch):
    """Start a process that does nothing instead of a real worker."""
    monkeypatch.setattr(warm_worker, "WORKER_COMMAND", IDLE)


@pytest.fixture
def timers(monkeypatch):
    """Replace timers by some that never expire by themselves; return those that were started."""
    started = []

    class ManualTimer:
        def __init__(self, seconds, function):
            self.seconds, self.function, self.is_active = seconds, function, False

        def start(self):
            self.is_active = True
            started.append(self)

        def cancel(self):
            self.is_active = False

    monkeypatch.setattr(warm_worker, "Timer", ManualTimer)
    return started


def pid_of(worker):
    return worker._process.pid


def kill(worker):
    """Kill the process, and wait until its owner can know; return its id."""
    worker._process.kill()
    worker._process.wait(20)
    return worker._process.pid


def wait_for_warm_up(folder, is_running):
    """Wait until the worker has created its temporary folder, or has removed it."""
    deadline = time.monotonic() + 60
    while any(folder.glob("tmp*")) is not is_running:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_results(folder):
    """Return metrics without times, sample clips and weights of a run."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [{k: v for k, v in row.items() if k not in TIMING} for row in rows]
    clips = [path.read_bytes() for path in sorted((folder / "samples").iterdir())]
    return rows, clips, (folder / "checkpoint" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_a_run_in_a_warm_worker_equals_one_in_a_new_process(root, temporary, worker):
    """The worker is used up by the first run; the second starts a process."""
    for is_running in (True, False):
        wait_for_warm_up(temporary, is_running)
    pid, labels = pid_of(worker), {"pattern": "{pitch}_{take}", "labels": ("pitch",)}
    folders = [
        run_process.start(make_plan(4, name=name, **labels), root, write_recordings, worker)
        for name in ("first", "second")
    ]
    warm, new = map(run_process.read_control, folders)
    assert (warm.pid, warm.process_tag.startswith("warm-worker-")) == (pid, True)
    assert (new.pid != pid, new.process_tag) == (True, None)
    for folder, control in zip(folders, (warm, new), strict=True):
        wait_for(folder, "finished")
        assert wait_for_end(control.pid)  # it writes its last line after the run is finished
        assert read_status(folder).message.endswith("checkpoint"), "its output is in its log"
    first, second = map(read_results, folders)
    assert first == second
    assert len(first[1]) == 2


@pytest.mark.slow
def test_a_run_in_a_warm_worker_is_paused_and_resumed_in_another(root, worker):
    folder = run_process.start(make_plan(), root, write_recordings, worker)
    pid = run_process.read_control(folder).pid
    assert run_process.is_starting(folder)
    wait_for(folder, "running", saved_step=2)
    assert folder_lock.lock_holder(folder) == pid
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getsid(pid) == pid, "it would get the signals of our terminal"
    run_process.pause(folder)
    paused = wait_for(folder, "paused")
    assert paused.saved_step == paused.step > 0
    assert wait_for_end(pid)
    worker.ensure_started()
    run_process.resume(folder, warm_worker=worker)
    assert run_process.read_control(folder).process_tag
    resumed = wait_for(folder, "running", saved_step=paused.saved_step + 2)
    assert resumed.step > paused.step
    run_process.stop(folder)
    assert wait_for(folder, "stopped").has_checkpoint


@pytest.mark.slow
def test_a_run_is_paused_before_its_process_has_read_the_command(root, temporary, worker):
    wait_for_warm_up(temporary, True)
    folder = run_process.start(make_plan(), root, write_recordings, worker)
    run_process.pause(folder)
    paused = wait_for(folder, "paused")
    assert (paused.saved_step, paused.is_active) == (0, False)
    assert wait_for_end(run_process.read_control(folder).pid)


def test_a_waiting_process_ends_with_its_owner(root):
    program = (
        "import sys, time; from wavenet.training import warm_worker; "
        "warm_worker.WORKER_COMMAND = sys.argv[1:]; worker = warm_worker.WarmWorker(); "
        "worker.ensure_started(); print(worker._process.pid, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", program, *IDLE]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as owner:
        pid = int(owner.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        owner.kill()
    assert wait_for_end(pid)


def test_there_is_at_most_one_process_and_it_is_assigned_once(idle):
    worker = WarmWorker()
    worker.ensure_started()
    first = pid_of(worker)
    worker.ensure_started()
    assert pid_of(worker) == first
    command = TrainCommand(arguments=("tiny",), log="/nowhere")
    assert worker.assign(command, lambda pid, tag: None)
    assert not worker.assign(command, lambda pid, tag: pytest.fail("there is no process"))
    assert wait_for_end(first), "its stdin was left open"


def test_an_idle_process_ends_after_its_time(idle, timers, monkeypatch):
    def expire(timer):
        # a timer calls its function in a thread that is the timer itself
        monkeypatch.setattr(warm_worker, "current_thread", lambda: timer)
        timer.function()

    worker = WarmWorker(idle_seconds=3)
    worker.ensure_started()
    pid = pid_of(worker)
    worker.ensure_started()  # its time restarts
    assert pid_of(worker) == pid
    assert [(timer.seconds, timer.is_active) for timer in timers] == [(3, False), (3, True)]
    # a timer that was replaced at the moment when it expired ends nothing
    expire(timers[0])
    assert pid_of(worker) == pid
    expire(timers[1])
    assert worker._process is None
    assert wait_for_end(pid)


def test_a_process_that_has_ended_is_replaced(idle, root):
    worker = WarmWorker()
    worker.ensure_started()
    kill(worker)
    folder = run_process.start(make_plan(1), root, write_recordings, worker)
    assert run_process.read_control(folder).process_tag is None
    worker.ensure_started()
    pid = kill(worker)
    worker.ensure_started()
    assert pid_of(worker) != pid
    worker.close()


def test_a_run_that_cannot_be_recorded_leaves_no_waiting_process(idle):
    worker = WarmWorker()
    worker.ensure_started()
    pid = pid_of(worker)

    def fail(pid, tag):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        worker.assign(TrainCommand(arguments=("tiny",), log="/nowhere"), fail)
    assert wait_for_end(pid)


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
        b" " * (warm_worker.MAX_LINE_BYTES + 1) + b"\n",
    ],
)
def test_a_line_that_is_no_command_is_refused(line, monkeypatch):
    monkeypatch.setattr(
        warm_worker_process, "run", lambda arguments: pytest.fail(f"{arguments} was run")
    )
    with pytest.raises(ConfigError) as refusal:
        warm_worker_process.run_next_command(io.BytesIO(line))
    assert len(str(refusal.value).splitlines()) == 1
    assert len(str(refusal.value)) < 300


def test_only_training_is_run_and_only_on_request(monkeypatch):
    commands = []
    monkeypatch.setattr(warm_worker_process, "redirect_output", lambda log: None)
    monkeypatch.setattr(
        warm_worker_process, "run", lambda arguments: commands.append(arguments) or 7
    )
    assert warm_worker_process.run_next_command(io.BytesIO(b"")) == 0
    assert commands == []
    command = TrainCommand(arguments=("ui", "--port=1"), log="/nowhere").model_dump_json()
    assert warm_worker_process.run_next_command(io.BytesIO(command.encode() + b"\n")) == 7
    assert commands == [["train", "ui", "--port=1"]]


def test_a_warm_up_that_fails_ends_the_process(monkeypatch, capsys):
    monkeypatch.setattr(
        warm_worker_process, "run_next_command", lambda stdin: pytest.fail("a command was read")
    )
    monkeypatch.setattr(warm_worker_process, "load_training_code", lambda: 130)
    with pytest.raises(SystemExit) as end:
        warm_worker_process.main()
    assert end.value.code == 130

    def fail():
        raise ConfigError("no such recipe")

    monkeypatch.setattr(warm_worker_process, "load_training_code", fail)
    with pytest.raises(SystemExit) as end:
        warm_worker_process.main()
    assert (end.value.code, capsys.readouterr().err) == (2, "wavenet: no such recipe\n")
