"""What a batch costs beside its samples, and what a million hours would take.

    python benchmarks/scale.py --folder /tmp/scale          # new or empty; minutes
    python benchmarks/scale.py --folder /tmp/scale --rows-only

Measured: rows checked and records kept a second by the one process that reads the manifest, clips
that a worker can write beside its samples, calls to Ray actors, and the same clips made by two
local workers and by two actors. Computed from the samples a second of one device: hours, bytes
and files. The last line is one JSON document.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from wavenet.batch import cluster
from wavenet.batch.finish import Place, finish
from wavenet.batch.journal import Journal
from wavenet.batch.rows import Row
from wavenet.batch.run import Wanted, check
from wavenet.batch.tasks import Settings, Task, load_model, make_item, make_task
from wavenet.batch.work import WRITERS
from wavenet.bench.machine import describe_machine
from wavenet.generation.generate import GeneratedClip

CALL = "from wavenet.cli.main import main; main()"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
HOURS = 1_000_000
CLIP_SECONDS = 10.0
# samples a second of one device, configuration A
DEVICES = {
    "two CPU cores, measured": 106_000,
    "a GPU at 15 million, reckoned": 15_000_000,
    "a GPU at 110 million, reckoned": 110_000_000,
}


def write_rows(path: Path, count: int, seconds: float) -> Path:
    """Write a manifest for the shipped spoken digits."""
    with path.open("w") as file:
        for n in range(count):
            row = {"id": n, "digit": n % 10, "speaker": SPEAKERS[n % 6], "seconds": seconds}
            file.write(json.dumps(row) + "\n")
    return path


def measure_rows(folder: Path, checkpoint: str, count: int) -> dict[str, float]:
    """Check so many rows, and keep so many records."""
    settings = Settings(checkpoint, str(folder))
    small = write_rows(folder / "small.jsonl", 10, CLIP_SECONDS)
    check(small, settings, Wanted(), Place(folder / "none"))  # the checkpoint is loaded
    manifest = write_rows(folder / "many.jsonl", count, CLIP_SECONDS)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    assert check(manifest, settings, Wanted(), Place(folder / "none")).good == count
    took = time.perf_counter() - began
    found = {"rows checked a second": count / took}
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    found["bytes of memory a row"] = grown * 1024 / count
    record = {"id": "0", "status": "done", "params_hash": "0" * 64, "sha256": "0" * 64}
    record |= {"file": "0.wav", "bytes": 1, "extra": {}, "labels": {"digit": "1"}, "error": None}
    (folder / "journal").mkdir()
    with Journal(folder / "journal") as journal:
        began = time.perf_counter()
        for n in range(count):
            journal.append({**record, "id": str(n)})
        found["records kept a second"] = count / (time.perf_counter() - began)
    return found


def measure_files(folder: Path, checkpoint: str, count: int) -> float:
    """Write clips of 160,000 samples as a worker does; gives clips a second."""
    (folder / "files").mkdir()
    rate = load_model(checkpoint)[0].config.audio.sample_rate
    settings, where = Settings(checkpoint), Place(folder / "files")
    rows = {"digit": 1, "speaker": "theo", "seconds": 160_000 / rate}
    tasks = [make_task(Row(n, {"id": n, **rows}), settings) for n in range(count)]
    clip = GeneratedClip(0, torch.rand(160_000) - 0.5, torch.zeros(160_000, dtype=torch.int64))

    def write(task: Task) -> None:
        finish(load_model(checkpoint)[0], settings, where, task, make_item(task), clip, 1.0)

    began = time.perf_counter()
    with ThreadPoolExecutor(WRITERS) as writers:
        list(writers.map(write, tasks))
    return count / (time.perf_counter() - began)


class Echo:
    """An actor with nothing to do."""

    def exchange(self) -> list[str]:
        """Answer."""
        return []


def measure_calls(count: int) -> float:
    """Call two actors, a hundred calls under way to each; gives calls a second."""
    with cluster.joined(Place(Path(), device="cpu", threads=1, cluster="local"), 2) as ray:
        actors = [ray.remote(num_cpus=1)(Echo).remote() for _ in range(2)]
        ray.get([actor.exchange.remote() for actor in actors])
        began, done = time.perf_counter(), 0
        waiting = {actor.exchange.remote(): actor for actor in actors for _ in range(100)}
        while done < count:
            ready, _ = ray.wait([*waiting], num_returns=1)
            ready, _ = ray.wait([*waiting], num_returns=len(waiting), timeout=0)
            for answer in ready:
                ray.get(answer)
                actor = waiting.pop(answer)
                waiting[actor.exchange.remote()] = actor
            done += len(ready)
        return done / (time.perf_counter() - began)


def measure_workers(folder: Path, checkpoint: str, count: int, turns: int) -> list[dict[str, Any]]:
    """Make the same clips by two local workers and by two actors, in turns.

    Returns:
        of each run its seconds in all, those between the first file and the last, and the load of
        the machine at its end.
    """
    manifest = write_rows(folder / "clips.jsonl", count, 0.5)
    options = ["--checkpoint", checkpoint, "--device", "cpu", "--threads", "1", "--workers", "2"]
    found = []
    for turn in range(turns):
        for name, more in (("local", []), ("ray", ["--engine-cluster", "ray"])):
            out = folder / f"{name}-{turn}"
            command = [sys.executable, "-c", CALL, "batch", str(manifest), "--out-dir", str(out)]
            began = time.perf_counter()
            quiet = [*command, *options, "--quiet", *more]
            subprocess.run(quiet, check=True, stdout=subprocess.DEVNULL)
            took = time.perf_counter() - began
            ends = sorted(path.stat().st_mtime for path in out.glob("*.wav"))
            steady, load = ends[-1] - ends[0], os.getloadavg()[0]
            found.append({"workers": name, "took": took, "files": steady, "load": load})
            print(f"{name}: {took:.1f} s, {steady:.1f} s between files, load {load:.1f}")
    return found


def reckon(sample_rate: int, devices: Sequence[int] = (8, 100, 1000)) -> list[dict[str, Any]]:
    """Compute what a million hours take: hours, GB and files a second."""
    seconds = HOURS * 3600
    table = []
    for name, speed in DEVICES.items():
        for count in devices:
            hours = seconds * sample_rate / (speed * count) / 3600
            audio = seconds / (hours * 3600)  # seconds of it a second
            row = {"device": name, "count": count, "rate": sample_rate, "hours": hours}
            row |= {"GB/s": audio * sample_rate * 2 / 1e9, "files/s": audio / CLIP_SECONDS}
            table.append(row)
            print(
                f"{sample_rate} Hz, {count:5,} x {name}: {hours:10,.1f} h, "
                f"{row['GB/s']:8,.3f} GB/s, {row['files/s']:10,.0f} clips/s of {CLIP_SECONDS:g} s"
            )
    return table


def main() -> None:
    """Measure, compute, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="new or empty")
    parser.add_argument("--checkpoint", default="checkpoints/digits")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rows-only", action="store_true", help="without Ray and workers")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rows = measure_rows(given.folder, given.checkpoint, given.rows)
    rows["clips written a second"] = measure_files(given.folder, given.checkpoint, 300)
    if not given.rows_only:
        rows["calls to actors a second"] = measure_calls(3000)
    print(", ".join(f"{name}: {value:,.0f}" for name, value in rows.items()))
    runs = []
    if not given.rows_only:
        runs = measure_workers(given.folder, given.checkpoint, given.items, given.turns)
    table = [row for rate in (16_000, 8_000) for row in reckon(rate)]
    print(json.dumps({"machine": describe_machine(), **rows, "runs": runs, "table": table}))


if __name__ == "__main__":
    main()
