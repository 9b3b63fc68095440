"""Measure the time of a sample at growing positions in a clip, with attention and without a memory.

    python benchmarks/attention_cost.py [--samples 11] [--figure docs/figures/attention-cost.png]

Each model generates one stream on a CPU with one thread, in float32 with random weights, by two
engines: reference (naive: a forward pass over the past for every sample) and cached (the memory of
the model). Models, of equal width and depth:
- full: a transformer whose context is the position, so that it reads the whole clip;
- sliding: a transformer with a context of 256; naive, it computes one receptive field;
- linear: linear attention;
- wavenet: a WaveNet with about as many weights and a receptive field of 1,023 samples.
The time is the median of the samples just before a position. The engines take turns at each
position. The last line is one JSON document.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from wavenet.bench.machine import describe_machine
from wavenet.engines.registry import make_engine
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.linear_attention import LinearAttention, LinearAttentionConfig
from wavenet.model.transformer import Transformer, TransformerConfig
from wavenet.model.wavenet import WaveNet, WaveNetConfig

POSITIONS = tuple(128 << n for n in range(6))  # 128 to 4,096
ENGINES = ("reference", "cached")
BITS, SAMPLE_RATE = 8, 16_000
SIZES: dict[str, Any] = {"channels": 64, "heads": 4, "layers": 3, "feedforward_channels": 192}
WARM_UP = 2  # samples before those that are timed

Times = dict[str, dict[int, float]]  # "model engine" -> position -> microseconds per sample


def make_full(position: int) -> AutoregressiveModel[Any]:
    """Return a transformer that reads a clip up to a position."""
    config = TransformerConfig(**SIZES, context=position, sliding=False)
    return Transformer(config, BITS, SAMPLE_RATE)


def make_sliding(position: int) -> AutoregressiveModel[Any]:
    """Return a transformer with a context of 256, at any position."""
    return Transformer(TransformerConfig(**SIZES, context=256), BITS, SAMPLE_RATE)


def make_linear(position: int) -> AutoregressiveModel[Any]:
    """Return a model with linear attention, at any position."""
    return LinearAttention(LinearAttentionConfig(**SIZES), BITS, SAMPLE_RATE)


def make_wavenet(position: int) -> AutoregressiveModel[Any]:
    """Return a WaveNet, at any position."""
    dilations = tuple(1 << n % 9 for n in range(18))
    config = WaveNetConfig(
        residual_channels=32, gate_channels=32, skip_channels=64, dilations=dilations
    )
    return WaveNet(config, BITS, SAMPLE_RATE)


MODELS: dict[str, Callable[[int], AutoregressiveModel[Any]]] = {
    "full": make_full,
    "sliding": make_sliding,
    "linear": make_linear,
    "wavenet": make_wavenet,
}


def measure(model: AutoregressiveModel[Any], name: str, position: int, samples: int) -> float:
    """Return the median of the microseconds per sample just before a position."""
    engine = make_engine(name, model)
    codes = torch.randint(model.n_classes, (1, position))
    state = engine.start(model.conditioning([{}], [position]))
    first = position - samples - WARM_UP
    engine.prefill(state, [codes[0, :first]])
    times = []
    for t in range(first, position):
        begin = time.perf_counter()
        engine.predict(state)
        times.append((time.perf_counter() - begin) * 1e6)
        engine.accept(state, codes[:, t])
    return statistics.median(times[WARM_UP:])


def draw(times: Times) -> Figure:
    """Draw the time per sample against the position, on logarithmic axes."""
    figure = Figure(figsize=(7.5, 4), layout="constrained")
    axes = figure.subplots()
    colors = dict(zip(MODELS, ("#31688e", "#d95f02", "#1b7837", "#9a9a9a"), strict=True))
    for name, by_position in times.items():
        model, engine = name.split()
        style = "--" if engine == "reference" else "-"
        label = f"{model}, {'naive' if engine == 'reference' else 'cached'}"
        points = list(by_position.keys()), list(by_position.values())
        axes.loglog(*points, style, marker="o", markersize=4, color=colors[model], label=label)
    axes.set_xticks(POSITIONS, [f"{position:,}" for position in POSITIONS], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("position in the clip (samples)")
    axes.set_ylabel("time per sample (µs)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure


def main() -> None:
    """Run all measurements and print them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=11, help="timed per position, up to 100")
    parser.add_argument("--figure", type=Path, help="write a plot to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    times: Times = {f"{name} {engine}": {} for name in MODELS for engine in ENGINES}
    with torch.no_grad():
        for position in POSITIONS:
            for name, make in MODELS.items():
                model = make(position).requires_grad_(False).eval()
                for engine in ENGINES:
                    found = measure(model, engine, position, min(arguments.samples, 100))
                    times[f"{name} {engine}"][position] = found
    print(" " * 20 + "".join(f"{position:>10,}" for position in POSITIONS) + "  samples")
    for name, by_position in times.items():
        print(f"{name:20}" + "".join(f"{found:10,.0f}" for found in by_position.values()) + "  us")
    if arguments.figure:
        draw(times).savefig(arguments.figure, dpi=130, metadata={"Software": None})
        print(arguments.figure)
    record = {
        "benchmark": "attention_cost",
        "machine": describe_machine(),
        "samples": arguments.samples,
        "microseconds": times,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
