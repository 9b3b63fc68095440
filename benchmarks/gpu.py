"""Measure the engines of a GPU and training, after comparing each engine with the reference.

    python benchmarks/gpu.py [--configuration A] [--streams 4096] [--seconds 450] [--device cuda]

The models are A, B and S of `wavenet bench`, and A with 128 skip channels (the sizes with which
nv-wavenet was measured). Training is measured first, so that there is always time for it: steps
with batches of 32 clips of one second, in bf16, their share of the rate that a large matrix product
reaches in the same run, and whether a step waits for the device. Then each engine is compared with
`reference` on the device: its predictions for the same codes, with several streams, and the codes
that it draws. An engine that fails is not measured. The others generate one stream and many; a run
takes about a quarter of a second, timed by events of the device, and a figure is the median of 5
runs. No new measurement starts after --seconds; what was not measured is listed. The last line
is one JSON document.

With --device cpu the same code runs eagerly and very slowly, as a test of this file.
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
from wavenet.bench.machine import describe_machine
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig
from wavenet.training.batches import Batch, MicroBatches
from wavenet.training.dataset import Dataset
from wavenet.training.loop import train_step
from wavenet.training.prefetch import encode_batch
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
# There is one kernel for few streams and one for many.
CHECKED_STREAMS, CHECKED_SAMPLES = (3, 20), 12
TOLERANCE = {
    "fp32": 1e-3,
    "bf16": 5e-3,
}  # relative to the largest logit; bf16 is compared with rounded weights
MATRIX = 8192  # rows and columns of the product that measures the matrix rate
TRAINING_MODELS = ("A", "B")
TRAINING_BATCH = 32  # clips of one second
STEPS = 4  # timed together, so that the device does not wait for Python


def make_model(name: str, device: str) -> WaveNet:
    """Build a model, always with the same random weights."""
    torch.manual_seed(0)
    return WaveNet(SHAPES[name], BITS, SAMPLE_RATE).requires_grad_(False).eval().to(device)


def measure_seconds(work: Callable[[], object], device: str) -> float:
    """Measure the duration of work, by events of the device or by the clock of the CPU."""
    if device == "cpu":
        start = time.perf_counter()
        work()
        return time.perf_counter() - start
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()
    work()
    last.record()
    torch.cuda.synchronize()
    return float(first.elapsed_time(last)) / 1000


def compare_with_reference(engine: Any, device: str, streams: int) -> float:
    """Return the largest difference from the reference for the same codes, over its largest logit.

    The result is infinity if most of the codes drawn afterwards with the same noise differ.
    """
    model = engine.model
    reference = make_engine("reference", model)
    codes = torch.randint(0, model.n_classes, (streams, CHECKED_SAMPLES), device=device)
    largest_difference = largest_logit = 0.0
    conditioning = model.conditioning([{}] * streams, [CHECKED_SAMPLES] * streams)
    ours, right = engine.start(conditioning), reference.start(conditioning)
    for t in range(CHECKED_SAMPLES):
        actual, expected = engine.predict(ours), reference.predict(right)
        difference = float((actual - expected).abs().max())
        largest_difference = max(largest_difference, difference)
        largest_logit = max(largest_logit, float(expected.abs().max()))
        engine.accept(ours, codes[:, t])
        reference.accept(right, codes[:, t])
    noise = torch.rand(streams, CHECKED_SAMPLES, device=device)
    drawn = (
        one.run(s, CHECKED_SAMPLES, SamplingConfig(), noise)
        for one, s in ((engine, ours), (reference, right))
    )
    # A uniform can lie on an edge of the CDF, and after one different code all others can differ.
    same = float(torch.eq(*drawn).float().mean())
    return largest_difference / largest_logit if same > 0.5 else math.inf


def measure(engine: Any, streams: int, device: str, samples: int | None) -> dict[str, float]:
    """Measure the samples per second of all streams together, and the memory that they use."""
    total = 1 << 30
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    state = engine.start(engine.model.conditioning([{}] * streams, [total] * streams))

    def run(n: int) -> float:
        noise = torch.rand(streams, n, device=device)
        return measure_seconds(lambda: engine.run(state, n, SamplingConfig(), noise), device)

    n = samples or 16
    run(n)  # compiles or captures
    if samples is None:
        for _ in range(2):
            n = max(8, min(100_000, round(n * RUN_SECONDS / max(run(n), 1e-6))))
    duration = statistics.median(run(n) for _ in range(RUNS))
    memory = 0 if device == "cpu" else torch.cuda.max_memory_allocated()
    return {"samples_per_second": streams * n / duration, "samples": n, "memory_bytes": memory}


def matrix_rate(device: str) -> float:
    """Measure the multiply-adds per second of one large product in bf16."""
    size = MATRIX if device != "cpu" else 256
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    measure_seconds(lambda: left @ right, device)
    return size**3 / statistics.median(
        measure_seconds(lambda: left @ right, device) for _ in range(9)
    )


def train(name: str, device: str, samples: int | None) -> dict[str, Any]:
    """Measure training steps in bf16, and check whether a step waits for the device."""
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
    device_batch = MicroBatches([encode_batch(batch, state.model).to(on)], codes.numel())

    def steps(count: int = STEPS) -> None:
        for _ in range(count):
            train_step(task, state, device_batch)

    steps()
    waits = device != "cpu" and waits_for_device(lambda: steps(1))
    duration = statistics.median(measure_seconds(steps, device) for _ in range(RUNS)) / STEPS
    # One forward pass, and in the backward pass one product for inputs and one for weights.
    products = 3 * state.ema_model.macs_per_sample
    rate = clips * length / duration
    return {"samples_per_second": rate, "macs_per_second": rate * products, "waits": waits}


def waits_for_device(work: Callable[[], object]) -> bool:
    """Return whether Python waits for the device during the work."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        work()
    except RuntimeError as error:
        print(f"a step waits for the device: {first_line(error)}")
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


