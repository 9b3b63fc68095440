"""A worker far from the driver, and the driver's side of it, with threads in place of actors."""

import threading
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace

import pytest

from tests.batch.conftest import hashes, make, rows_of
from wavenet.batch import ray_driver
from wavenet.batch.clip_worker import ClipWorker, Session
from wavenet.batch.clip_writer import ExecutionConfig
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.ray_driver import RayDriver
from wavenet.batch.ray_worker import VERSIONS, RayWorker, WorkerRequirements
from wavenet.batch.tasks import BatchSettings, make_task
from wavenet.errors import ConfigError, DataError, DeviceError, WaveNetError


class Gone(Exception):
    """An actor is lost."""


class FakeRay:
    """As much of Ray as the driver uses; a killed actor loses what it had to say.

    Args:
        doomed: actors that are lost at their third call, as many as that from the first on.
    """

    exceptions = SimpleNamespace(RayActorError=Gone)

    def __init__(self, doomed=0):
        self.pool = ThreadPoolExecutor(8)
        self.doomed, self.hired, self.killed = doomed, 0, 0

    def remote(self, **options):
        def with_class(kind):
            return SimpleNamespace(remote=lambda *content: self.begin(kind(*content)))

        return with_class

    def begin(self, hired):
        self.hired += 1
        doomed, calls = self.hired <= self.doomed, []

        def call(*content):
            calls.append(content)
            answer = hired.exchange(*content)
            if doomed and len(calls) > 2:
                raise Gone("it is no more")
            return answer

        submit = SimpleNamespace(remote=lambda *content: self.pool.submit(call, *content))
        return SimpleNamespace(exchange=submit)

    def wait(self, answers, num_returns, timeout):
        ready, rest = wait(answers, timeout, FIRST_COMPLETED)
        return [*ready], [*rest]

    def get(self, answer):
        return answer.result()

    def kill(self, actor):
        self.killed += 1


def run_office(folder, tiny, ray, rows, contract=None, together=2, count=2, **session):
    """Make rows through the driver's side; gives records by id, and what was said."""
    folder.mkdir()
    settings = BatchSettings(tiny)
    tasks = iter([make_task(ManifestRow(n, row), settings) for n, row in enumerate(rows, 1)])
    told, said = [], []
    some = Session(
        session.pop("take", lambda: next(tasks, None)),
        lambda task, record: told.append(record),
        say=said.append,
        **session,
    )
    content = (
        settings,
        ExecutionConfig(folder, "cpu", "cpu", 1, together),
        contract or WorkerRequirements({}, []),
    )
    office = RayDriver(ray, {}, content, some, 2)
    try:
        for _ in range(count):
            office.hire()
        while office.is_open:
            office.attend()
    finally:
        office.dismiss()
        ray.pool.shutdown(cancel_futures=True)
    assert len({record["id"] for record in told}) == len(told)
    return {record["id"]: record for record in told}, said


@pytest.mark.parametrize("doomed", [0, 3])
def test_actors_make_the_same_whoever_is_lost(tiny, tmp_path, doomed):
    ray = FakeRay(doomed)
    rows = rows_of(12)
    found, said = run_office(tmp_path / "out", tiny, ray, rows)
    make(tmp_path / "plain", rows, tiny)
    assert {r["status"] for r in found.values()} == {"done"}
    assert hashes(tmp_path / "out") == hashes(tmp_path / "plain")
    assert len(found) == 12
    assert bool(doomed) <= ray.hired - 2 <= doomed
    assert len(said) <= doomed


def test_nothing_more_is_begun_once_it_is_to_stop(tiny, tmp_path):
    stopping = threading.Event()
    rows = iter(rows_of(200))
    settings = BatchSettings(tiny)
    taken = []

    def take():
        if stopping.is_set():
            return None
        taken.append(make_task(ManifestRow(len(taken) + 1, next(rows)), settings))
        return taken[-1]

    ended = []

    def report(seconds):
        ended.append(seconds)
        stopping.set()

    found, _ = run_office(
        tmp_path / "out", tiny, FakeRay(), [], together=64, count=1,
        take=take, report=report, is_stopping=stopping.is_set,
    )  # fmt: skip
    assert ended
    assert 0 < len(found) < len(taken)  # some lay in the queue


def test_other_versions_and_missing_files_are_told(tiny, tmp_path):
    WorkerRequirements(VERSIONS, [tiny]).check()
    with pytest.raises(ConfigError, match=r"has torch .*, the driver 0\.4; install"):
        run_office(
            tmp_path / "a", tiny, FakeRay(), rows_of(2), WorkerRequirements({"torch": "0.4"}, [])
        )
    gone = str(tmp_path / "gone")
    with pytest.raises(DataError, match=r"does not see .*gone; keep it where all machines do"):
        run_office(tmp_path / "b", tiny, FakeRay(), rows_of(2), WorkerRequirements({}, [gone]))


def test_a_recording_that_a_machine_does_not_see_fails_its_clip_alone(tiny, tmp_path):
    hired = RayWorker(
        BatchSettings(tiny),
        ExecutionConfig(tmp_path, "cpu", "cpu", 1, 2),
        WorkerRequirements({}, []),
    )
    task = make_task(ManifestRow(1, rows_of(1)[0]), BatchSettings(tiny))
    broken = SimpleNamespace(**{**vars(task), "prompt": str(tmp_path / "none.wav"), "line": 2})
    events = []
    waiting = [broken, task]
    while ("idle",) not in events:
        more, _ = hired.exchange(waiting, bool(waiting), False)
        events, waiting = events + more, []
    records = {event[1]: event[2] for event in events if event[0] == "put"}
    assert records[1]["status"] == "done"
    assert "does not see" in records[2]["error"]


def test_a_gpu_that_is_lost_is_a_worker_that_is_lost(tiny, tmp_path, monkeypatch):
    tries = []
    work = ClipWorker.work

    def lose(self, session):
        tries.append(session)
        if len(tries) == 1:
            session.take()
            raise DeviceError("the GPU was lost")
        work(self, session)

    monkeypatch.setattr(ClipWorker, "work", lose)
    ray = FakeRay()
    found, said = run_office(tmp_path / "out", tiny, ray, rows_of(3), count=1)
    assert len(found) == 3
    assert ray.hired == 2
    assert "the GPU was lost" in said[0]


def test_clusters_that_cannot_be(monkeypatch):
    for address in ("nonsense", "ray://here:1", "host:x"):
        with pytest.raises(ConfigError, match=r"is none; give HOST:PORT|needs the package"):
            ray_driver.check_ray_address(address)
    monkeypatch.setattr(ray_driver.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r'pip install "wavenet-studio\[ray\]"'):
        ray_driver.check_ray_address("local")


def test_nobody_answers(monkeypatch):
    monkeypatch.setattr(ray_driver.importlib.util, "find_spec", lambda name: name)
    with pytest.raises(WaveNetError, match=r"no cluster answers at 127\.0\.0\.1:9 "):
        ray_driver.check_ray_address("127.0.0.1:9")
    ray_driver.check_ray_address("local")
    ray_driver.check_ray_address("auto")
