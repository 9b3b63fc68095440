"""Two threads of compiled code: partition of the work, synchronisation, choice of one or two.

The two threads synchronise by counters in memory that are read and written atomically. At every
sync point each thread has a counter on a separate cache line. A thread raises its counter when its
results are written, and waits until the counter of the other thread has the same value. A wait
spins for some hundred microseconds; then it sleeps between polls and releases its core. If one
thread ends early, Python sets the abort counter, so that the other thread does not wait for it. If
the threads sleep often, another program needs the cores: both stop after the same sample, and the
engine continues on one thread.

Input: a `CpuShape` for a `ThreadPartition`, two calls for `run_in_parallel`, measured times for the
`ThreadCountTuner`. Output: the partition, which the compiled loop reads; the results of the calls;
the choice of one or two threads. Called by `cpu_engine`, `sample_loop` and `wavenet bench`.
"""

import ctypes
import math
import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from wavenet.engines.cpu.jit import compiled, inlined, intrinsic
from wavenet.engines.cpu.llvm_kernels import PANEL_WIDTH
from wavenet.engines.cpu.packed_weights import CpuShape
from wavenet.errors import EngineUnavailable

TWO_THREADS_SUPPORTED = os.name == "posix"  # the C library has usleep

# costs in the unit of a pair of inputs of one panel of a product
GATE_COST = 18  # of the gates of one panel
DRAW_COST = 250  # of drawing a code and embedding it

PanelRange = tuple[int, int]  # the first panel, and the one after the last

STRIDE = 16  # int64 per counter: two cache lines, because some machines fetch two together
ABORT, LAST_SAMPLE, SLEEPS, SYNC_POINTS = 0, STRIDE, 2 * STRIDE, 4 * STRIDE
NEVER = 1 << 62

# about 0.3 ms, longer than a sleep; otherwise the threads could sleep alternately for ever
_SPINS = 15_000
_SLEEP = 50  # microseconds; the system adds about 50
# sleeps that are tolerated, and samples per further tolerated sleep; an idle machine has far fewer
_TOLERATED_SLEEPS, _SAMPLES_PER_SLEEP = 40, 40
_usleep: Any = types.ExternalFunction("usleep", types.int32(types.int64))
_PAUSE_INTRINSICS = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "AMD64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]),
    "arm64": ("llvm.aarch64.hint", [1]),
}


class ThreadPartition(NamedTuple):
    """The work of one thread: its panels of outputs in each product.

    Thread 0, the leader, computes current taps, gates and residuals of all layers, and its panels
    of the other products. Thread 1, the follower, computes the other panels.
    """

    thread: int
    threads: int
    counters: NDArray[np.int64]
    past_taps: PanelRange
    skip: PanelRange
    hidden: PanelRange
    output: PanelRange
    shared_from: int  # in int8, the first layer whose past taps the follower computes
    has_own_row: bool  # in int8: each thread computes one of the two rows of a guided clip


