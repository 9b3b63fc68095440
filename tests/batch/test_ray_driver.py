"""A Ray cluster on this machine: the same clips although actors are killed.

The tests are slow, because actors need seconds to start.
"""

import importlib.util
import os
import signal
import time
from pathlib import Path

import pytest

from tests.batch.conftest import (
    CallbackBatchProgress,
    ListQueue,
    file_hashes,
    make_rows,
    read_journal,
    run_rows,
)
from tests.batch.test_local_workers import ProcessKiller
from wavenet.batch import ray_driver
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.tasks import make_task
from wavenet.errors import WaveNetError
from wavenet.progress import NoProgress

ACTOR = b"ray::RayWorker"  # in the command of an actor's process

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason='Ray is not installed: pip install -e ".[ray]"',
    ),
]


@pytest.fixture(scope="module")
def ray():
    """A cluster of two processors; no process of it remains."""
    execution = ExecutionConfig(Path("."), device="cpu", threads=1, cluster_address="local")
    with ray_driver.ray_cluster(execution, 2) as ray:
        yield ray
        assert not ray.is_initialized() or child_processes(b"raylet")
    deadline = time.monotonic() + 20
    while child_processes(b"ray"):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def child_processes(word):
    """Return the ids of descendants of this process whose command contains a word."""
    found, processes = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            if stat[0] != "Z":
                processes[int(folder.name)] = int(stat[1]), (folder / "cmdline").read_bytes()
        except OSError:
            continue
    for pid, (ancestor, command) in processes.items():
        while ancestor in processes and ancestor != os.getpid():
            ancestor = processes[ancestor][0]
        if ancestor == os.getpid() and word in command:
            found.append(pid)
    return found


def test_no_clip_is_lost_if_an_actor_is_killed(ray, tiny, tmp_path):
    rows, killed = make_rows(60), []

    def kill(task, record):
        if not killed:
            (*_, victim) = child_processes(ACTOR)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    url, progress = f"local://{tmp_path}/there", CallbackBatchProgress(on_finish=kill)
    result = run_rows(
        tmp_path / "out", rows, tiny, 2, progress=progress, batch_size=3,
        cluster_address="local", remote_url=url,
    )  # fmt: skip
    run_rows(tmp_path / "plain", rows, tiny)
    assert killed
    assert (result.done, result.failed) == (60, 0)
    journal = read_journal(tmp_path / "out")
    assert sorted(r["id"] for r in journal) == sorted(r["id"] for r in rows)
    assert file_hashes(tmp_path / "there") == file_hashes(tmp_path / "plain")
    audio = {r["id"]: r["audio_sha256"] for r in read_journal(tmp_path / "plain")}
    assert {r["id"]: r["audio_sha256"] for r in journal} == audio
    assert [text for text in progress.messages if "retrying" in text]
    assert child_processes(ACTOR) == []


def test_a_clip_that_kills_its_actor_fails_alone_after_its_retries(ray, tiny, tmp_path):
    (tmp_path / "out").mkdir()
    settings = BatchSettings(tiny)
    tasks = [make_task(ManifestRow(n, row), settings) for n, row in enumerate(make_rows(4), 1)]
    tasks[2].extra["killer"] = ProcessKiller()
    queue = ListQueue(tasks, max_retries=1)
    execution = ExecutionConfig(tmp_path / "out", "cpu", "cpu", 1, 8, cluster_address="local")
    ray_driver.run_ray_workers(settings, execution, 2, queue, NoProgress(), lambda: False, tmp_path)
    records = {record["id"]: record for record in queue.records}
    assert len(queue.records) == len(records) == 4
    assert [i for i, r in records.items() if r["status"] == "failed"] == ["clip 2"]
    assert records["clip 2"]["crashes"] == 2
    run_rows(tmp_path / "plain", make_rows(4), tiny)
    assert file_hashes(tmp_path / "out").items() < file_hashes(tmp_path / "plain").items()


def test_a_cluster_without_a_gpu_is_refused(ray, tiny, tmp_path):
    execution = ExecutionConfig(tmp_path, "gpu", "cuda", cluster_address="local")
    settings, queue = BatchSettings(tiny), ListQueue([])
    with pytest.raises(WaveNetError, match="the cluster has no GPU for a worker"):
        ray_driver.run_ray_workers(
            settings, execution, None, queue, NoProgress(), lambda: False, tmp_path
        )
