"""Workers that are killed: nothing is lost, and what kills them is found out."""

import multiprocessing
import os
import signal
import sys

import pytest

from tests.batch.conftest import hashes, make, records, rows_of
from wavenet.batch import crew, loans
from wavenet.batch.crew import run_crew
from wavenet.batch.finish import Place
from wavenet.batch.processes import PROCESSES, prepare
from wavenet.batch.rows import Row
from wavenet.batch.tasks import Settings, make_task
from wavenet.batch.work import Session
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
    settings = Settings(tiny)
    tasks = [make_task(Row(n, row), settings) for n, row in enumerate(rows, 1)]
    for task in tasks:
        if task.identity == bad:
            task.extra["bomb"] = Bomb()
    waiting, told, said = iter(tasks), [], []
    session = Session(
        lambda: next(waiting, None), lambda task, record: told.append(record), say=said.append
    )
    run_crew(settings, Place(folder, "cpu", "cpu", 1, 4), 1, session, retries)
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
    monkeypatch.setattr(crew, "_serve", die)
    monkeypatch.setattr(loans, "MOST_STILLBORN", 2)
    with pytest.raises(WaveNetError, match="exit 7"):
        make(tmp_path / "out", rows_of(3), tiny, workers=2)
    assert multiprocessing.active_children() == []


def describe_process(pipe):
    pipe.send(("wavenet.engines.cpu.cpu_engine" in sys.modules, signal.getsignal(signal.SIGINT)))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere every process loads for itself")
def test_a_worker_begins_with_all_loaded_and_deaf_to_an_interrupt():
    found = []
    prepare()
    # what a shell starts in the background is deaf already, and would pass it on
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    for context in (PROCESSES, multiprocessing.get_context("spawn")):
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
    tasks = iter([make_task(Row(1, rows_of(1)[0]), Settings(tiny))])
    session = Session(lambda: next(tasks, None), lambda task, record: None)
    with pytest.raises(FolderError):
        run_crew(Settings(tiny), Place(tmp_path / "gone", "cpu", "cpu"), 1, session, 1)
    assert not (tmp_path / "gone").exists()
