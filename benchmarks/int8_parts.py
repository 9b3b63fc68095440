"""Time the parts of one sample of the engine cpu in int8, one stream on one thread.

    python benchmarks/int8_parts.py [--configuration A] [--rounds 15] [--samples 2000]

Each part is repeated alone, so its weights stay in the cache; "whole sample" is the loop of the
engine, in which all weights compete for the cache. Prints the median of the rounds in microseconds
per sample.
"""

import argparse
import statistics
import time
from typing import Any

import numpy as np
import torch

from wavenet.bench.configurations import CONFIGURATIONS, build_named_model
from wavenet.bench.machine import describe_machine
from wavenet.engines.cpu import int8_loop as loop
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.cpu.int8_kernels import quantise_row
from wavenet.engines.cpu.jit import compiled
from wavenet.engines.cpu.threads import make_counters, make_partition
from wavenet.engines.kernel_inputs import make_sampling_rules
from wavenet.sampling import SamplingConfig


@compiled
def run_chain(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """Embedding, current taps, gates and residuals of all layers."""
    for n in range(noise.shape[1]):
        loop.embed_codes(w, shape, workspace, last)
        loop._run_chain(w, shape, rings, workspace, frames, cursor, n, partition)
    return noise.shape[1]


@compiled
def run_past_taps(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """Past taps of all layers, for several samples at once."""
    samples = noise.shape[1]
    for n in range(samples):
        for layer in range(shape.layers):
            loop._accumulate_ahead(w, shape, rings, workspace, layer, cursor, n, samples)
    return samples


@compiled
def run_skips(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """Skips of all layers."""
    for n in range(noise.shape[1]):
        loop._add_skips(w, shape, workspace, n, partition)
    return noise.shape[1]


@compiled
def run_head(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """Hidden layer and output layer."""
    for _ in range(noise.shape[1]):
        loop._run_output_layers(w, shape, workspace)
    return noise.shape[1]


@compiled
def run_draw(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """Softmax and draw."""
    for n in range(noise.shape[1]):
        loop.draw_codes(shape, workspace, last, noise, rules, codes, n, 1)
    return noise.shape[1]


@compiled
def run_rounding(w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes):  # type: ignore[no-untyped-def]
    """The rounding of the inputs of all layers, a part of the chain."""
    for _ in range(noise.shape[1]):
        for _layer in range(shape.layers):
            quantise_row(workspace.x_q, 0, shape.ring_width, workspace.x, 0)
    return noise.shape[1]


PARTS = {
    "chain of layers": run_chain,
    "  of which rounding": run_rounding,
    "past taps": run_past_taps,
    "skips": run_skips,
    "output layers": run_head,
    "softmax and draw": run_draw,
    "whole sample": loop.generate_int8_samples,
}


def make_arguments(engine: CpuEngine, samples: int) -> tuple[Any, ...]:
    """Return the arguments of the compiled functions for one stream."""
    state = engine.start(engine.model.conditioning([{}], [samples], None))
    return (
        engine._weights,
        engine._shape,
        state.memory.rings.numpy().reshape(-1),
        engine._make_workspace(1),
        engine._bias_frames(state, range(samples), range(1)),
        0,
        state.last.numpy().copy(),
        np.random.default_rng(0).random((1, samples), np.float32),
        make_sampling_rules(SamplingConfig()),
        make_partition(engine._shape, 0, 1, make_counters(0)),
        np.zeros((1, samples), np.int64),
    )


def main() -> None:
    """Measure and print all parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--configuration", choices=list(CONFIGURATIONS), default="A")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = build_named_model(options.configuration).model
    arguments = make_arguments(CpuEngine(model, "int8", threads=1), options.samples)
    for part in PARTS.values():
        part(*arguments)
    times: dict[str, list[float]] = {name: [] for name in PARTS}
    for _ in range(options.rounds):
        for name, part in PARTS.items():
            start = time.perf_counter()
            part(*arguments)
            times[name].append(1e6 * (time.perf_counter() - start) / options.samples)
    print(describe_machine())
    for name, values in times.items():
        print(f"{name:20} {statistics.median(values):6.2f} us")


if __name__ == "__main__":
    main()
