"""What this machine is, and the most it can do: reading memory, multiplying matrices, handing over.

Sizes and numbers of threads enter, measured rates leave. An engine has to read every weight once a
step and to do one multiply-add for each of them, so these two rates bound it from above. They are
measured in the same run as the engines, because clocks and neighbours change by the minute.
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
from pathlib import Path
from threading import Barrier
from typing import Any

import numba
import numpy as np
import torch

from wavenet.engines.cpu_room import Team
from wavenet.engines.cpu_threads import make_counters, publish, run_side_by_side, wait

SIDE = 512  # of the matrices that are multiplied: large enough for a library to do its best
# many short tries: some find all cores free, even where others are at work
SECONDS = 0.01  # of one try
TRIES = 40
HANDOVERS = 5  # tries of a fifth of those seconds
STREAMS = 4  # places from which the buffer is read at once; one chain of sums would be too slow
WORD = 8  # bytes of an int64

Rate = float  # something a second


@dataclass(frozen=True)
class Ceilings:
    """The most that this machine does.

    Attributes:
        read: bytes/s by (size in bytes, threads), the whole of it read again and again.
        multiply: multiply-adds/s in float32, by threads.
    """

    read: dict[tuple[int, int], Rate]
    multiply: dict[int, Rate]


def measure_ceilings(sizes: Sequence[int], threads: Sequence[int]) -> Ceilings:
    """Measure reading for every size, and multiplying.

    Args:
        sizes: bytes of weights.
        threads: numbers of threads.
    """
    numbers = sorted(set(threads))
    read: dict[tuple[int, int], Rate] = {}
    for size in dict.fromkeys(sizes):
        rates = rising([measure_read(size, number) for number in numbers])
        read |= {(size, number): rate for number, rate in zip(numbers, rates, strict=True)}
    rates = rising([measure_multiply(number) for number in numbers])
    return Ceilings(read, dict(zip(numbers, rates, strict=True)))


def rising(rates: Sequence[Rate]) -> list[Rate]:
    """Raise each rate to those before it: more threads can do what fewer can, and let one idle."""
    return list(accumulate(rates, max))


def measure_read(size: int, threads: int, seconds: float = SECONDS) -> Rate:
    """Read a buffer again and again, from whichever cache it fits into.

    Args:
        size: bytes, rounded down to whole words for every thread.
        threads: each reads its own share of the buffer.
        seconds: of one try.
    Returns:
        bytes/s of all threads together, the best of some tries.
    """
    words = max(size // (WORD * STREAMS * threads), 1) * STREAMS
    buffer = np.ones((threads, words), np.int64)

    def run(passes: int) -> float:
        return time_together([partial(_read, share, passes) for share in buffer])

    return best_rate(run, buffer.nbytes, seconds)


def measure_multiply(threads: int, seconds: float = SECONDS) -> Rate:
    """Multiply float32 matrices with torch.

    Args:
        threads: each multiplies its own matrices, so that none waits for another.
        seconds: of one try.
    Returns:
        multiply-adds/s of all threads together, the best of some tries.
    """
    matrices = torch.ones(threads, 3, SIDE, SIDE)

    def multiply(share: torch.Tensor, times: int) -> None:
        torch.set_num_threads(1)  # again in this thread: MKL keeps a number for each
        a, b, product = share
        for _ in range(times):
            torch.mm(a, b, out=product)

    def run(times: int) -> float:
        return time_together([partial(multiply, share, times) for share in matrices])

    with torch_threads(1):
        return best_rate(run, threads * SIDE**3, seconds)


def measure_handover() -> float:
    """Let two cores hand a number to and fro.

    Where a virtual machine's cores lie is its host's choice, and it changes: one that is far away
    sees what the other wrote several times later, and two threads on one stream lose all they gain.

    Returns:
        seconds from one core's writing until the other has read, the best of some tries.
    """
    nobody = (0, 0)

    def run(times: int) -> float:
        counters = make_counters(1)
        here, there = (
            partial(_hand_over, Team(part, 2, counters, nobody, nobody, nobody, nobody), times)
            for part in range(2)
        )
        began = time.perf_counter()
        run_side_by_side(here, there, counters)
        return time.perf_counter() - began

    times = calibrate(run, SECONDS / 5)
    return min(run(times) for _ in range(HANDOVERS)) / times / 2


def best_rate(run: Callable[[int], float], amount: float, seconds: float) -> Rate:
    """Give the best rate of some tries: whatever disturbs a try can only slow it.

    Args:
        run: does the work so many times and gives the seconds it took.
        amount: of work done in one time.
        seconds: of one try.
    """
    times = calibrate(run, seconds)
    return amount * times / min(run(times) for _ in range(TRIES))


def calibrate(run: Callable[[int], float], seconds: float) -> int:
    """Find how many times fill about so many seconds; the first time compiles and warms up."""
    run(1)
    times = 1
    while (took := run(times)) < seconds / 4:
        # at most 16 times more at once: the shortest runs say little about long ones
        times *= 2 if took > seconds / 16 else 16
    return max(1, round(times * seconds / took))


def time_together(calls: Sequence[Callable[[], object]]) -> float:
    """Run calls at once, each in a thread; give the seconds from first start to last end."""
    start = Barrier(len(calls))

    def timed(call: Callable[[], object]) -> tuple[float, float]:
        start.wait()
        began = time.perf_counter()
        call()
        return began, time.perf_counter()

    with ThreadPoolExecutor(len(calls)) as pool:
        spans = list(pool.map(timed, calls))
    return max(end for _, end in spans) - min(began for began, _ in spans)


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Let torch use so many threads, and put it back."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def describe_machine() -> dict[str, Any]:
    """Say on what and with what was measured, and when."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        # of the last minute: what else was running before we began
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numba": numba.__version__,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


_njit: Any = numba.njit  # it is not typed


@_njit(nogil=True)
def _read(buffer, passes):  # type: ignore[no-untyped-def]
    """Sum a buffer of int64, from `STREAMS` places at once."""
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
def _hand_over(team, times):  # type: ignore[no-untyped-def]
    """Answer the other thread so many times; the first thread begins."""
    for turn in range(times):
        if team.part == 0:
            publish(team, 0, turn)
        if not wait(team, 0, turn):
            return -1
        if team.part == 1:
            publish(team, 0, turn)
    return times