def describe_kernel(engine: Any) -> str:
    """Describe the kernel for few streams; "" if the engine has only one kernel."""
    if not hasattr(engine, "cluster_reason"):
        return ""
    if engine.cluster_reason:
        return f"one stream runs in the kernel for many: {engine.cluster_reason}"
    plan = engine._cluster.plan
    return (
        f"one stream runs in a cluster of {plan.blocks} blocks, {plan.layers_per_block} layers each"
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error message, without the advice that follows."""
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]


def list_cases(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, list[int]]]:
    """Yield models, engines, precisions and numbers of streams."""
    for name, (engine, precision) in product(arguments.configuration or SHAPES, ENGINES):
        yield name, engine, precision, arguments.streams or list(STREAMS)


def measure_engines(arguments: argparse.Namespace, start: float) -> tuple[list[Any], list[str]]:
    """Compare and measure each engine; return the rows, and what was skipped and why."""
    rows, skipped = [], []
    device = arguments.device
    for name, engine_name, precision, streams in list_cases(arguments):
        label = f"{name} {engine_name} {precision}"
        try:
            engine = make_engine(engine_name, make_model(name, device), precision)
            difference = max(
                compare_with_reference(engine, device, count) for count in CHECKED_STREAMS
            )
            description = describe_kernel(engine)
            if description:
                print(f"{label}: {description}")
        except EngineUnavailable as error:
            skipped.append(f"{label}: {error}")
            continue
        except Exception as error:  # an error of one engine must not lose the figures of the others
            skipped.append(f"{label}: FAILED, {first_line(error)}")
            continue
        if difference > TOLERANCE[precision]:
            skipped.append(
                f"{label}: WRONG, differs from the reference by {difference:.2g} of its largest "
                "logit"
            )
            continue
        for count in streams:
            if time.perf_counter() - start > arguments.seconds:
                skipped.append(f"{label}, {count} streams: no time left")
                continue
            try:
                result = measure(engine, count, device, arguments.samples)
            except torch.OutOfMemoryError:
                skipped.append(f"{label}, {count} streams: too little memory")
                continue
            except Exception as error:
                skipped.append(f"{label}, {count} streams: FAILED, {first_line(error)}")
                continue
            rows.append({"configuration": name, "engine": engine_name, "precision": precision})
            rows[-1] |= {"streams": count, "difference": difference, **result}
            speed, memory = result["samples_per_second"], result["memory_bytes"] / 1e9
            print(f"{label:18} {count:6,} streams {speed:16,.0f} samples/s {memory:8.2f} GB")
    return rows, skipped


def main() -> None:
    """Compare, measure, and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--configuration", action="append", choices=list(SHAPES))
    parser.add_argument("--streams", action="append", type=int)
    parser.add_argument(
        "--seconds", type=float, default=450.0, help="start no measurement after this time"
    )
    parser.add_argument(
        "--samples", type=int, help="samples per run, instead of a quarter of a second"
    )
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA device; --device cpu only tests this file")
    start, device = time.perf_counter(), arguments.device
    peak = matrix_rate(device)
    trained, failed = {}, []
    for name in [name for name in TRAINING_MODELS if name in (arguments.configuration or SHAPES)]:
        try:
            trained[name] = train(name, device, arguments.samples)
        except Exception as error:
            failed.append(f"training {name}: FAILED, {first_line(error)}")
            continue
        share = trained[name]["share"] = trained[name]["macs_per_second"] / peak
        speed = trained[name]["samples_per_second"]
        print(f"training {name} bf16 {speed:,.0f} samples/s, {share:.0%} of the matrix rate")
    rows, skipped = measure_engines(arguments, start)
    skipped = failed + skipped
    for sentence in skipped:
        print(f"not measured: {sentence}")
    about = {
        "device": torch.cuda.get_device_name() if device == "cuda" else "CPU",
        "machine": describe_machine(),
        "bf16_macs_per_second": peak,
        "seconds": round(time.perf_counter() - start),
    }
    print(json.dumps({**about, "rows": rows, "training": trained, "skipped": skipped}))


if __name__ == "__main__":
    main()
