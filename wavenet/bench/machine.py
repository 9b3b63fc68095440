"""Ceilings of this machine, estimates of its highest speed, and its core-to-core latency.

Input: sizes and numbers of threads. Output: measured rates. An engine reads each weight once per
step and does one multiply-add for each, so the memory bandwidth and the rate of matrix products
limit its speed (the roofline model). Both are measured in the same run as the engines, because
clock rates and the load of other virtual machines change from minute to minute. Other programs can
lower a measured ceiling, so an engine can exceed it. Called by `measurement`, and by the benchmarks
for the description of the machine.
"""

import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import accumulate
from threading import Barrier
from typing import Any

import numba
import numpy as np
import torch

from wavenet.devices import processor_name
from wavenet.engines.cpu.threads import (
    ThreadPartition,
    make_counters,
    mark_reached,
    run_in_parallel,
    wait,
)

MATRIX_SIZE = 512  # rows and columns of the products: large enough for the library's best speed
# Many short attempts: during some of them all cores are idle, even if other programs run.
SECONDS = 0.01  # duration of one attempt
ATTEMPTS = 40
LATENCY_ATTEMPTS = 5  # each of a fifth of `SECONDS`
READ_CHAINS = 4  # independent sums in the reading loop; a single chain of additions is too slow
WORD_BYTES = 8  # int64

Rate = float  # per second


@dataclass(frozen=True)
class Ceilings:
    """The ceilings of this machine: the highest rates that were measured.

    Attributes:
        read_bandwidth: bytes/s by (size in bytes, threads), for repeated reads of one buffer.
        multiply_rate: multiply-adds/s in float32, by threads.
    """

    read_bandwidth: dict[tuple[int, int], Rate]
    multiply_rate: dict[int, Rate]


def measure_ceilings(sizes: Sequence[int], threads: Sequence[int]) -> Ceilings:
    """Measure the read bandwidth for each size, and the rate of matrix products.

    Args:
        sizes: bytes of weights.
        threads: numbers of threads.
    """
    numbers = sorted(set(threads))
    read: dict[tuple[int, int], Rate] = {}
    for size in dict.fromkeys(sizes):
        rates = running_maximum([measure_read_bandwidth(size, number) for number in numbers])
        read |= {(size, number): rate for number, rate in zip(numbers, rates, strict=True)}
    rates = running_maximum([measure_multiply_rate(number) for number in numbers])
    return Ceilings(read, dict(zip(numbers, rates, strict=True)))


def running_maximum(rates: Sequence[Rate]) -> list[Rate]:
    """Return the running maximum: for each rate, the maximum of it and all before.

    The ceiling of more threads is at least that of fewer, because some threads may idle.
    """
    return list(accumulate(rates, max))


