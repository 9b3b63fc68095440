"""The worker of a Ray actor and the driver that calls it, with threads instead of actors."""

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from types import SimpleNamespace

import pytest

from tests.batch.conftest import (
    CallbackBatchProgress,
    ListQueue,
    file_hashes,
    make_rows,
    run_rows,
)
from wavenet.batch import ray_driver
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.clip_worker import ClipWorker
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.ray_driver import RayDriver
from wavenet.batch.ray_worker import VERSIONS, RayWorker, WorkerRequirements
from wavenet.batch.tasks import make_task
from wavenet.errors import ConfigError, DataError, DeviceError, WaveNetError
from wavenet.worker_pool import WorkerEvent

NO_REQUIREMENTS = WorkerRequirements({}, [])


class ActorLost(Exception):
    """An actor is lost."""


class FakeRay:
    """The part of Ray that the driver uses; a lost actor loses its events.

    Args:
        lost: number of actors, from the first, that are lost at their third call.
    """

    exceptions = SimpleNamespace(RayActorError=ActorLost)

    def __init__(self, lost=0):
        self.threads = ThreadPoolExecutor(8)
        self.lost, self.spawned, self.killed = lost, 0, 0

    def remote(self, **options):
        def decorate(actor_class):
            return SimpleNamespace(remote=lambda *content: self.spawn(actor_class(*content)))

        return decorate

    def spawn(self, worker):
        self.spawned += 1
        is_lost, calls = self.spawned <= self.lost, []

        def call(*content):
            calls.append(content)
            answer = worker.exchange(*content)
            if is_lost and len(calls) > 2:
                raise ActorLost("the node died")
            return answer

        submit = SimpleNamespace(remote=lambda *content: self.threads.submit(call, *content))
        return SimpleNamespace(exchange=submit)

    def wait(self, answers, num_returns, timeout):
        ready, rest = wait(answers, timeout, FIRST_COMPLETED)
        return [*ready], [*rest]

    def get(self, answer):
        return answer.result()

    def kill(self, actor):
        self.killed += 1


def make_tasks(tiny, rows):
    """Return the tasks of rows."""
    settings = BatchSettings(tiny)
    return [make_task(ManifestRow(n, row), settings) for n, row in enumerate(rows, 1)]


def run_driver(
    folder,
    tiny,
    ray,
    queue,
    requirements=NO_REQUIREMENTS,
    batch_size=2,
    count=2,
    progress=None,
    is_stopping=lambda: False,
):
    """Run the driver over a queue; return its records by id."""
    folder.mkdir()
    execution = ExecutionConfig(folder, "cpu", "cpu", 1, batch_size)
    arguments = BatchSettings(tiny), execution, requirements
    progress = progress or CallbackBatchProgress()
    try:
        RayDriver(ray, {}, arguments, queue, progress, is_stopping).run(count)
    finally:
        ray.threads.shutdown(cancel_futures=True)
    records = {record["id"]: record for record in queue.records}
    assert len(records) == len(queue.records)
    return records


@pytest.mark.parametrize("lost", [0, 3])
def test_clips_are_the_same_although_actors_are_lost(tiny, tmp_path, lost):
    ray, rows, progress = FakeRay(lost), make_rows(12), CallbackBatchProgress()
    queue = ListQueue(make_tasks(tiny, rows), max_retries=2)
    records = run_driver(tmp_path / "out", tiny, ray, queue, progress=progress)
    run_rows(tmp_path / "plain", rows, tiny)
    assert {r["status"] for r in records.values()} == {"done"}
    assert file_hashes(tmp_path / "out") == file_hashes(tmp_path / "plain")
    assert len(records) == 12
    assert bool(lost) <= ray.spawned - 2 <= lost
    assert len(progress.messages) <= lost


