"""How two threads of compiled code meet: counters in memory, read and written as atoms.

Each side has a counter for every place where they meet, on a cache line of its own. It publishes
what it wrote by raising its counter, and waits until the other's has come as far. A wait spins for
some hundred microseconds, then sleeps between looks and so gives its core back. Python sets the
first counter to call the whole thing off, so that nobody waits for a thread that is no more. Where
there is much sleep, the two agree on a last sample, and one goes on alone.
"""

import ctypes
import os
import platform
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numpy.typing import NDArray

from wavenet.engines.cpu.jit import compiled, inlined, intrinsic
from wavenet.errors import EngineUnavailable

LINE = 16  # int64 between counters: two cache lines, which some machines fetch together
ABORT, STOP, SLEEPS, PLACES = 0, LINE, 2 * LINE, 4 * LINE
NEVER = 1 << 62
CAN_WAIT = os.name == "posix"  # where the call below is in the C library

_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# about 0.3 ms, longer than a sleep: two threads that sleep in turns would never get out of it
_SPINS = 15_000
_PATIENCE = 40  # sleeps, and samples for each more: a quiet machine has far fewer
_SLEEP = 50  # microseconds; the system adds as many
_usleep: Any = types.ExternalFunction("usleep", types.int32(types.int64))
_PAUSES = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "AMD64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]),
    "arm64": ("llvm.aarch64.hint", [1]),
}


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


@intrinsic
def _load(context, counters, at):  # type: ignore[no-untyped-def]
    """Read a counter; what was written before it was raised is seen afterwards."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", 8)

    return types.int64(counters, types.intp), codegen


@intrinsic
def _store(context, counters, at, value):  # type: ignore[no-untyped-def]
    """Raise a counter; what was written before is published with it."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        pointer = _pointer(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(counters, types.intp, types.int64), codegen


@intrinsic
def _pause(context):  # type: ignore[no-untyped-def]
    """Tell the core that this is a loop that waits."""

    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        if platform.machine() in _PAUSES:
            name, values = _PAUSES[platform.machine()]
            kinds = [ir.IntType(32)] * len(values)
            kind = ir.FunctionType(ir.VoidType(), kinds)
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, [ir.Constant(k, v) for k, v in zip(kinds, values, strict=True)])
        return context.get_dummy_value()

    return types.void(), codegen


def make_counters(places: int) -> NDArray[np.int64]:
    """Make the counters of two threads that meet in so many places.

    Those in front are: called off, the last sample to make, and each thread's sleeps.
    """
    counters = np.zeros(PLACES + 2 * places * LINE, np.int64)
    counters[STOP] = NEVER
    return counters


@inlined
def publish(team, place, sample):  # type: ignore[no-untyped-def]
    """Say that this thread has come to a place in a sample."""
    if team.parts > 1:
        _store(team.counters, PLACES + (2 * place + team.part) * LINE, sample + 1)


@inlined
def wait(team, place, sample):  # type: ignore[no-untyped-def]
    """Wait until the other thread has come there too; False when it was called off."""
    if team.parts == 1:
        return True
    other = PLACES + (2 * place + 1 - team.part) * LINE
    for _ in range(_SPINS):
        if _load(team.counters, other) > sample:
            return True
        _pause()
    return _wait_long(team, other, sample)


@compiled
def _wait_long(team, other, sample):  # type: ignore[no-untyped-def]
    """Wait without holding the core, and count the sleeps."""
    mine = SLEEPS + team.part * LINE
    while _load(team.counters, other) <= sample:
        if _load(team.counters, ABORT) != 0:
            return False
        if CAN_WAIT:
            _usleep(_SLEEP)
        _store(team.counters, mine, _load(team.counters, mine) + 1)
    return True


@inlined
def stop_if_slow(team, sample):  # type: ignore[no-untyped-def]
    """Let this sample be the last if there was much sleep: something else wants the cores.

    Called by both threads at the start of a sample; the first decides, and says so before they
    meet next.
    """
    if team.parts > 1 and team.part == 0:
        sleeps = _load(team.counters, SLEEPS) + _load(team.counters, SLEEPS + LINE)
        if sleeps > _PATIENCE + sample // _PATIENCE:
            _store(team.counters, STOP, sample)


@inlined
def is_last(team, sample):  # type: ignore[no-untyped-def]
    """Say at the end of a sample whether no more are to be made."""
    return team.parts > 1 and _load(team.counters, STOP) == sample


def run_side_by_side(
    here: Callable[[], int], there: Callable[[], int], counters: NDArray[np.int64]
) -> tuple[int, int]:
    """Run two compiled calls, one of them in a thread of its own and on a core of its own.

    Returns:
        what they return.
    Raises:
        EngineUnavailable: one ended before its work was done, and the other was called off.
    """
    results = [-1, -1]

    def call(n: int, function: Callable[[], int]) -> None:
        try:
            results[n] = function()
        finally:
            if results[n] < 0:
                counters[ABORT] = 1

    allowed, mine, others = _places()

    def helper() -> None:
        _move_to(others)
        call(1, there)

    # started before this thread is bound to its core, or it would begin bound to the same
    thread = threading.Thread(target=helper, daemon=True)
    thread.start()
    _move_to(mine)
    try:
        call(0, here)
    finally:
        thread.join()
        _move_to(allowed)
    if min(results) < 0:
        raise EngineUnavailable(
            "the second thread of the cpu engine ended early; use the engine on one thread"
        )
    return results[0], results[1]


def _places() -> tuple[set[int], set[int], set[int]]:
    """Name the cores allowed, that of this thread, and those for another; none where unknown.

    Left alone, Linux likes to put a thread that was just started beside the one that started it,
    and needs some milliseconds to see that the other core is idle.
    """
    if not hasattr(os, "sched_setaffinity"):
        return set(), set(), set()
    allowed = os.sched_getaffinity(0)
    core = int(ctypes.CDLL(None).sched_getcpu())
    return allowed, {core} & allowed, allowed - _siblings(core) or allowed - {core}


def _move_to(cores: set[int]) -> None:
    """Put the calling thread on some of these cores."""
    if cores:
        with suppress(OSError):  # a core that was just taken away
            os.sched_setaffinity(0, cores)


@cache
def _siblings(core: int) -> set[int]:
    """Name the logical cores that share a physical one with this."""
    listed = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    try:
        parts = [part.split("-") for part in listed.read_text().strip().split(",")]
        return {n for part in parts for n in range(int(part[0]), int(part[-1]) + 1)}
    except (OSError, ValueError):
        return {core}


def available_cores() -> int:
    """Count the cores that this process may use, by affinity and by a container's quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _QUOTA.read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return cores
