"""Compare the speed of the engine cpu with a well-known WaveNet in PyTorch, in one run.

    python benchmarks/peer_pytorch.py [--environment FOLDER] [--configuration A] [--runs 5]

The peer is the package wavenet_vocoder 0.1.1 from PyPI (MIT licence), used as in its own synthesis:
`incremental_forward` of one stream after `make_generation_fast_`, sampling from a softmax of 256
classes, random weights. It runs in its own environment, with the torch and numpy of our
requirements: in FOLDER, which is kept and reused, or in a temporary folder (several GB on Linux).
Models and numbers of threads are those of `wavenet bench`; this project runs the engine cpu in
float32, as the peer does, and in int8. If the peer cannot be installed or run, one sentence says
why. The last line is one JSON document.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PEER = "wavenet_vocoder==0.1.1"
ROOT = Path(__file__).parents[1]
SECONDS = 1.0  # duration of one run of the peer
THREADS = (1, 2)
PRECISIONS = ("fp32", "int8")  # of this project
PROBE = 50  # samples of the run that determines the length of the others


class PeerUnavailable(Exception):
    """The peer cannot be installed, imported or run; the message says why."""


# --- In the environment of the peer, which does not contain this project -------------------------


def measure_peer(sizes: dict[str, Any], threads: int, runs: int) -> dict[str, Any]:
    """Generate one stream with the peer; return its median speed and its torch version."""
    import torch
    from wavenet_vocoder import WaveNet

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = WaveNet(**sizes).eval()
    model.make_generation_fast_()

    def run(samples: int) -> float:
        start = time.perf_counter()
        model.incremental_forward(T=samples)
        return time.perf_counter() - start

    with torch.no_grad():
        run(PROBE)
        samples = max(PROBE, round(PROBE * SECONDS / run(PROBE)))
        duration = statistics.median(run(samples) for _ in range(runs))
    return {"samples_per_second": samples / duration, "torch": torch.__version__}


# --- In the environment of this project ----------------------------------------------------------


def run_program(command: list[str], action: str) -> str:
    """Run a program and return its stdout.

    Raises:
        PeerUnavailable: it failed.
    """
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
        raise PeerUnavailable(f"{action} failed: {last}")
    return done.stdout


def prepare(folder: Path) -> str:
    """Create the environment of the peer if it does not exist; return its Python.

    Raises:
        PeerUnavailable: a package cannot be installed or imported.
    """
    python = str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    checking = [python, "-W", "ignore", "-c", "import wavenet_vocoder"]
    if Path(python).exists() and subprocess.run(checking, capture_output=True).returncode == 0:
        return python
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    ours = [pin for pin in pins if pin.startswith(("torch==", "numpy=="))]
    print(f"installing {', '.join([PEER, *ours])}", file=sys.stderr)
    run_program([sys.executable, "-m", "venv", str(folder)], "creating the environment")
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run_program([*install, *ours], f"installing {', '.join(ours)}")
    # It also requires scipy, which generation does not use.
    run_program([*install, "--no-deps", PEER], f"installing {PEER}")
    run_program(checking, f"importing {PEER}")
    return python


def peer_sizes(config: Any) -> dict[str, Any]:
    """Return the arguments of the peer for a `WaveNetConfig`; its gate counts both halves."""
    return {
        "out_channels": 256,
        "layers": len(config.dilations),
        "stacks": config.dilations.count(1),
        "residual_channels": config.residual_channels,
        "gate_channels": 2 * config.gate_channels,
        "skip_out_channels": config.skip_channels,
        "kernel_size": config.kernel_size,
    }


def compare(name: str, python: str, runs: int) -> list[dict[str, Any]]:
    """Measure one configuration with both programs, for each number of threads."""
    from wavenet.bench.configurations import build_named_model
    from wavenet.bench.measurement import measure_case, plan_cases

    subject, rows = build_named_model(name), []
    for threads in THREADS:
        task = [peer_sizes(subject.model.config), threads, runs]
        child = [python, "-W", "ignore", __file__, "--task", json.dumps(task)]
        peer = json.loads(run_program(child, f"measuring {PEER}"))
        for case in plan_cases([name], ["cpu"], [1], PRECISIONS, [threads]):
            ours, _ = measure_case(case, subject, runs)
            rows.append(
                {
                    "configuration": name,
                    "precision": case.precision,
                    "threads": threads,
                    "peer_samples_per_second": peer["samples_per_second"],
                    "peer_torch": peer["torch"],
                    "cpu_samples_per_second": ours,
                    "ratio": ours / peer["samples_per_second"],
                }
            )
            print(
                f"{name:13} {case.precision:7} {threads:7} {peer['samples_per_second']:14,.0f} "
                f"{ours:14,.0f} {rows[-1]['ratio']:7.1f}"
            )
    return rows


def run(names: list[str], folder: Path, runs: int) -> dict[str, Any]:
    """Install the peer, measure and print; return the JSON document."""
    from wavenet.bench.machine import describe_machine

    result: dict[str, Any] = {"peer": PEER, "machine": describe_machine(), "runs": runs}
    try:
        python = prepare(folder)
        speeds = f"{'peer samples/s':>14} {'our samples/s':>14}"
        print(f"{'model':13} {'weights':7} {'threads':>7} {speeds}   ratio")
        rows = [row for name in names for row in compare(name, python, runs)]
    except PeerUnavailable as error:
        print(f"cannot measure the peer: {error}", file=sys.stderr)
        return {**result, "available": False, "reason": str(error)}
    return {**result, "available": True, "rows": rows, "best_against_best": best_ratios(rows)}


def best_ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the ratio of the speeds per case, each with its faster number of threads."""
    ratios = {}
    for case in dict.fromkeys((row["configuration"], row["precision"]) for row in rows):
        own = [row for row in rows if (row["configuration"], row["precision"]) == case]
        ours, peers = (
            max(row[f"{side}_samples_per_second"] for row in own) for side in ("cpu", "peer")
        )
        name = " ".join(case)
        ratios[name] = ours / peers
        print(f"{name}: {ratios[name]:.1f} times as fast, each with its faster number of threads")
    return ratios


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--environment", type=Path, help="folder in which the environment of the peer is kept"
    )
    parser.add_argument("--configuration", action="append", choices=("A", "B", "S"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--task", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        print(json.dumps(measure_peer(*arguments.task)))
        return
    names = arguments.configuration or ["A", "B", "S"]
    if arguments.environment:
        result = run(names, arguments.environment.resolve(), arguments.runs)
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = run(names, Path(folder), arguments.runs)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
