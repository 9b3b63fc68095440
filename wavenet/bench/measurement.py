"""Speeds: engines x networks x streams x precisions x threads.

What a person asks for enters; a `Row` per measurement leaves, with its share of what the machine
could do and its ratio to the plain torch engine, all of one run.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch

from wavenet.bench.configurations import BYTES_PER_WEIGHT, Network
from wavenet.bench.machine import (
    Ceilings,
    calibrate,
    measure_ceilings,
    measure_handover,
    torch_threads,
)
from wavenet.config import SamplingConfig
from wavenet.devices import device_faults
from wavenet.engines.cpu_threads import CAN_WAIT, available_cores
from wavenet.engines.registry import GPU_NAMES, NAMES, PRECISIONS, device_for, make_engine
from wavenet.engines.rings import RingState
from wavenet.errors import ConditionError, EngineUnavailable
from wavenet.model.features import example

BASELINE = "cached"  # the engine in plain torch, to which the others are compared
REAL_TIME = 16_000  # Hz, whatever the rate of the model, so that rows compare
SECONDS = 0.5  # of one run
MAX_STREAMS = 1024  # the rings of B take 3 MB a stream
MAX_GPU_STREAMS = 8192
MAX_THREADS = 2


@dataclass(frozen=True)
class Case:
    """One measurement to make.

    Attributes:
        engine: one of `registry.NAMES` or `registry.GPU_NAMES`.
        configuration: name of the network.
        streams: how many are generated at once.
        precision: how the weights are stored.
        threads: of the engine.
    """

    engine: str
    configuration: str
    streams: int
    precision: str
    threads: int


@dataclass(frozen=True)
class Row(Case):
    """One measurement made, of all streams together.

    Attributes:
        samples_per_second: the median of some runs.
        times_real_time: samples_per_second / 16,000.
        macs_per_second: multiply-adds.
        weight_bytes_per_second: every weight counted once a step, however many streams share it.
        share_of_ceiling: the larger of the shares of reading and of multiplying that are reached;
            None on a GPU, whose ceilings `benchmarks/gpu.py` measures.
        ratio_to_cached: to the engine cached, on the CPU, as many streams; None where that was not
            measured.
        handover: seconds from core to core, the median of one before each run; None for one thread.
    """

    samples_per_second: float
    times_real_time: float
    macs_per_second: float
    weight_bytes_per_second: float
    share_of_ceiling: float | None
    ratio_to_cached: float | None
    handover: float | None = None


def plan(
    configurations: Sequence[str],
    engines: Sequence[str],
    streams: Sequence[int],
    precisions: Sequence[str],
    threads: Sequence[int],
) -> list[Case]:
    """List what can be measured, for every number of streams the baseline first.

    Combinations that an engine does not offer are left out: 16 bits are for the engines cpu and
    gpu, a second thread is for the engine cpu, and two threads are for two cores.

    Raises:
        ConditionError: a number of streams or threads out of bounds.
        ConfigError: an engine for a GPU, and there is none.
        EngineUnavailable: an engine or a precision is not known, or nothing can be measured.
    """
    _check("engine", engines, (*NAMES, *GPU_NAMES))
    _check("precision", precisions, PRECISIONS)
    for engine in engines:
        device_for(engine)
    on_gpu = all(engine in GPU_NAMES for engine in engines)
    for name, values, most in (
        ("streams", streams, MAX_GPU_STREAMS if on_gpu else MAX_STREAMS),
        ("threads", threads, MAX_THREADS),
    ):
        for value in values:
            if not 1 <= value <= most:
                raise ConditionError(f"--{name} takes 1 to {most:,}; found {value:,}")
    ordered = sorted(dict.fromkeys(engines), key=lambda name: name != BASELINE)
    every = product(configurations, streams, ordered, precisions, threads)
    cases = dict.fromkeys(Case(e, c, s, p, t) for c, s, e, p, t in every)
    possible = [case for case in cases if _is_possible(case)]
    if not possible:
        raise EngineUnavailable(
            f"nothing to measure: {', '.join(ordered)} cannot run in {', '.join(precisions)} on "
            f"{' or '.join(map(str, threads))} threads here; cached, reference and graph take "
            f"fp32 and one thread, gpu one thread, cpu as many threads as there are cores, "
            f"{MAX_THREADS} at most"
        )
    return possible


def _check(what: str, found: Iterable[str], known: Sequence[str]) -> None:
    for name in found:
        if name not in known:
            raise EngineUnavailable(
                f"the {what} {name!r} is not known; choose one of {', '.join(known)}"
            )


def _is_possible(case: Case) -> bool:
    if case.engine != "cpu":
        return case.threads == 1 and (case.precision == "fp32" or case.engine == "gpu")
    return case.threads == 1 or (CAN_WAIT and available_cores() >= case.threads)


def measure_all(
    networks: Mapping[str, Network],
    cases: Sequence[Case],
    runs: int,
    show_ceilings: Callable[[Ceilings], None],
    show_row: Callable[[Row], None],
) -> tuple[Ceilings, list[Row]]:
    """Measure the machine, then every case in turn.

    Args:
        networks: by the name that the cases give.
        cases: from `plan`.
        runs: per case.
        show_ceilings, show_row: called as soon as there is something to show.
    """
    on_cpu = [case for case in cases if case.engine not in GPU_NAMES]
    sizes = [networks[case.configuration].weight_bytes(case.precision) for case in on_cpu]
    ceilings = measure_ceilings(sizes, [case.threads for case in on_cpu])
    show_ceilings(ceilings)
    baselines: dict[tuple[str, int], float] = {}
    rows = []
    for case in cases:
        network, key = networks[case.configuration], (case.configuration, case.streams)
        speed, handover = measure(case, network, runs)
        if case.engine == BASELINE:
            baselines[key] = speed
        row = make_row(case, network.weights, speed, ceilings, baselines.get(key))
        rows.append(replace(row, handover=handover))
        show_row(rows[-1])
    return ceilings, rows


@device_faults(smaller="ask for fewer --streams")
def measure(
    case: Case, network: Network, runs: int, seconds: float = SECONDS
) -> tuple[float, float | None]:
    """Generate with one engine, after a warm-up.

    Args:
        case: what to measure.
        network: the one that the case names.
        runs: of which the median is taken.
        seconds: about as long as each run lasts.
    Returns:
        samples/s of all streams together, and the seconds from core to core if two threads work.
    """
    # whatever else runs on the CPU is measured there, a GPU or none
    device = device_for(case.engine, "auto" if case.engine in GPU_NAMES else "cpu")
    engine = make_engine(case.engine, network.model.to(device), case.precision, case.threads)
    total = 60 * network.model.sample_rate
    labels, frame = example(engine.model.config)
    conditioning = engine.model.conditioning(
        [labels] * case.streams, [total] * case.streams, [frame] * case.streams
    )
    state = engine.start(conditioning)
    if case.engine == "reference":
        # it reads one receptive field for a sample, but at first there is less
        prompt = torch.full((network.model.receptive_field,), network.model.start_code)
        engine.prefill(state, [prompt] * case.streams)
    if isinstance(state, RingState):
        # many long rings are many pages, and the first touch of a page costs far more than a sample
        state.rings.zero_()
    generator = torch.Generator().manual_seed(0)

    def run(n: int) -> float:
        noise = torch.rand(case.streams, n, generator=generator).to(device)
        began = time.perf_counter()
        engine.run(state, n, SamplingConfig(), noise)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    with torch_threads(1):  # small products: a second thread of torch only gets in the way
        n = calibrate(run, seconds)
        took, handovers = [], []
        for _ in range(runs):
            if case.threads > 1:
                handovers.append(measure_handover())
            took.append(run(n))
    speed = case.streams * n / statistics.median(took)
    return speed, statistics.median(handovers) if handovers else None


def make_row(
    case: Case, weights: int, speed: float, ceilings: Ceilings, baseline: float | None
) -> Row:
    """Work out what a speed means.

    Args:
        case: what was measured.
        weights: of all matrices of the network.
        speed: samples/s of all streams together.
        ceilings: of this run.
        baseline: samples/s of the engine cached, on the same network and as many streams.
    """
    size = weights * BYTES_PER_WEIGHT[case.precision]
    macs, read = speed * weights, speed / case.streams * size
    return Row(
        case.engine,
        case.configuration,
        case.streams,
        case.precision,
        case.threads,
        samples_per_second=speed,
        times_real_time=speed / REAL_TIME,
        macs_per_second=macs,
        weight_bytes_per_second=read,
        share_of_ceiling=None
        if case.engine in GPU_NAMES
        else max(read / ceilings.read[size, case.threads], macs / ceilings.multiply[case.threads]),
        ratio_to_cached=None if baseline is None else speed / baseline,
    )
