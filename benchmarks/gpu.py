"""How fast are the engines of a GPU, and do they compute what the reference does on that device?

    python benchmarks/gpu.py [--configuration A] [--streams 4096] [--seconds 450] [--device cuda]

For configurations A, B and S of `wavenet bench` and A with 128 skip channels (the shape that
nv-wavenet was measured with): every engine is first compared with `reference` on the device, its
predictions of given codes by several streams and the codes that it draws, and is not measured where
it fails. Then one stream and many: a run is as long as fits into a quarter of a second, timed by
events of the device, and a figure is the median of 5 runs. Before that training, so that time
always remains for it: steps with batches of 32 clips of a second, in bf16, with their share of the
rate that a large matrix product reaches in the same run, and whether a step ever waits for the
device. After --seconds nothing new is begun; what was left out, or failed, is named. The last line
is one JSON document.

With --device cpu the same runs eagerly and very slowly: a test of this file, not a measurement.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch

from wavenet.bench.configurations import BITS, CONFIGURATIONS, SAMPLE_RATE
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig
from wavenet.training.batches import Batch, MicroBatches
from wavenet.training.dataset import Dataset
from wavenet.training.loop import train_step
from wavenet.training.prefetch import make_device_batch
from wavenet.training.recipe import TrainConfig
from wavenet.training.state import make_state
from wavenet.training.task import CodeLikelihoodTask

SHAPES = {
    **{name: CONFIGURATIONS[name] for name in ("A", "B", "S")},
    "A-S128": CONFIGURATIONS["A"].model_copy(update={"skip_channels": 128}),
}
ENGINES = (("gpu", "fp32"), ("gpu", "bf16"), ("graph", "fp32"))
STREAMS = (1, 64, 1024, 4096, 8192)
RUN_SECONDS, RUNS = 0.25, 5
CHECKED_STREAMS, CHECKED_SAMPLES = (3, 20), 12  # few and many have a kernel each
TOLERANCE = {"fp32": 1e-3, "bf16": 5e-3}  # of the largest logit; bf16 against rounded weights
MATRIX = 8192  # rows and columns of the product that shows the matrix rate
TRAINED = ("A", "B")
TRAINING_BATCH = 32  # clips of a second
STEPS = 4  # timed together, so that the device need not wait for Python


def make_model(name: str, device: str) -> WaveNet:
    """Make a network with the same random weights every time."""
    torch.manual_seed(0)
    return WaveNet(SHAPES[name], BITS, SAMPLE_RATE).requires_grad_(False).eval().to(device)


def seconds_of(work: Callable[[], object], device: str) -> float:
    """Time some work by the events of the device, or by the clock on a CPU."""
    if device == "cpu":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / 1000


def check(engine: Any, device: str, streams: int) -> float:
    """Give the largest difference from the reference, given the same codes, over its largest logit.

    Infinity where most codes differ that are then drawn by the same noise.
    """
    model = engine.model
    reference = make_engine("reference", model)
    codes = torch.randint(0, model.n_classes, (streams, CHECKED_SAMPLES), device=device)
    worst = largest = 0.0
    conditioning = model.conditioning([{}] * streams, [CHECKED_SAMPLES] * streams)
    ours, right = engine.start(conditioning), reference.start(conditioning)
    for t in range(CHECKED_SAMPLES):
        found, expected = engine.step(ours, codes[:, t]), reference.step(right, codes[:, t])
        worst = max(worst, float((found - expected).abs().max()))
        largest = max(largest, float(expected.abs().max()))
    noise = torch.rand(streams, CHECKED_SAMPLES, device=device)
    drawn = (
        one.run(s, CHECKED_SAMPLES, SamplingConfig(), noise)
        for one, s in ((engine, ours), (reference, right))
    )
    # a uniform may lie on an edge, and all codes behind another one may be others
    same = float(torch.eq(*drawn).float().mean())
    return worst / largest if same > 0.5 else math.inf


def measure(engine: Any, streams: int, device: str, samples: int | None) -> dict[str, float]:
    """Time runs of some streams: samples a second of all together, and the memory they take."""
    total = 1 << 30
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    state = engine.start(engine.model.conditioning([{}] * streams, [total] * streams))

    def run(n: int) -> float:
        noise = torch.rand(streams, n, device=device)
        return seconds_of(lambda: engine.run(state, n, SamplingConfig(), noise), device)

    n = samples or 16
    run(n)  # compiles, or captures
    if samples is None:
        for _ in range(2):
            n = max(8, min(100_000, round(n * RUN_SECONDS / max(run(n), 1e-6))))
    taken = statistics.median(run(n) for _ in range(RUNS))
    memory = 0 if device == "cpu" else torch.cuda.max_memory_allocated()
    return {"samples_per_second": streams * n / taken, "samples": n, "memory_bytes": memory}


def matrix_rate(device: str) -> float:
    """Give multiply-adds a second of one large product in bf16."""
    size = MATRIX if device != "cpu" else 256
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds_of(lambda: left @ right, device)
    return size**3 / statistics.median(seconds_of(lambda: left @ right, device) for _ in range(9))


def train(name: str, device: str, samples: int | None) -> dict[str, Any]:
    """Time steps of training in bf16, and see whether one waits for the device."""
    clips, length = (TRAINING_BATCH, SAMPLE_RATE) if samples is None else (2, 64)
    config = CheckpointConfig(
        name=name,
        audio=AudioConfig(sample_rate=SAMPLE_RATE),
        codec=MuLawCodec(bits=BITS),
        model=SHAPES[name],
    )
    settings, on = TrainConfig(steps=100, precision="bf16"), torch.device(device)
    task = CodeLikelihoodTask(config, settings, Dataset())
    state = make_state(task, on)
    codes = torch.randint(0, 1 << BITS, (clips, length))
    mask, start = torch.ones_like(codes, dtype=torch.bool), torch.zeros(clips, dtype=torch.int64)
    batch = Batch(codes, mask, start, [{}] * clips, [length] * clips)
    fed = MicroBatches([make_device_batch(batch, state.model).to(on)], codes.numel())

    def steps(count: int = STEPS) -> None:
        for _ in range(count):
            train_step(task, state, fed)

    steps()
    waits = device != "cpu" and waits_for_device(lambda: steps(1))
    taken = statistics.median(seconds_of(steps, device) for _ in range(RUNS)) / STEPS
    # forward, and in the backward pass once for inputs and once for weights
    products = 3 * state.ema_model.macs_per_sample
    rate = clips * length / taken
    return {"samples_per_second": rate, "macs_per_second": rate * products, "waits": waits}


def waits_for_device(work: Callable[[], object]) -> bool:
    """Say whether Python waits for the device in the middle of some work."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        print(f"a step waits for the device: {first_line(error)}")
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def few_streams(engine: Any) -> str:
    """Say which kernel few streams run in, where an engine has two."""
    if not hasattr(engine, "shared_reason"):
        return ""
    if engine.shared_reason:
        return f"one stream runs in the kernel for many: {engine.shared_reason}"
    plan = engine._few.plan
    return f"one stream runs in a cluster of {plan.blocks} blocks, {plan.layers} layers each"


