"""Measure the engine of effects on one core beside the torch definition.

    python benchmarks/effects.py [--seconds 2] [--models standard,a2-full] [--niceness -5]

Standard models with random weights at 48 kHz. All models and both implementations take turns; each
speed is the best of its short runs, in processor time, because other programs only slow a run. The
latency is the true time of separate blocks of 64 samples. "Silence" is the time of denormal inputs,
divided by that of a loud signal.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from wavenet.bench.machine import describe_machine, measure_multiply_rate
from wavenet.effects.effect_builder import build_effect
from wavenet.effects.effect_engine import Samples, load_engine
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import count_weights
from wavenet.effects.standard_shapes import STANDARD_NAMES, make_standard_shape

RATE = 48_000
RUN = 4032  # samples of one run
BLOCK = 64
DENORMAL = np.float32(1e-39)


@dataclass
class Speed:
    """Figures of one model.

    Attributes:
        engine, torch: times real time.
        median, late: of a block of 64 samples, median and 99.9th percentile, microseconds.
        silence: time of denormal input, divided by that of loud input.
    """

    engine: float
    torch: float
    median: float
    late: float
    silence: float


def make_model(name: str) -> NamModel:
    """Return a standard model with random weights."""
    shape = make_standard_shape(name)
    weights = np.random.default_rng(0).normal(0, 0.2, count_weights(shape))
    return NamModel(shape, weights.astype(np.float32), sample_rate=float(RATE))


def time_runs(
    run: Callable[[], object], seconds: float, clock: Callable[[], float] = time.thread_time
) -> list[float]:
    """Return the times of repeated runs: processor time, or that of another clock, in seconds."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = clock()
        run()
        times.append(clock() - start)
    return times


def measure_model(name: str, seconds: float) -> Speed:
    """Measure one model; each of the parts takes a share of the seconds."""
    model = make_model(name)
    engine, effect = load_engine(model), build_effect(model)
    state = engine.initial_state()
    loud = np.random.default_rng(0).normal(0, 0.2, RUN).astype(np.float32)
    quiet = np.full(RUN, DENORMAL)
    out = np.empty(RUN, np.float32)
    waveform, past = torch.from_numpy(loud)[None, None], effect.initial_state()

    def run_engine(x: Samples) -> object:
        return engine.process(state, x, out[: len(x)])

    times: dict[str, list[float]] = {"engine": [], "torch": [], "silence": [], "block": []}
    for _ in range(8):
        share = seconds / 32
        times["engine"] += time_runs(lambda: run_engine(loud[:RUN]), share)
        times["silence"] += time_runs(lambda: run_engine(quiet), share)
        times["block"] += time_runs(lambda: run_engine(loud[:BLOCK]), share, time.perf_counter)
        with torch.inference_mode():
            times["torch"] += time_runs(lambda: effect.process(past, waveform), share)
    best = {part: min(values) for part, values in times.items()}
    return Speed(
        RUN / RATE / best["engine"],
        RUN / RATE / best["torch"],
        *(1e6 * float(np.percentile(times["block"], p)) for p in (50, 99.9)),
        best["silence"] / best["engine"],
    )


def main() -> None:
    """Measure all models and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4, help="per model")
    parser.add_argument("--models", default=",".join(STANDARD_NAMES))
    parser.add_argument("--niceness", type=int, default=0, help="below 0 needs permission")
    options = parser.parse_args()
    os.nice(options.niceness)
    torch.set_num_threads(1)
    rate = measure_multiply_rate(1)
    print(f"multiplying {rate / 1e9:.0f} GMAC/s")
    header = ("engine x RT", "torch x RT", "ratio", "64: median", "99.9 %", "silence")
    print(f"{'':10}" + "".join(f"{column:>13}" for column in header))
    record: dict[str, object] = {"benchmark": "effects", "machine": describe_machine()}
    record |= {"niceness": options.niceness, "multiply_gmac_per_s": rate / 1e9}
    for name in options.models.split(","):
        speed = measure_model(name, options.seconds)
        figures = (speed.engine, speed.torch, speed.engine / speed.torch)
        numbers = (*figures, speed.median, speed.late, speed.silence)
        print(f"{name:10}" + "".join(f"{number:13.2f}" for number in numbers))
        record[name] = speed.__dict__
    print(json.dumps(record))


if __name__ == "__main__":
    main()