def test_no_clip_is_started_once_the_batch_is_to_stop(tiny, tmp_path):
    stop, assigned, amounts = threading.Event(), [], []
    rows = iter(make_rows(200))

    class EndlessQueue(ListQueue):
        def next_task(self):
            if stop.is_set():
                return None
            row = ManifestRow(len(assigned) + 1, next(rows))
            assigned.append(make_task(row, BatchSettings(tiny)))
            return assigned[-1]

    def stop_batch(seconds):
        amounts.append(seconds)
        stop.set()

    progress = CallbackBatchProgress(on_advance=stop_batch)
    records = run_driver(
        tmp_path / "out", tiny, FakeRay(), EndlessQueue([]), batch_size=64, count=1,
        progress=progress, is_stopping=stop.is_set,
    )  # fmt: skip
    assert amounts
    assert 0 < len(records) < len(assigned)  # some tasks were in the worker's queue


def test_other_versions_and_missing_paths_are_refused(tiny, tmp_path):
    WorkerRequirements(VERSIONS, [tiny]).check()
    tasks = make_tasks(tiny, make_rows(2))
    with pytest.raises(ConfigError, match=r"has torch .*, the driver 0\.4; install"):
        requirements = WorkerRequirements({"torch": "0.4"}, [])
        run_driver(tmp_path / "a", tiny, FakeRay(), ListQueue(tasks), requirements)
    gone = str(tmp_path / "gone")
    with pytest.raises(DataError, match=r"cannot find .*gone; use a path that all machines share"):
        requirements = WorkerRequirements({}, [gone])
        run_driver(tmp_path / "b", tiny, FakeRay(), ListQueue(tasks), requirements)


def test_a_recording_that_a_machine_does_not_see_fails_only_its_clip(tiny, tmp_path):
    execution = ExecutionConfig(tmp_path, "cpu", "cpu", 1, 2)
    worker = RayWorker(BatchSettings(tiny), execution, NO_REQUIREMENTS)
    (task,) = make_tasks(tiny, make_rows(1))
    broken = replace(task, prompt_file=str(tmp_path / "none.wav"), line=2)
    events, tasks = [], [broken, task]
    while (WorkerEvent.IDLE,) not in events:
        more, _ = worker.exchange(tasks, bool(tasks), False)
        events, tasks = events + more, []
    records = {event[1]: event[2] for event in events if event[0] == WorkerEvent.FINISHED}
    assert records[1]["status"] == "done"
    assert "cannot find" in records[2]["error"]


def test_a_worker_whose_gpu_is_lost_is_replaced(tiny, tmp_path, monkeypatch):
    runs, run = [], ClipWorker.run

    def lose_gpu(self, tasks, progress):
        runs.append(tasks)
        if len(runs) == 1:
            tasks.next_task()
            raise DeviceError("the GPU was lost")
        run(self, tasks, progress)

    monkeypatch.setattr(ClipWorker, "run", lose_gpu)
    ray, progress = FakeRay(), CallbackBatchProgress()
    queue = ListQueue(make_tasks(tiny, make_rows(3)))
    records = run_driver(tmp_path / "out", tiny, ray, queue, count=1, progress=progress)
    assert len(records) == 3
    assert ray.spawned == 2
    assert "the GPU was lost" in progress.messages[0]


def test_invalid_addresses_and_a_missing_package_are_refused(monkeypatch):
    monkeypatch.setattr(ray_driver.importlib.util, "find_spec", lambda name: name)
    for address in ("nonsense", "ray://here:1", "host:x"):
        with pytest.raises(ConfigError, match=r"invalid cluster address .* expected HOST:PORT"):
            ray_driver.check_ray_address(address)
    monkeypatch.setattr(ray_driver.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"-m pip install 'ray>=2.52"):
        ray_driver.check_ray_address("local")


def test_a_cluster_that_does_not_answer_is_refused(monkeypatch):
    monkeypatch.setattr(ray_driver.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(WaveNetError, match=r"no cluster answers at 127\.0\.0\.1:9 "):
        ray_driver.check_ray_address("127.0.0.1:9")
    ray_driver.check_ray_address("local")
    ray_driver.check_ray_address("auto")