def make_partition(
    shape: CpuShape,
    thread: int,
    threads: int,
    counters: NDArray[np.int64],
    has_own_row: bool = False,
) -> ThreadPartition:
    """Return the work of thread `thread` of `threads` (1 or 2)."""
    gates, skips, outputs = (
        width // PANEL_WIDTH
        for width in (2 * shape.gate_width, shape.skip_width, shape.params_width)
    )
    past, skip = (gates, skips) if threads == 1 else _leader_panels(shape)
    splits = [(past, gates), (skip, skips), (-(-skips // threads), skips)]
    splits.append((-(-outputs // threads), outputs))
    ranges = ((0, split) if thread == 0 else (split, end) for split, end in splits)
    own_past, own_skip, hidden, output = ranges
    is_shared = threads > 1 and not has_own_row
    shared_from = _first_shared_layer(shape) if is_shared else shape.layers
    return ThreadPartition(
        *(thread, threads, counters, own_past, own_skip, hidden, output),
        shared_from,
        has_own_row,
    )


def _leader_panels(shape: CpuShape) -> tuple[int, int]:
    """Return how many panels of past taps and of skips the leader computes.

    Both threads then have about equal work. The leader computes past taps only if it already
    computes all skips, because both threads then read the rings.
    """
    gates, skips = 2 * shape.gate_width // PANEL_WIDTH, shape.skip_width // PANEL_WIDTH
    residuals = shape.residual_width // PANEL_WIDTH
    leader = gates * shape.residual_pairs + residuals * shape.gate_pairs
    leader += GATE_COST * gates + DRAW_COST // shape.layers
    follower = gates * shape.past_pairs + skips * shape.gate_pairs
    moved = max(0, (follower - leader) // 2)
    skip = min(skips, round(moved / shape.gate_pairs))
    left = moved - skip * shape.gate_pairs
    past = min(gates, round(left / shape.past_pairs)) if shape.past_pairs and skip == skips else 0
    return past, skip


def _first_shared_layer(shape: CpuShape) -> int:
    """Return from which layer on the follower computes past taps in int8.

    The work is estimated by multiplications. The leader computes the chain, then its past taps
    while the follower computes the output layers. The follower computes its past taps and the skips
    during the chain.
    """
    gates = 2 * shape.gate_width
    past = (shape.kernel_size - 1) * shape.ring_width * gates
    chain = shape.layers * (shape.ring_width * gates + shape.gate_width * shape.residual_width)
    skips = shape.layers * shape.gate_width * shape.skip_width
    tail = shape.skip_width * (shape.skip_width + 2 * shape.params_width)

    def sample_work(first: int) -> int:
        leader = chain + max(tail, first * past)
        return max(leader, (shape.layers - first) * past + skips + tail)

    return min(range(shape.layers, -1, -1), key=sample_work)


def make_counters(sync_points: int) -> NDArray[np.int64]:
    """Return the counters of two threads.

    The first counters are: abort, the last sample to generate, and the sleeps of each thread. Those
    of the sync points follow.
    """
    counters = np.zeros(SYNC_POINTS + 2 * sync_points * STRIDE, np.int64)
    counters[LAST_SAMPLE] = NEVER
    return counters


def _counter_pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


@intrinsic
def _load_counter(context, counters, at):  # type: ignore[no-untyped-def]
    """Read a counter; all writes before it was raised are visible afterwards (acquire)."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _counter_pointer(context, builder, signature, arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(counters, types.intp), codegen


@intrinsic
def _store_counter(context, counters, at, value):  # type: ignore[no-untyped-def]
    """Set a counter; all earlier writes are visible to a thread that reads it (release)."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _counter_pointer(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(counters, types.intp, types.int64), codegen


@intrinsic
def _pause(context):  # type: ignore[no-untyped-def]
    """Inform the core that this is a spin loop."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if platform.machine() in _PAUSE_INTRINSICS:
            name, values = _PAUSE_INTRINSICS[platform.machine()]
            kinds = [ir.IntType(32)] * len(values)
            kind = ir.FunctionType(ir.VoidType(), kinds)
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, [ir.Constant(k, v) for k, v in zip(kinds, values, strict=True)])
        return context.get_dummy_value()

    return types.void(), codegen


@inlined
def mark_reached(partition, point, sample):  # type: ignore[no-untyped-def]
    """Mark that this thread has reached a sync point in a sample."""
    if partition.threads > 1:
        own = SYNC_POINTS + (2 * point + partition.thread) * STRIDE
        _store_counter(partition.counters, own, sample + 1)


@inlined
def wait(partition, point, sample):  # type: ignore[no-untyped-def]
    """Wait until the other thread has reached a sync point, too; return False after an abort."""
    if partition.threads == 1:
        return True
    other = SYNC_POINTS + (2 * point + 1 - partition.thread) * STRIDE
    for _ in range(_SPINS):
        if _load_counter(partition.counters, other) > sample:
            return True
        _pause()
    return _wait_asleep(partition, other, sample)


@compiled
def _wait_asleep(partition, other, sample):  # type: ignore[no-untyped-def]
    """Wait by sleeping, and count the sleeps."""
    own = SLEEPS + partition.thread * STRIDE
    while _load_counter(partition.counters, other) <= sample:
        if _load_counter(partition.counters, ABORT) != 0:
            return False
        if TWO_THREADS_SUPPORTED:
            _usleep(_SLEEP)
        _store_counter(partition.counters, own, _load_counter(partition.counters, own) + 1)
    return True


@inlined
def stop_if_slow(partition, sample):  # type: ignore[no-untyped-def]
    """Make this sample the last one if the threads slept often: other programs need the cores.

    Called by both threads at the start of a sample. Thread 0 decides, and thread 1 reads the
    decision after the next sync point.
    """
    if partition.threads > 1 and partition.thread == 0:
        sleeps = _load_counter(partition.counters, SLEEPS)
        sleeps += _load_counter(partition.counters, SLEEPS + STRIDE)
        if sleeps > _TOLERATED_SLEEPS + sample // _SAMPLES_PER_SLEEP:
            _store_counter(partition.counters, LAST_SAMPLE, sample)


@inlined
def is_last_sample(partition, sample):  # type: ignore[no-untyped-def]
    """Return whether both threads stop after this sample."""
    return partition.threads > 1 and _load_counter(partition.counters, LAST_SAMPLE) == sample


def run_in_parallel(
    first_call: Callable[[], int], second_call: Callable[[], int], counters: NDArray[np.int64]
) -> tuple[int, int]:
    """Run two compiled calls, the second in a new thread on another core.

    Returns:
        the results of both.
    Raises:
        EngineUnavailable: one call ended early, and the other was aborted.
    """
    results = [-1, -1]

    def call(n: int, function: Callable[[], int]) -> None:
        try:
            results[n] = function()
        finally:
            if results[n] < 0:
                counters[ABORT] = 1

    allowed, first_core, second_cores = _choose_cores()

    def run_second_call() -> None:
        _pin_thread(second_cores)
        call(1, second_call)

    # started before this thread is pinned, because a new thread inherits the cores of its parent
    thread = threading.Thread(target=run_second_call, daemon=True)
    thread.start()
    _pin_thread(first_core)
    try:
        call(0, first_call)
    finally:
        thread.join()
        _pin_thread(allowed)
    if min(results) < 0:
        raise EngineUnavailable(
            "the second thread of the engine cpu ended early; use the engine on one thread"
        )
    return results[0], results[1]


def _choose_cores() -> tuple[set[int], set[int], set[int]]:
    """Return the allowed cores, the core of this thread, and the cores for another thread.

    By default Linux often starts a thread on the core of its parent, and needs some milliseconds to
    move it to an idle core. All sets are empty if the system does not support pinning.
    """
    if not hasattr(os, "sched_setaffinity"):
        return set(), set(), set()
    allowed = os.sched_getaffinity(0)
    core = int(ctypes.CDLL(None).sched_getcpu())
    return allowed, {core} & allowed, allowed - _sibling_cores(core) or allowed - {core}


def _pin_thread(cores: set[int]) -> None:
    """Restrict the calling thread to some cores."""
    if cores:
        with suppress(OSError):  # a core may have been removed
            os.sched_setaffinity(0, cores)


@cache
def _sibling_cores(core: int) -> set[int]:
    """Return the logical cores of the same physical core, this one included."""
    listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        parts = [part.split("-") for part in listed.read_text().strip().split(",")]
        return {n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)}
    except (OSError, ValueError):
        return {core}


class ThreadCountTuner:
    """Selects one thread or two by measured times.

    The faster choice depends on the network, on the length of a run and on other programs.
    Therefore the slower choice is tried again: soon at first, and half as often each time it is
    slower again.

    Attributes:
        two_threads: the faster choice so far; True at first.
    """

    MIN_INTERVAL, MAX_INTERVAL = 2, 64  # runs before the other choice is tried

    def __init__(self) -> None:
        self.two_threads = True
        # seconds per sample of the last two runs, because one slow run may be an accident
        self._times = {True: (math.inf, math.inf), False: (math.inf, math.inf)}
        self._interval = self._countdown = self.MIN_INTERVAL

    def choose(self) -> bool:
        """Return whether the next run should use two threads."""
        return self.two_threads if self._countdown > 0 else not self.two_threads

    def record(self, two_threads: bool, seconds_per_sample: float) -> None:
        """Record the time of a run."""
        self._times[two_threads] = (self._times[two_threads][1], seconds_per_sample)
        other_is_faster = min(self._times[not self.two_threads]) < min(
            self._times[self.two_threads]
        )
        if two_threads == self.two_threads:
            self._countdown = 0 if other_is_faster else self._countdown - 1
        elif other_is_faster:
            self.two_threads, self._interval = two_threads, self.MIN_INTERVAL
            self._countdown = self._interval
        else:
            self._interval = min(2 * self._interval, self.MAX_INTERVAL)
            self._countdown = self._interval