def measure_read_bandwidth(size: int, threads: int, seconds: float = SECONDS) -> Rate:
    """Measure the rate of repeated reads of a buffer, from the cache that it fits into.

    Args:
        size: bytes, rounded down to whole words for each thread.
        threads: each reads its own part of the buffer.
        seconds: duration of one attempt.
    Returns:
        Bytes/s of all threads together, the best attempt.
    """
    words = max(size // (WORD_BYTES * READ_CHAINS * threads), 1) * READ_CHAINS
    buffer = np.ones((threads, words), np.int64)

    def run(passes: int) -> float:
        return time_in_parallel([partial(_sum_buffer, part, passes) for part in buffer])

    return best_rate(run, buffer.nbytes, seconds)


def measure_multiply_rate(threads: int, seconds: float = SECONDS) -> Rate:
    """Measure the rate at which torch multiplies float32 matrices.

    Args:
        threads: each multiplies its own matrices, so that none waits for another.
        seconds: duration of one attempt.
    Returns:
        Multiply-adds/s of all threads together, the best attempt.
    """
    matrices = torch.ones(threads, 3, MATRIX_SIZE, MATRIX_SIZE)

    def multiply(part: torch.Tensor, repetitions: int) -> None:
        torch.set_num_threads(1)  # set in each thread, because MKL stores one number per thread
        a, b, product = part
        for _ in range(repetitions):
            torch.mm(a, b, out=product)

    def run(repetitions: int) -> float:
        return time_in_parallel([partial(multiply, part, repetitions) for part in matrices])

    with torch_threads(1):
        return best_rate(run, threads * MATRIX_SIZE**3, seconds)


def measure_core_latency() -> float:
    """Measure the core-to-core latency by a ping-pong between two threads.

    The host of a virtual machine chooses its cores, and changes them. If the two cores are far
    apart, data written by one core reach the other several times later than on close cores, and two
    threads on one stream are not faster than one.

    Returns:
        Seconds from a write on one core until the other core has read it, the best attempt.
    """
    empty = (0, 0)

    def run(repetitions: int) -> float:
        counters = make_counters(1)
        parts = (
            ThreadPartition(part, 2, counters, empty, empty, empty, empty, 0, False)
            for part in range(2)
        )
        first, second = (partial(_ping_pong, part, repetitions) for part in parts)
        start = time.perf_counter()
        run_in_parallel(first, second, counters)
        return time.perf_counter() - start

    repetitions = calibrate(run, SECONDS / 5)
    return min(run(repetitions) for _ in range(LATENCY_ATTEMPTS)) / repetitions / 2


def best_rate(run: Callable[[int], float], amount: float, seconds: float) -> Rate:
    """Return the best rate of `ATTEMPTS` attempts, because interference only slows an attempt.

    Args:
        run: does the work a number of times, its argument, and returns the duration in seconds.
        amount: of work done each time.
        seconds: duration of one attempt.
    """
    repetitions = calibrate(run, seconds)
    return amount * repetitions / min(run(repetitions) for _ in range(ATTEMPTS))


def calibrate(run: Callable[[int], float], seconds: float) -> int:
    """Return the number of repetitions of the work that take about `seconds`.

    The first call compiles and warms up; its duration is ignored.
    """
    run(1)
    repetitions = 1
    while (duration := run(repetitions)) < seconds / 4:
        # At most 16 times more per iteration: very short runs predict long ones badly.
        repetitions *= 2 if duration > seconds / 16 else 16
    return max(1, round(repetitions * seconds / duration))


def time_in_parallel(calls: Sequence[Callable[[], object]]) -> float:
    """Run each call in its own thread; return the seconds from the first start to the last end."""
    barrier = Barrier(len(calls))

    def timed(call: Callable[[], object]) -> tuple[float, float]:
        barrier.wait()
        start = time.perf_counter()
        call()
        return start, time.perf_counter()

    with ThreadPoolExecutor(len(calls)) as pool:
        spans = list(pool.map(timed, calls))
    return max(end for _, end in spans) - min(start for start, _ in spans)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Set the number of torch's threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, Any]:
    """Return the hardware, the versions, the load and the date of a measurement."""
    return {
        "processor": processor_name(),
        "cores": os.cpu_count(),
        # Load average of the last minute: other programs that ran before the measurement.
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


_njit: Any = numba.njit  # numba.njit has no type annotations


@_njit(nogil=True)
def _sum_buffer(buffer, passes):  # type: ignore[no-untyped-def]
    """Sum a buffer of int64 with `READ_CHAINS` independent sums."""
    a = b = c = d = 0
    quarter = buffer.size // 4
    for _ in range(passes):
        for k in range(quarter):
            a += buffer[k]
            b += buffer[quarter + k]
            c += buffer[2 * quarter + k]
            d += buffer[3 * quarter + k]
    return a + b + c + d


@_njit(nogil=True)
def _ping_pong(partition, repetitions):  # type: ignore[no-untyped-def]
    """Answer the other thread a number of times; the first thread begins."""
    for turn in range(repetitions):
        if partition.thread == 0:
            mark_reached(partition, 0, turn)
        if not wait(partition, 0, turn):
            return -1
        if partition.thread == 1:
            mark_reached(partition, 0, turn)
    return repetitions
