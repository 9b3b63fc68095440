"""What the tests of batches share: a manifest written, a batch run, what came of it."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.conftest import tiny_config
from wavenet.batch.clip_writer import ExecutionConfig
from wavenet.batch.run import RunOptions, run_batch
from wavenet.batch.tasks import BatchSettings


@pytest.fixture
def tiny(make_checkpoint):
    """A checkpoint with one label, digit."""
    return str(make_checkpoint(tiny_config(conditions="label")).folder)


def rows_of(count=9, **more):
    """Make rows of several lengths, some with a way of drawing of their own."""
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


def write(path, rows):
    """Write rows as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make(folder, rows, checkpoint, workers=1, together=None, settings=None, **options):
    """Run a batch of rows on the engine cpu."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    manifest = write(folder.parent / f"{folder.name}.jsonl", rows)
    wanted = {n: options.pop(n) for n in list(options) if n in RunOptions.__dataclass_fields__}
    elsewhere = {name: options.pop(name) for name in ("remote", "cluster") if name in options}
    where = ExecutionConfig(
        folder, "cpu", "cpu", 1, together, options.pop("score", False), **elsewhere
    )
    plain = settings or BatchSettings(checkpoint, str(folder.parent))
    return run_batch(manifest, plain, RunOptions(**wanted), where, workers, **options)


def hashes(folder: Path):
    """Give the hash of every file but journals, by name; nothing half-written may be there."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.startswith("results"):
            assert not path.name.startswith("."), path
            found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def records(folder, name="results.jsonl"):
    """Read a journal."""
    return [json.loads(line) for line in (folder / name).read_text("utf-8").splitlines()]
