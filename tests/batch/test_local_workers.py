"""Worker processes that are killed: no clip is lost, and a clip that kills them is isolated."""

import multiprocessing
import os
import signal
import sys

import pytest

from tests.batch.conftest import (
    CallbackBatchProgress,
    ListQueue,
    file_hashes,
    make_rows,
    read_journal,
    run_rows,
)
from wavenet.batch import local_workers
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.forkserver import WORKER_CONTEXT, start_forkserver
from wavenet.batch.local_workers import run_local_workers
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.tasks import make_task
from wavenet.errors import FolderError, WaveNetError
from wavenet.progress import NoProgress


class ProcessKiller:
    """Kills every process that receives it."""

    def __reduce__(self):
        return explode, (os.getpid(),)


def explode(sender):
    if os.getpid() != sender:
        os.kill(os.getpid(), signal.SIGKILL)


def die(*_):
    os._exit(7)


def test_a_clip_that_kills_its_worker_is_isolated_and_fails_alone(tiny, tmp_path):
    folder, rows, progress = tmp_path / "out", make_rows(7), CallbackBatchProgress()
    folder.mkdir()
    settings = BatchSettings(tiny)
    tasks = [make_task(ManifestRow(n, row), settings) for n, row in enumerate(rows, 1)]
    tasks[2].extra["killer"] = ProcessKiller()
    queue = ListQueue(tasks, max_retries=0)
    execution = ExecutionConfig(folder, "cpu", "cpu", 1, 4)
    run_local_workers(settings, execution, 1, queue, progress)
    assert sorted(r["id"] for r in queue.records) == [row["id"] for row in rows]
    (failed,) = [r for r in queue.records if r["status"] == "failed"]
    assert (failed["id"], failed["crashes"]) == ("clip 2", 1)
    assert len(progress.messages) == 1
    run_rows(tmp_path / "plain", rows, tiny)
    plain, generated = file_hashes(tmp_path / "plain"), file_hashes(folder)
    assert len(generated) == 6
    assert generated.items() < plain.items()


def test_no_clip_is_lost_if_workers_are_killed(tiny, tmp_path):
    killed = []

    def kill(task, record):
        if len(killed) < 2:
            victim = multiprocessing.active_children()[0]
            os.kill(victim.pid, signal.SIGKILL)
            killed.append(victim.pid)

    rows, progress = make_rows(24), CallbackBatchProgress(on_finish=kill)
    result = run_rows(tmp_path / "out", rows, tiny, workers=2, batch_size=3, progress=progress)
    run_rows(tmp_path / "plain", rows, tiny)
    assert len(killed) == 2
    assert (result.done, result.failed) == (24, 0)
    journal = read_journal(tmp_path / "out")
    assert sorted(r["id"] for r in journal) == sorted(r["id"] for r in rows)
    assert file_hashes(tmp_path / "out") == file_hashes(tmp_path / "plain")
    assert multiprocessing.active_children() == []


def test_workers_that_cannot_start_end_the_batch(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(local_workers, "clip_worker_main", die)
    with pytest.raises(WaveNetError, match="exit 7"):
        run_rows(tmp_path / "out", make_rows(3), tiny, workers=2)
    assert multiprocessing.active_children() == []


def send_process_state(pipe):
    pipe.send(("wavenet.engines.cpu.cpu_engine" in sys.modules, signal.getsignal(signal.SIGINT)))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a fork server here")
@pytest.mark.usefixtures("python_sigint")
def test_a_worker_starts_with_all_libraries_loaded_and_ignores_sigint():
    states = []
    start_forkserver()
    for context in (WORKER_CONTEXT, multiprocessing.get_context("spawn")):
        pipe, remote_pipe = context.Pipe()
        process = context.Process(target=send_process_state, args=(remote_pipe,))
        process.start()
        states.append(pipe.recv())
        process.join()
    # the second is a negative control: this file does not import the engine
    assert states == [(True, signal.SIG_IGN), (False, signal.default_int_handler)]


def test_an_error_that_concerns_all_clips_stops_the_batch(tiny, tmp_path):
    """A missing folder is an error of all clips."""
    (tmp_path / "out").mkdir()
    settings = BatchSettings(tiny)
    queue = ListQueue([make_task(ManifestRow(1, make_rows(1)[0]), settings)])
    execution = ExecutionConfig(tmp_path / "gone", "cpu", "cpu")
    with pytest.raises(FolderError):
        run_local_workers(settings, execution, 1, queue, NoProgress())
    assert not (tmp_path / "gone").exists()
