"""A range coder of 16 lanes: intervals of integers to bytes, and back.

Each lane has a coder of its own. A value with the interval [start, start + size) of 2**40 takes
40 - log2(size) bits, up to 2**-16 of a bit. The state is an interval [low, low + range) of 64-bit
integers; the bytes that cannot change any more are written, and a carry is added to the bytes that
were written. Called by `stream_coder`, inlined into its loop.

Source: Martin 1979, Range encoding; Schindler 1998 (carry).
"""

from typing import NamedTuple

import numpy as np

from wavenet.compression.lane_kernels import LANES
from wavenet.engines.cpu.jit import inlined

TOTAL_BITS = 40
TAIL_BYTES = 8  # of the state
_SHIFT = np.uint64(TOTAL_BITS)
_BYTE = np.uint64(8)
_TOP = np.uint64(56)
_SMALL = np.uint64(1 << 56)
_FULL = np.uint64((1 << 64) - 1)


class CoderState(NamedTuple):
    """The coders of 16 lanes, changed in place.

    `low`, `range`: (16,) uint64; in a decoder `low` is the distance of its code from the low end.
    `position`: (16,) int64, bytes written or read. `data`: (16, bytes) uint8. `ends`: (16,) int64,
    bytes that may be written, or that there are to read; a reader finds zeros behind them.
    """

    low: np.ndarray
    range: np.ndarray
    position: np.ndarray
    data: np.ndarray
    ends: np.ndarray


def make_coder_state(data: np.ndarray, ends: np.ndarray) -> CoderState:
    """Return coders that write to the rows of `data`, or that read them after `start_decoder`."""
    return CoderState(
        low=np.zeros(LANES, dtype=np.uint64),
        range=np.full(LANES, _FULL),
        position=np.zeros(LANES, dtype=np.int64),
        data=data,
        ends=ends,
    )


def start_decoder(state: CoderState) -> None:
    """Read the first 8 bytes of each lane."""
    for lane in range(LANES):
        first = state.data[lane, : min(TAIL_BYTES, int(state.ends[lane]))].tobytes()
        state.low[lane] = int.from_bytes(first.ljust(TAIL_BYTES, b"\0"), "big")
        state.position[lane] = TAIL_BYTES


def finish_encoder(state: CoderState, lane: int) -> bytes:
    """Return all bytes of a lane: the shortest that stand for its last interval."""
    low, high = int(state.low[lane]), int(state.low[lane]) + int(state.range[lane]) - 1
    written = int.from_bytes(state.data[lane, : state.position[lane]].tobytes(), "big")
    for tail in range(TAIL_BYTES + 1):
        step = 1 << (64 - 8 * tail)
        value = -(-low // step) * step
        if value <= high:
            break
    # a value of 2**64 carries into the bytes before
    number = (written << 64) + value
    text = number.to_bytes(int(state.position[lane]) + TAIL_BYTES, "big")
    return text[: int(state.position[lane]) + tail].rstrip(b"\0")


@inlined
def encode_interval(state, lane, start, size):  # type: ignore[no-untyped-def]
    """Encode an interval of 2**40: start and size are int64, size at least 1.

    Returns:
        False if the bytes do not fit; the lane must not be used any more.
    """
    step = state.range[lane] >> _SHIFT
    low = state.low[lane] + step * np.uint64(start)
    data, position = state.data, state.position[lane]
    if low < state.low[lane]:
        at = position - 1
        while data[lane, at] == 255:
            data[lane, at] = 0
            at -= 1
        data[lane, at] += 1
    width = step * np.uint64(size)
    while width < _SMALL:
        if position >= state.ends[lane]:
            return False
        data[lane, position] = np.uint8(low >> _TOP)
        position += 1
        low = low << _BYTE
        width = width << _BYTE
    state.low[lane] = low
    state.range[lane] = width
    state.position[lane] = position
    return True


@inlined
def decoder_target(state, lane):  # type: ignore[no-untyped-def]
    """Return the number below 2**40, int64, that the interval of the next value contains."""
    step = state.range[lane] >> _SHIFT
    return min(np.int64(state.low[lane] // step), (1 << TOTAL_BITS) - 1)


@inlined
def decode_interval(state, lane, start, size):  # type: ignore[no-untyped-def]
    """Remove an interval that contains the target."""
    step = state.range[lane] >> _SHIFT
    low = state.low[lane] - step * np.uint64(start)
    width = step * np.uint64(size)
    position = state.position[lane]
    while width < _SMALL:
        byte = np.uint64(0)
        if position < state.ends[lane]:
            byte = np.uint64(state.data[lane, position])
        position += 1
        low = (low << _BYTE) | byte
        width = width << _BYTE
    state.low[lane] = low
    state.range[lane] = width
    state.position[lane] = position
