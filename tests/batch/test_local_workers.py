"""Workers that are killed: nothing is lost, and what kills them is found out."""

import multiprocessing
import os
import signal
import sys

import pytest

from tests.batch.conftest import hashes, make, records, rows_of
from wavenet import worker_pool
from wavenet.batch import local_workers
from wavenet.batch.clip_worker import Session
from wavenet.batch.clip_writer import ExecutionConfig
from wavenet.batch.forkserver import WORKER_CONTEXT, start_forkserver
from wavenet.batch.local_workers import run_crew
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.tasks import BatchSettings, make_task
from wavenet.errors import FolderError, WaveNetError


class Bomb:
    """Kills whatever process it is sent to."""

    def __reduce__(self):
        return explode, (os.getpid(),)


def explode(maker):
    if os.getpid() != maker:
        os.kill(os.getpid(), signal.SIGKILL)


def die(*_):
    os._exit(7)


def run_rows(folder, tiny, rows, bad, retries):
    """Run a crew over rows, one of them a bomb; gives records by id."""
    folder.mkdir()
    settings = BatchSettings(tiny)
    tasks = [make_task(ManifestRow(n, row), settings) for n, row in enumerate(rows, 1)]
    for task in tasks:
        if task.identity == bad:
            task.extra["bomb"] = Bomb()
    waiting, told, said = iter(tasks), [], []
    session = Session(
        lambda: next(waiting, None), lambda task, record: told.append(record), say=said.append
    )
    run_crew(settings, ExecutionConfig(folder, "cpu", "cpu", 1, 4), 1, session, retries)
    assert len(told) == len(rows)
    return {record["id"]: record for record in told}, said


def test_a_task_that_kills_its_worker_is_found_out_and_fails_alone(tiny, tmp_path):
    found, said = run_rows(tmp_path / "out", tiny, rows_of(7), "clip 2", retries=0)
    assert [i for i, r in found.items() if r["status"] == "failed"] == ["clip 2"]
    assert found["clip 2"]["error"] == "it killed its worker"
    assert len(said) == 1
    make(tmp_path / "plain", rows_of(7), tiny)
    plain, made = hashes(tmp_path / "plain"), hashes(tmp_path / "out")
    assert len(made) == 6
    assert made.items() < plain.items()


def test_a_worker_that_is_killed_loses_nothing(tiny, tmp_path):
    killed = []

    def kill(task, record):
        if len(killed) < 2:
            victim = multiprocessing.active_children()[0]
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    said = []
    rows = rows_of(24)
    tally = make(tmp_path / "out", rows, tiny, workers=2, together=3, show=kill, say=said.append)
    make(tmp_path / "plain", rows, tiny)
    assert len(killed) == 2
    assert (tally.done, tally.failed) == (24, 0)
    assert sorted(r["id"] for r in records(tmp_path / "out")) == sorted(r["id"] for r in rows)
    assert hashes(tmp_path / "out") == hashes(tmp_path / "plain")
    assert multiprocessing.active_children() == []


def test_workers_that_never_begin_are_not_hired_for_ever(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(local_workers, "_serve", die)
    monkeypatch.setattr(worker_pool, "MOST_STILLBORN", 2)
    with pytest.raises(WaveNetError, match="exit 7"):
        make(tmp_path / "out", rows_of(3), tiny, workers=2)
    assert multiprocessing.active_children() == []


def describe_process(pipe):
    pipe.send(("wavenet.engines.cpu" in sys.modules, signal.getsignal(signal.SIGINT)))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process loads for itself")
def test_a_worker_begins_with_all_loaded_and_deaf_to_an_interrupt():
    found = []
    start_forkserver()
    # what a shell starts in the background is deaf already, and would pass it on
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for context in (WORKER_CONTEXT, multiprocessing.get_context("spawn")):
        here, there = context.Pipe()
        process = context.Process(target=describe_process, args=(there,))
        process.start()
        found.append(here.recv())
        process.join()
    signal.signal(signal.SIGINT, before)
    # the second is the control: this file does not load the engine
    assert found == [(True, signal.SIG_IGN), (False, signal.default_int_handler)]


def test_what_ends_one_worker_for_all_is_told_by_it(tiny, tmp_path):
    """A folder that is gone is the fault of no task."""
    (tmp_path / "out").mkdir()
    tasks = iter([make_task(ManifestRow(1, rows_of(1)[0]), BatchSettings(tiny))])
    session = Session(lambda: next(tasks, None), lambda task, record: None)
    with pytest.raises(FolderError):
        run_crew(
            BatchSettings(tiny), ExecutionConfig(tmp_path / "gone", "cpu", "cpu"), 1, session, 1
        )
    assert not (tmp_path / "gone").exists()
