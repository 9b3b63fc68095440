"""A Ray cluster of this machine: the same clips, whoever is killed. Slow: actors take seconds."""

import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from tests.batch.conftest import hashes, make, records, rows_of
from tests.batch.test_local_workers import Bomb
from wavenet.batch import ray_driver
from wavenet.batch.clip_worker import Session
from wavenet.batch.clip_writer import ExecutionConfig
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.tasks import BatchSettings, make_task
from wavenet.errors import WaveNetError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason='Ray is not installed: pip install "wavenet-studio[ray]"',
    ),
]


@pytest.fixture(scope="module")
def ray():
    """A cluster of two processors; nothing of it is left behind."""
    with ray_driver.ray_cluster(
        ExecutionConfig(Path("."), device="cpu", threads=1, cluster="local"), 2
    ) as ray:
        yield ray
        assert not ray.is_initialized() or processes_of(b"raylet")
    until = time.monotonic() + 20
    while processes_of(b"ray"):
        assert time.monotonic() < until
        time.sleep(0.1)


def processes_of(word):
    """List processes below this one whose command has a word in it."""
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                parents[int(folder.name)] = int(stat[1]), (folder / "cmdline").read_bytes()
        except OSError:
            continue
    for pid, (above, command) in parents.items():
        while above in parents and above != os.getpid():
            above = parents[above][0]
        if above == os.getpid() and word in command:
            found.append(pid)
    return found


def test_an_actor_that_is_killed_loses_nothing(ray, tiny, tmp_path):
    rows, killed, said = rows_of(60), [], []

    def kill(task, record):
        if not killed:
            (*_, victim) = processes_of(b"ray::Hired")
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    there = f"local://{tmp_path}/there"
    tally = make(
        tmp_path / "out", rows, tiny, 2, 3, cluster="local", remote=there, show=kill,
        say=said.append,
    )  # fmt: skip
    make(tmp_path / "plain", rows, tiny)
    assert killed
    assert (tally.done, tally.failed) == (60, 0)
    told = records(tmp_path / "out")
    assert sorted(r["id"] for r in told) == sorted(r["id"] for r in rows)
    assert hashes(tmp_path / "there") == hashes(tmp_path / "plain")
    sounds = {r["id"]: r["audio_sha256"] for r in records(tmp_path / "plain")}
    assert {r["id"]: r["audio_sha256"] for r in told} == sounds
    assert [sentence for sentence in said if "is made again" in sentence]
    assert processes_of(b"ray::Hired") == []


def test_a_task_that_kills_its_actor_fails_alone_after_so_many_tries(ray, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    settings, told, said = BatchSettings(tiny), [], []
    tasks = [make_task(ManifestRow(n, row), settings) for n, row in enumerate(rows_of(4), 1)]
    tasks[2].extra["bomb"] = Bomb()
    waiting = iter(tasks)
    session = Session(
        lambda: next(waiting, None), lambda task, record: told.append(record), say=said.append
    )
    where = ExecutionConfig(tmp_path / "out", "cpu", "cpu", 1, 8, cluster="local")
    ray_driver.run_ray_workers(settings, where, 2, session, 1, tmp_path)
    found = {record["id"]: record for record in told}
    assert len(told) == len(found) == 4
    assert [i for i, r in found.items() if r["status"] == "failed"] == ["clip 2"]
    assert found["clip 2"]["error"] == "it killed its worker 2 times"
    make(tmp_path / "plain", rows_of(4), tiny)
    assert hashes(tmp_path / "out").items() < hashes(tmp_path / "plain").items()


def test_a_cluster_without_room_is_one_sentence(ray, tiny, tmp_path):
    where = ExecutionConfig(tmp_path, "gpu", "cuda", cluster="local")
    session = Session(lambda: None, lambda task, record: None)
    with pytest.raises(WaveNetError, match="the cluster has no GPU for a worker"):
        ray_driver.run_ray_workers(BatchSettings(tiny), where, None, session, 1, tmp_path)