def first_line(error: Exception) -> str:
    """Give what an error says, without the advice behind it."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def cases(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, list[int]]]:
    """List networks, engines, precisions, numbers of streams."""
    for name, (engine, precision) in product(arguments.configuration or SHAPES, ENGINES):
        yield name, engine, precision, arguments.streams or list(STREAMS)


def measure_engines(arguments: argparse.Namespace, began: float) -> tuple[list[Any], list[str]]:
    """Compare and time every engine; give rows, and what was left out and why."""
    rows, left_out = [], []
    device = arguments.device
    for name, engine_name, precision, streams in cases(arguments):
        what = f"{name} {engine_name} {precision}"
        try:
            engine = make_engine(engine_name, make_model(name, device), precision)
            off = max(check(engine, device, count) for count in CHECKED_STREAMS)
            told = few_streams(engine)
            if told:
                print(f"{what}: {told}")
        except EngineUnavailable as error:
            left_out.append(f"{what}: {error}")
            continue
        except Exception as error:  # one engine's fault must not cost the figures of the others
            left_out.append(f"{what}: FAILED, {first_line(error)}")
            continue
        if off > TOLERANCE[precision]:
            left_out.append(f"{what}: WRONG, {off:.2g} of the largest logit off the reference")
            continue
        for count in streams:
            if time.perf_counter() - began > arguments.seconds:
                left_out.append(f"{what}, {count} streams: no time left")
                continue
            try:
                found = measure(engine, count, device, arguments.samples)
            except torch.OutOfMemoryError:
                left_out.append(f"{what}, {count} streams: too little memory")
                continue
            except Exception as error:
                left_out.append(f"{what}, {count} streams: FAILED, {first_line(error)}")
                continue
            rows.append({"configuration": name, "engine": engine_name, "precision": precision})
            rows[-1] |= {"streams": count, "off": off, **found}
            speed, memory = found["samples_per_second"], found["memory_bytes"] / 1e9
            print(f"{what:18} {count:6,} streams {speed:16,.0f} samples/s {memory:8.2f} GB")
    return rows, left_out


def main() -> None:
    """Check, measure, print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configuration", action="append", choices=list(SHAPES))
    parser.add_argument("--streams", action="append", type=int)
    parser.add_argument("--seconds", type=float, default=450.0, help="begin nothing after these")
    parser.add_argument("--samples", type=int, help="of a run, instead of what fits its time")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device here; --device cpu only tests this file")
    began, device = time.perf_counter(), arguments.device
    peak = matrix_rate(device)
    trained, failed = {}, []
    for name in [name for name in TRAINED if name in (arguments.configuration or SHAPES)]:
        try:
            trained[name] = train(name, device, arguments.samples)
        except Exception as error:
            failed.append(f"training {name}: FAILED, {first_line(error)}")
            continue
        share = trained[name]["share"] = trained[name]["macs_per_second"] / peak
        speed = trained[name]["samples_per_second"]
        print(f"training {name} bf16 {speed:,.0f} samples/s, {share:.0%} of the matrix rate")
    rows, left_out = measure_engines(arguments, began)
    left_out = failed + left_out
    for sentence in left_out:
        print(f"left out: {sentence}")
    about = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "torch": torch.__version__,
        "bf16_macs_per_second": peak,
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps({**about, "rows": rows, "training": trained, "left_out": left_out}))


if __name__ == "__main__":
    main()
