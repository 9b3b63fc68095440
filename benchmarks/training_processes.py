"""Compare training in one process and in two, by torchrun, in turns; then kill one of the two.

    python benchmarks/training_processes.py

The training data are synthetic tones in a temporary folder. The last line is one JSON document:
- samples per second with one process and with two (medians), and the ratio of each turn;
- the largest difference of their loss curves, in bits per sample;
- seconds from the SIGKILL of one process until the run, restarted by torchrun, reaches the same
  step again, and the difference of its curve from that of two processes without a kill.
"""

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
import psutil
import soundfile

from wavenet.bench.machine import describe_machine

RATE, CLIPS, TURNS, KILLED_AT = 16_000, 64, 3, 25
RECIPE = """
name = "processes"
[audio]
sample_rate = 16000
[model]
residual_channels = 64
gate_channels = 64
skip_channels = 128
dilations = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
[data]
max_seconds = 0.3
[train]
steps = 40
samples_per_step = 40000
precision = "fp32"
validate_every = 40
save_every = 10
"""


def main() -> None:
    """Do all runs and print the results."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_dataset(root)
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(TURNS):
            for processes in speeds:
                folder = root / f"{processes}-{turn}"
                start(root, folder, processes).wait()
                speeds[processes].append(read_metrics(folder)[-1]["samples_per_second"])
                print(f"{processes} processes: {speeds[processes][-1]:,.0f} samples/s", flush=True)
        seconds = kill_one(root, root / "killed")
        found = {
            "samples_per_second": {n: statistics.median(each) for n, each in speeds.items()},
            "ratios": [two / one for one, two in zip(*speeds.values(), strict=True)],
            "curve_difference": curve_difference(root / "1-0", root / "2-0"),
            "seconds_after_kill": seconds,
            "curve_difference_after_kill": curve_difference(root / "2-0", root / "killed"),
            "machine": describe_machine(),
        }
    print(json.dumps(found))


def write_dataset(root: Path) -> None:
    """Write tones of several lengths in noise, and the recipe."""
    rng = np.random.default_rng(0)
    (root / "data").mkdir()
    for n in range(CLIPS):
        t = np.arange(int(rng.integers(2_000, 4_800))) / RATE
        tone = 0.4 * np.sin(2 * np.pi * (150 + 10 * n) * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(root / "data" / f"{n:02d}.wav", tone.astype(np.float32), RATE)
    (root / "recipe.toml").write_text(RECIPE)


def start(root: Path, folder: Path, processes: int, restarts: int = 0) -> psutil.Popen:
    """Start a training run; one process needs no torchrun."""
    command = ["-m", "wavenet", "train", str(root / "recipe.toml"), "--data", str(root / "data")]
    if processes > 1:
        many = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
        command = ["-m", "torch.distributed.run", *many, *command]
    command += ["--out", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return psutil.Popen([sys.executable, *command], **quiet)


def kill_one(root: Path, folder: Path) -> float:
    """Kill the second of two processes; return the seconds until the run is at the same step."""
    run = start(root, folder, 2, restarts=1)
    while count_steps(folder) < KILLED_AT:
        time.sleep(0.02)
    (second,) = (p for p in run.children() if p.environ().get("RANK") == "1")
    os.kill(second.pid, signal.SIGKILL)
    killed_at, step = time.monotonic(), count_steps(folder)
    while count_steps(folder) >= step and run.poll() is None:
        time.sleep(0.02)  # the lines of the steps after the snapshot are still there
    while count_steps(folder) < step and run.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - killed_at
    run.wait()
    return seconds


def count_steps(folder: Path) -> int:
    """Return the number of steps in the metrics of a run."""
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Read the metrics of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def curve_difference(one: Path, other: Path) -> float:
    """Return the largest difference of two loss curves."""
    pairs = zip(read_metrics(one), read_metrics(other), strict=True)
    return max(abs(a["loss_bits"] - b["loss_bits"]) for a, b in pairs)


if __name__ == "__main__":
    main()
