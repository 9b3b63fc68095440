"""Measure memory and speed of a large corpus: its preparation, and training from it.

    python benchmarks/corpus_memory.py --folder FOLDER [--files 100000] [--workers 2] [--keep]

Writes WAV files of one second at 8 kHz to FOLDER, a thousand per subfolder, and measures:
- `wavenet data prepare`: files per second, and the peak memory of the parent and of each worker;
- `wavenet train --data CORPUS`, some steps: the peak memory;
- a whole epoch of batches without training steps, so that every sample was read;
- batches per second from a corpus and from a folder in memory, for the first thousand files, in
  turns: only collated, and with the step of the recipe `tiny`; one thread.
Memory is read from /proc: anonymous memory belongs to the process, mapped files can be freed by the
system. Needs Linux. The files are removed unless --keep is given. The last line is one JSON
document.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import soundfile
import torch

from wavenet.bench.machine import describe_machine
from wavenet.training.batches import training_batches
from wavenet.training.dataset import Dataset, read_dataset
from wavenet.training.loop import train_step
from wavenet.training.prefetch import prefetch_batches
from wavenet.training.recipe import DataConfig, load_recipe
from wavenet.training.resolve_config import resolve_config
from wavenet.training.state import make_state
from wavenet.training.task import CodeLikelihoodTask

RATE = 8000
WAVENET = "from wavenet.cli.main import main; main()"
RECIPE = "tiny"
KINDS = ("VmRSS", "RssAnon", "RssFile")
ROUNDS, BATCHES, STEPS = 3, 200, 10


def write_files(folder: Path, count: int) -> None:
    """Write files of noise, different in each."""
    noise = np.random.default_rng(0).integers(-8000, 8000, 10 * RATE, dtype=np.int16)
    for n in range(count):
        path = folder / f"{n // 1000:05d}" / f"{'ab'[n % 2]}_{n:08d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.roll(noise, 7919 * n)[:RATE], RATE)


def process_memory(pid: int) -> dict[str, int]:
    """Return the memory of a process in MB, by kind; empty if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    found = dict(line.split(":", 1) for line in lines)
    return {kind: int(found[kind].split()[0]) // 1024 for kind in KINDS if kind in found}


def measure_command(command: Sequence[str]) -> tuple[float, list[dict[str, int]], dict[str, int]]:
    """Run a command; return its seconds, the peaks of each process, and the peak of their sum."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, dict[str, int]] = {}
    total = dict.fromkeys(KINDS, 0)
    while process.poll() is None:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        try:
            pids = [process.pid, *map(int, children.read_text().split())]
        except OSError:
            continue
        now = {pid: process_memory(pid) for pid in pids}
        for pid, found in now.items():
            for kind, megabytes in found.items():
                peak = peaks.setdefault(pid, dict.fromkeys(KINDS, 0))
                peak[kind] = max(peak[kind], megabytes)
        for kind in KINDS:
            total[kind] = max(total[kind], sum(f.get(kind, 0) for f in now.values()))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return time.perf_counter() - start, list(peaks.values()), total


def open_dataset(folder: Path) -> Dataset:
    """Open a folder or a corpus as the recipe does, with little validation."""
    recipe = load_recipe(RECIPE)
    data = DataConfig(folder=str(folder), max_seconds=0.5, validation_fraction=0.0)
    return read_dataset(data, RATE, recipe.model)


def read_epoch(folder: Path) -> None:
    """Collate every clip of a corpus once; print clips per second and memory."""
    recipe, dataset = load_recipe(RECIPE), open_dataset(folder)
    opened, start, clips = process_memory(os.getpid()), time.perf_counter(), 0
    for step in training_batches(dataset.train, recipe.codec, recipe.model, 16 * RATE, 3.0, 0):
        clips += sum(len(batch.conditions) for batch in step.batches)
        if clips >= len(dataset.train):
            break
    rate = clips / (time.perf_counter() - start)
    found = {
        "clips": clips,
        "clips/s": round(rate),
        "opened": opened,
        "read": process_memory(os.getpid()),
    }
    print(json.dumps(found))


def compare(folder: Path, corpus: Path) -> dict[str, float]:
    """Measure batches per second from memory and from a corpus, in turns."""
    recipe = load_recipe(RECIPE)
    sets = {"memory": open_dataset(folder), "corpus": open_dataset(corpus)}
    config = resolve_config(recipe, sets["memory"])
    found: dict[str, list[float]] = {}
    for name, data in ROUNDS * list(sets.items()):
        stream = training_batches(data.train, recipe.codec, recipe.model, 4000, 3.0, 0)
        start = time.perf_counter()
        for _ in islice(stream, BATCHES):
            pass
        collated = time.perf_counter() - start
        task = CodeLikelihoodTask(config, recipe.train, data)
        state = make_state(task)
        device_batches = prefetch_batches(stream, state.model, state.model.device)
        train_step(task, state, next(device_batches))
        start = time.perf_counter()
        for _ in range(STEPS):
            train_step(task, state, next(device_batches))
        stepped = time.perf_counter() - start
        found.setdefault(f"batches/s, {name}", []).append(BATCHES / collated)
        found.setdefault(f"steps/s, {name}", []).append(STEPS / stepped)
    return {name: round(statistics.median(rates), 2) for name, rates in found.items()}


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="new, on a disk with room")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of training")
    parser.add_argument("--keep", action="store_true", help="keep the files")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    # several threads would mostly wait for each other, because the products are small
    torch.set_num_threads(1)
    if options.read:
        read_epoch(options.folder)
        return
    recordings, corpus = options.folder / "recordings", options.folder / "corpus"
    if not recordings.is_dir():
        write_files(recordings, options.files)
    call = [sys.executable, "-c", WAVENET]
    arguments = ["--pattern", "{kind}_{number}", "--workers", str(options.workers)]
    seconds, peaks, total = measure_command(
        [*call, "data", "prepare", str(recordings), "--out", str(corpus), *arguments]
    )
    found = {
        "files": options.files,
        "prepare": {
            "seconds": round(seconds, 1),
            "files/s": round(options.files / seconds),
            "parent and workers, MB": peaks,
            "together, MB": total,
        },
    }
    recipe = options.folder / "recipe.toml"
    text = (Path(__file__).parents[1] / f"wavenet/training/recipes/{RECIPE}.toml").read_text()
    # 0.1 % of the clips: more validation would take longer than the steps
    recipe.write_text(text.replace("[data]", "[data]\nvalidation_fraction = 0.001"))
    arguments = [
        "--steps",
        str(options.steps),
        "--label",
        "kind",
        "--threads",
        "1",
        "--out",
        str(options.folder / "run"),
    ]
    seconds, (peak, *_), _ = measure_command(
        [*call, "train", str(recipe), "--data", str(corpus), *arguments]
    )
    found["train"] = {"seconds": round(seconds, 1), "steps": options.steps, "MB": peak}
    done = subprocess.run(
        [sys.executable, __file__, "--read", "--folder", str(corpus)],
        check=True,
        capture_output=True,
        text=True,
    )
    found["epoch"] = json.loads(done.stdout)
    small = options.folder / "small"
    first = next(iter(sorted(recordings.iterdir())))
    subprocess.run(
        [*call, "data", "prepare", str(first), "--out", str(small)], check=True, stdout=2
    )
    found["rates"] = compare(first, small)
    if not options.keep:
        shutil.rmtree(options.folder)
    print(json.dumps({**found, "machine": describe_machine()}))


if __name__ == "__main__":
    main()
