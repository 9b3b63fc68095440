"""Helpers for the tests of batches: write a manifest, run a batch, read its results."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import tiny_config
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.run import run_batch
from wavenet.worker_pool import TaskQueue


@pytest.fixture
def tiny(make_checkpoint):
    """A checkpoint with one label, digit."""
    return str(make_checkpoint(tiny_config(conditions="label")).folder)


class CallbackBatchProgress:
    """Progress that collects messages and calls functions for the other events."""

    def __init__(self, on_advance=None, on_finish=None, on_skip=None):
        self.messages = []
        self._on_advance, self._on_finish, self._on_skip = on_advance, on_finish, on_skip

    def advance(self, amount):
        if self._on_advance:
            self._on_advance(amount)

    def message(self, text):
        self.messages.append(text)

    def skip_clip(self, task):
        if self._on_skip:
            self._on_skip(task)

    def finish_clip(self, task, record):
        if self._on_finish:
            self._on_finish(task, record)


class ListQueue(TaskQueue):
    """A queue over given tasks; collects their records."""

    def __init__(self, tasks, max_retries=1):
        self.tasks, self.records = iter(tasks), []
        self.max_retries = max_retries

    def next_task(self):
        return next(self.tasks, None)

    def update_task(self, task, state):
        raise AssertionError("workers of a batch report no state")

    def finish_task(self, task, record):
        self.records.append(record)

    def handle_crash(self, task, crashes):
        if crashes <= self.max_retries:
            return True
        self.records.append({"id": task.identity, "status": "failed", "crashes": crashes})
        return False


def make_rows(count=9, **more):
    """Return rows of several lengths, some with their own temperature."""
    return [
        {
            "id": f"clip {n}",
            "digit": "abc"[n % 3],
            "seconds": round(0.01 + 0.013 * (n * 5 % 7), 3),
            "temperature": 1.0 if n % 4 else 0.8,
            **more,
        }
        for n in range(count)
    ]


def write_manifest(path, rows):
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_rows(folder, rows, checkpoint, workers=1, settings=None, progress=None, stop=None, **more):
    """Run a batch of rows with the engine cpu; `more` are fields of the configurations."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = write_manifest(folder.parent / f"{folder.name}.jsonl", rows)
    options = {name: more.pop(name) for name in list(more) if hasattr(BatchOptions(), name)}
    execution = ExecutionConfig(folder, "cpu", "cpu", 1, **more)
    settings = settings or BatchSettings(checkpoint, str(folder.parent))
    options = BatchOptions(**options)
    return run_batch(manifest, settings, options, execution, workers, progress, stop)


def file_hashes(folder: Path):
    """Return the hash of every file except journals, by name; check that no file is incomplete."""
    hashes = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("results"):
            assert not path.name.startswith("."), path
            hashes[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return hashes


def read_journal(folder, name="results.jsonl"):
    """Return the records of a journal."""
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
