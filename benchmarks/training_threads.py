"""Measure `wavenet train` by number of CPU threads, alone and beside a program that needs one core.

    python benchmarks/training_threads.py [--recipe tiny] [--seconds 20] [--rounds 3]

Threads wait passively, as in every training, or spin for a time, as they do in torch's OpenMP by
default (GOMP_SPINCOUNT=300000). "chosen" is the default: the training chooses the number. The other
program is an endless loop in Python. The data are synthetic tones in a temporary folder. A figure
is the median over the rounds of the speed of the last minute, at the end of the run. The last line
is one JSON document.
"""

import argparse
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from wavenet.bench.machine import describe_machine

RATE, CLIPS = 16_000, 64
WAITS = {"passive": {"OMP_WAIT_POLICY": "PASSIVE"}, "spinning": {"GOMP_SPINCOUNT": "300000"}}
THREADS = {"1": ["--threads", "1"], "2": ["--threads", "2"], "chosen": []}


def main() -> None:
    """Measure all cases and print the results."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    speeds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_dataset(root / "data")
        for n in range(arguments.rounds):
            cases = itertools.product(("alone", "beside a busy program"), WAITS, THREADS)
            for number, (beside, waits, threads) in enumerate(cases):
                busy = [] if beside == "alone" else [start_busy_program()]
                options = [arguments.recipe, "--data", str(root / "data"), *THREADS[threads]]
                folder = root / f"{n}-{number}"
                last = train(options, folder, WAITS[waits], arguments.seconds)
                for process in busy:
                    process.kill()
                case = f"{beside}, {waits}, {threads} threads"
                speeds.setdefault(case, []).append(last["samples_per_second"])
                used = f"{last['threads']} at the end"
                print(f"{case} ({used}): {speeds[case][-1]:,.0f} samples/s", flush=True)
    found = {case: round(statistics.median(each)) for case, each in speeds.items()}
    settings = vars(arguments)
    print(json.dumps({**settings, "samples_per_second": found, "machine": describe_machine()}))


def write_dataset(folder: Path) -> None:
    """Write tones of several lengths in noise."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    for n in range(CLIPS):
        t = np.arange(int(rng.integers(8_000, 16_000))) / RATE
        tone = 0.4 * np.sin(2 * np.pi * (150 + 10 * n) * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(folder / f"{n:02d}.wav", tone.astype(np.float32), RATE)


def start_busy_program() -> "subprocess.Popen[bytes]":
    """Start a program that needs one core until it is killed."""
    return subprocess.Popen([sys.executable, "-c", "while True: pass"])


def train(
    options: list[str], folder: Path, environment: dict[str, str], seconds: float
) -> dict[str, Any]:
    """Train for a time, from the first step on; return the last record."""
    command = [sys.executable, "-m", "wavenet", "train", *options, "--out", str(folder)]
    run = subprocess.Popen(
        [*command, "--steps", "1000000"],
        env=os.environ | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    metrics = folder / "metrics.jsonl"
    while not metrics.exists() and run.poll() is None:
        time.sleep(0.1)
    time.sleep(seconds)
    run.send_signal(signal.SIGKILL)
    run.wait()
    last: dict[str, Any] = json.loads(metrics.read_text().rsplit("\n", 2)[-2])
    return last


if __name__ == "__main__":
    main()
