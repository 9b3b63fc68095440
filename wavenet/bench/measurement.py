"""Speed of the engines: engines x models x streams x precisions x threads.

Input: the options of a user. Output: one `Measurement` per case, with its share of the machine's
ceilings and its ratio to the engine in plain torch, all measured in the same run. Called by
`wavenet bench`, the studio and `benchmarks/`.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch

from wavenet.bench.configurations import BenchmarkModel
from wavenet.bench.machine import (
    Ceilings,
    calibrate,
    measure_ceilings,
    measure_core_latency,
    torch_threads,
)
from wavenet.devices import available_cores, device_errors
from wavenet.engines.cpu.threads import TWO_THREADS_SUPPORTED
from wavenet.engines.registry import (
    GPU_NAMES,
    NON_GPU_NAMES,
    PRECISIONS,
    ROUNDING_NAMES,
    device_for,
    make_engine,
)
from wavenet.errors import ConfigError, EngineUnavailable
from wavenet.model.frame_features import example_conditions
from wavenet.model.memory import RingMemory
from wavenet.sampling import SamplingConfig

BASELINE = "cached"  # the engine in plain torch; the others are compared with it
SECONDS = 0.5  # duration of one run
MAX_STREAMS = 1024  # the ring buffers of B take 3 MB per stream
MAX_GPU_STREAMS = 8192
MAX_THREADS = 2


@dataclass(frozen=True)
class BenchmarkCase:
    """One measurement, before it is done.

    Attributes:
        engine: one of `registry.NON_GPU_NAMES` or `registry.GPU_NAMES`.
        configuration: name of the model.
        streams: number of clips generated at once.
        precision: how the engine stores weights, one of `PRECISIONS`.
        threads: of the engine.
    """

    engine: str
    configuration: str
    streams: int
    precision: str
    threads: int


@dataclass(frozen=True)
class Measurement(BenchmarkCase):
    """The result of one case; the rates are those of all streams together.

    Attributes:
        samples_per_second: the median over the runs.
        times_real_time: samples_per_second / the sample rate of the model.
        macs_per_second: multiply-adds.
        weight_bytes_per_second: each weight counts once per step, for any number of streams.
        share_of_ceiling: achieved rate / ceiling, of reading or of multiplying: the larger of the
            two. None on a GPU, whose ceilings `benchmarks/gpu.py` measures.
        ratio_to_cached: speed relative to the engine cached on the CPU with equally many streams;
            None if that was not measured.
        core_latency: core-to-core latency in seconds, the median of one measurement before each
            run; None for one thread.
    """

    samples_per_second: float
    times_real_time: float
    macs_per_second: float
    weight_bytes_per_second: float
    share_of_ceiling: float | None
    ratio_to_cached: float | None
    core_latency: float | None = None


def plan_cases(
    configurations: Sequence[str],
    engines: Sequence[str],
    streams: Sequence[int],
    precisions: Sequence[str],
    threads: Sequence[int],
) -> list[BenchmarkCase]:
    """Return the cases that can be measured; for each number of streams, the baseline is first.

    Combinations that an engine does not support are omitted: only cpu and gpu support bf16, and
    only cpu supports two threads, which need two cores.

    Raises:
        ConfigError: a number of streams or threads is out of range, or an engine needs a GPU and
            this machine has none.
        EngineUnavailable: an engine or a precision is unknown, or no case can be measured.
    """
    _check_names("engine", engines, (*NON_GPU_NAMES, *GPU_NAMES))
    _check_names("precision", precisions, PRECISIONS)
    for engine in engines:
        device_for(engine)
    all_on_gpu = all(engine in GPU_NAMES for engine in engines)
    for name, values, maximum in (
        ("streams", streams, MAX_GPU_STREAMS if all_on_gpu else MAX_STREAMS),
        ("threads", threads, MAX_THREADS),
    ):
        for value in values:
            if not 1 <= value <= maximum:
                raise ConfigError(f"--{name} must be 1 to {maximum:,}, found {value:,}")
    ordered = sorted(dict.fromkeys(engines), key=lambda name: name != BASELINE)
    combinations = product(configurations, streams, ordered, precisions, threads)
    cases = dict.fromkeys(BenchmarkCase(e, c, s, p, t) for c, s, e, p, t in combinations)
    supported = [case for case in cases if _is_supported(case)]
    if not supported:
        raise EngineUnavailable(
            f"nothing to measure: {', '.join(ordered)} cannot run in {', '.join(precisions)} on "
            f"{' or '.join(map(str, threads))} threads here; cached, reference and graph support "
            f"fp32 and one thread, gpu fp32 and bf16 and one thread, cpu as many threads as there "
            f"are cores, at most {MAX_THREADS}"
        )
    return supported


def _check_names(kind: str, names: Iterable[str], expected: Sequence[str]) -> None:
    for name in names:
        if name not in expected:
            raise EngineUnavailable(
                f"unknown {kind} {name!r}; expected one of {', '.join(expected)}"
            )


def _is_supported(case: BenchmarkCase) -> bool:
    if case.engine != "cpu":
        known = ROUNDING_NAMES.get(case.precision, (case.engine,))
        return case.threads == 1 and case.engine in known
    return case.threads == 1 or (TWO_THREADS_SUPPORTED and available_cores() >= case.threads)


def measure_all(
    models: Mapping[str, BenchmarkModel],
    cases: Sequence[BenchmarkCase],
    runs: int,
    on_ceilings: Callable[[Ceilings], None],
    on_measurement: Callable[[Measurement], None],
) -> tuple[Ceilings, list[Measurement]]:
    """Measure the ceilings of the machine, then the cases one after the other.

    Args:
        models: by the names that the cases use.
        cases: from `plan_cases`.
        runs: per case.
        on_ceilings, on_measurement: called with each result immediately.
    """
    on_cpu = [case for case in cases if case.engine not in GPU_NAMES]
    sizes = [models[case.configuration].weight_bytes(case.precision) for case in on_cpu]
    ceilings = measure_ceilings(sizes, [case.threads for case in on_cpu])
    on_ceilings(ceilings)
    baselines: dict[tuple[str, int], float] = {}
    measurements = []
    for case in cases:
        model, key = models[case.configuration], (case.configuration, case.streams)
        speed, core_latency = measure_case(case, model, runs)
        if case.engine == BASELINE:
            baselines[key] = speed
        result = make_measurement(case, model, speed, ceilings, baselines.get(key))
        measurements.append(replace(result, core_latency=core_latency))
        on_measurement(measurements[-1])
    return ceilings, measurements


@device_errors(memory_advice="use fewer --streams")
def measure_case(
    case: BenchmarkCase, benchmark_model: BenchmarkModel, runs: int, seconds: float = SECONDS
) -> tuple[float, float | None]:
    """Measure the speed of one case, after a warm-up.

    Args:
        case: the case to measure.
        benchmark_model: the model of the case.
        runs: number of runs, of which the median is returned.
        seconds: approximate duration of each run.
    Returns:
        Samples/s of all streams together, and the core-to-core latency in seconds, which is None
        for one thread.
    """
    # Engines that are not for a GPU are measured on the CPU, even if there is a GPU.
    device = device_for(case.engine, "auto" if case.engine in GPU_NAMES else "cpu")
    model = benchmark_model.model.to(device)
    engine = make_engine(case.engine, model, case.precision, case.threads)
    total = 60 * model.sample_rate
    labels, frame = example_conditions(engine.model.config)
    conditioning = engine.model.conditioning(
        [labels] * case.streams, [total] * case.streams, [frame] * case.streams
    )
    state = engine.start(conditioning)
    if case.engine == "reference":
        # It computes one receptive field per sample, but less near the start of a clip.
        field = model.receptive_field
        length = model.sample_rate if field is None else max(1, field)
        prompt = torch.full((length,), model.start_code)
        engine.prefill(state, [prompt] * case.streams)
    if isinstance(state.memory, RingMemory):
        # The first access to a memory page is much slower than a sample, so all pages are touched.
        state.memory.rings.zero_()
    generator = torch.Generator().manual_seed(0)

    def run(n: int) -> float:
        noise = torch.rand(case.streams, n, generator=generator).to(device)
        start = time.perf_counter()
        engine.run(state, n, SamplingConfig(), noise)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    with torch_threads(1):  # The products are small: a second thread of torch makes them slower.
        n = calibrate(run, seconds)
        durations, latencies = [], []
        for _ in range(runs):
            if case.threads > 1:
                latencies.append(measure_core_latency())
            durations.append(run(n))
    speed = case.streams * n / statistics.median(durations)
    return speed, statistics.median(latencies) if latencies else None


def make_measurement(
    case: BenchmarkCase,
    benchmark_model: BenchmarkModel,
    speed: float,
    ceilings: Ceilings,
    baseline: float | None,
) -> Measurement:
    """Compute all figures of a measured speed.

    Args:
        case: the measured case.
        benchmark_model: the model of the case.
        speed: samples/s of all streams together.
        ceilings: of the machine, from the same run.
        baseline: samples/s of the engine cached, with the same model and equally many streams.
    """
    size = benchmark_model.weight_bytes(case.precision)
    macs = speed * benchmark_model.matrix_weights
    read = speed / case.streams * size
    if case.engine in GPU_NAMES:
        share = None
    else:
        share = max(
            read / ceilings.read_bandwidth[size, case.threads],
            macs / ceilings.multiply_rate[case.threads],
        )
    return Measurement(
        case.engine,
        case.configuration,
        case.streams,
        case.precision,
        case.threads,
        samples_per_second=speed,
        times_real_time=speed / benchmark_model.model.sample_rate,
        macs_per_second=macs,
        weight_bytes_per_second=read,
        share_of_ceiling=share,
        ratio_to_cached=None if baseline is None else speed / baseline,
    )
