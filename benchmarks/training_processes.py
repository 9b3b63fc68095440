"""Training in one process and in two, started by torchrun, in turns; then one of two is killed.

    python benchmarks/training_processes.py

Sounds are made here, in a folder that is removed at the end. The last line is one JSON document:
samples a second with one process and with two (medians), the ratio of each turn, how far apart
their curves are at most, in bits per sample; seconds from the SIGKILL of one process until the run
stands again where it stood, torchrun having started it anew, and how far its curve is from that of
two processes which nobody disturbed.
"""

import importlib.metadata
import json
import os
import platform
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
    """Make all runs and print what they gave."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        make_sounds(root)
        speeds: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(TURNS):
            for processes in speeds:
                folder = root / f"{processes}-{turn}"
                start(root, folder, processes).wait()
                speeds[processes].append(records(folder)[-1]["samples_per_second"])
                print(f"{processes} processes: {speeds[processes][-1]:,.0f} samples/s", flush=True)
        seconds = kill_one(root, root / "killed")
        found = {
            "samples_per_second": {n: statistics.median(each) for n, each in speeds.items()},
            "ratios": [two / one for one, two in zip(*speeds.values(), strict=True)],
            "curves_apart": apart(root / "1-0", root / "2-0"),
            "seconds_after_kill": seconds,
            "curve_after_kill_apart": apart(root / "2-0", root / "killed"),
            "cores": os.cpu_count(),
            "machine": platform.machine(),
            "torch": importlib.metadata.version("torch"),
        }
    print(json.dumps(found))


def make_sounds(root: Path) -> None:
    """Write tones of several lengths in noise, and the recipe."""
    rng = np.random.default_rng(0)
    (root / "data").mkdir()
    for n in range(CLIPS):
        t = np.arange(int(rng.integers(2_000, 4_800))) / RATE
        tone = 0.4 * np.sin(2 * np.pi * (150 + 10 * n) * t) + 0.05 * rng.standard_normal(len(t))
        soundfile.write(root / "data" / f"{n:02d}.wav", tone.astype(np.float32), RATE)
    (root / "recipe.toml").write_text(RECIPE)


def start(root: Path, folder: Path, processes: int, restarts: int = 0) -> psutil.Popen:
    """Start a run; one process needs no torchrun."""
    words = ["-m", "wavenet", "train", str(root / "recipe.toml"), "--data", str(root / "data")]
    if processes > 1:
        many = ["--standalone", "--nproc-per-node", str(processes), "--max-restarts", str(restarts)]
        words = ["-m", "torch.distributed.run", *many, *words]
    words += ["--out", str(folder)]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return psutil.Popen([sys.executable, *words], **quiet)


def kill_one(root: Path, folder: Path) -> float:
    """Kill the second process; give the seconds until the step at which that was is made again."""
    run = start(root, folder, 2, restarts=1)
    while steps(folder) < KILLED_AT:
        time.sleep(0.02)
    (second,) = (p for p in run.children() if p.environ().get("RANK") == "1")
    os.kill(second.pid, signal.SIGKILL)
    killed, stood = time.monotonic(), steps(folder)
    while steps(folder) >= stood and run.poll() is None:
        time.sleep(0.02)  # the lines of steps that are yet to be made again are still there
    while steps(folder) < stood and run.poll() is None:
        time.sleep(0.02)
    seconds = time.monotonic() - killed
    run.wait()
    return seconds


def steps(folder: Path) -> int:
    """Count the steps in the record of a run."""
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def records(folder: Path) -> list[dict[str, Any]]:
    """Read the record of a run."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def apart(one: Path, other: Path) -> float:
    """Give the largest difference of two curves."""
    pairs = zip(records(one), records(other), strict=True)
    return max(abs(a["loss_bits"] - b["loss_bits"]) for a, b in pairs)


if __name__ == "__main__":
    main()
