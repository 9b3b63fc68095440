"""How fast each engine generates with a checkpoint, all in one run.

    python benchmarks/engines.py [--checkpoint checkpoints/digits] [--runs 5] [--threads 1]

One stream, temperature 1, after a warm-up; medians of several runs. The last line is one JSON
document. Machines differ and are noisy: compare the ratios, which come from one run.
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import torch

from wavenet import checkpoint
from wavenet.config import SamplingConfig
from wavenet.engines.registry import NAMES, make_engine
from wavenet.synthesis.noise import uniforms

SAMPLES = {"reference": 40, "cached": 400, "cpu": 8000}


def measure(name: str, loaded: checkpoint.Checkpoint, runs: int) -> float:
    """Give the median of samples per second over several runs of one stream."""
    model, samples = loaded.model, SAMPLES[name]
    engine = make_engine(name, model)
    labels = {c.name: c.values[0] for c in model.config.labels}
    speeds = []
    for run in range(runs + 1):
        # a prompt of one receptive field, so that the reference pays for the whole of it
        total = model.receptive_field + samples
        state = engine.start(model.conditioning([labels], [total]))
        engine.prefill(state, [torch.full((model.receptive_field,), model.start_code)])
        noise = uniforms(run, 0, 0, samples)[None]
        began = time.perf_counter()
        engine.run(state, samples, SamplingConfig(), noise)
        speeds.append(samples / (time.perf_counter() - began))
    return statistics.median(speeds[1:])  # the first run compiles and warms up


def processor() -> str:
    """Name the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/digits"))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    loaded = checkpoint.load(arguments.checkpoint)
    rate = loaded.config.audio.sample_rate
    speeds = {name: measure(name, loaded, arguments.runs) for name in NAMES}
    print(f"{'engine':10} {'samples/s':>12} {'x real time':>12} {'x cached':>9}")
    for name, speed in speeds.items():
        print(f"{name:10} {speed:12,.0f} {speed / rate:12.2f} {speed / speeds['cached']:9.2f}")
    print(
        json.dumps(
            {
                "checkpoint": loaded.config.name,
                "macs_per_sample": loaded.model.macs_per_sample,
                "dtype": "float32",
                "streams": 1,
                "processor": processor(),
                "cores": os.cpu_count(),
                "threads": arguments.threads,
                "runs": arguments.runs,
                "samples_per_second": {name: round(speed, 1) for name, speed in speeds.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
