"""The steps of one sample through the network, compiled into the loop of `sample_loop`.

Flat arrays of `packed_weights` and `workspace` enter and are changed. `bounds` are the first
panel of outputs that is computed and the one behind the last: a thread's share.
"""

import numpy as np

from wavenet.engines.cpu.block_operations import (
    add_block,
    copy_block,
    gate,
    rectify_block,
    unpack_block,
)
from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_vectors import LANES, PANEL, WIDE
from wavenet.engines.cpu.matrix_products import (
    ROWS,
    panel_of_one,
    panel_of_rows,
    panel_of_three,
    panel_of_two,
    panels_of_one,
    words_of,
)

ENOUGH_ROWS = 6  # from here on unpacking a panel first pays


@inlined
def multiply(y, y_at, y_stride, w, w_at, x, x_at, x_stride, rows, pairs, first, last, room):  # type: ignore[no-untyped-def]
    """Add the product of some rows of x with panels first to last of the matrix at w_at to y.

    room: memory for unpacked weights, and how many panels one row reads at once.
    """
    if rows > 1:
        # as int64: numba would compile it again for every pattern of constants
        _multiply_rows(
            y, np.int64(y_at), y_stride, w, np.int64(w_at), x, np.int64(x_at), x_stride,
            rows, pairs, np.int64(first), last, room.panel
        )  # fmt: skip
        return
    size = pairs * words_of(w)
    n = first
    while WIDE and room.at_once == 2 and last - n >= 2:
        panels_of_one(y, y_at + n * PANEL, y_stride, w, w_at + n * size, x, x_at, x_stride, pairs)
        n += 2
    while n < last:
        panel_of_one(y, y_at + n * PANEL, y_stride, w, w_at + n * size, x, x_at, x_stride, pairs)
        n += 1


@compiled
def _multiply_rows(y, y_at, y_stride, w, w_at, x, x_at, x_stride, rows, pairs, first, last, panel):  # type: ignore[no-untyped-def]
    """Do `multiply` for several rows, which take turns with a panel while it is close by.

    Many rows unpack weights of 16 bits once for all of them.
    """
    words = words_of(w)
    for n in range(first, last):
        out, at = y_at + n * PANEL, w_at + n * pairs * words
        if words == PANEL and rows >= ENOUGH_ROWS:
            for pair in range(pairs):
                for i in range(0, PANEL, LANES):
                    unpack_block(panel, pair * 2 * PANEL + i, w, at + pair * PANEL + i)
            _turns(y, out, y_stride, panel, 0, x, x_at, x_stride, rows, pairs)
        else:
            _turns(y, out, y_stride, w, at, x, x_at, x_stride, rows, pairs)


@inlined
def _turns(y, out, y_stride, w, at, x, x_at, x_stride, rows, pairs):  # type: ignore[no-untyped-def]
    """Multiply rows by one panel, as many at once as the registers take.

    Unpacking takes registers too, so that packed weights serve fewer rows where there are only 16.
    """
    row = 0
    while rows - row >= ROWS and (WIDE or words_of(w) > PANEL):
        panel_of_rows(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += ROWS
    while WIDE and rows - row >= 3 and rows - row != 4:
        panel_of_three(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += 3
    while rows - row >= 2:
        panel_of_two(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += 2
    if rows > row:
        panel_of_one(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )


@inlined
def matrix(w, n, pairs, outputs):  # type: ignore[no-untyped-def]
    """Give where the n-th matrix of so many pairs of inputs and so many outputs begins in w."""
    return n * pairs * words_of(w) * (outputs // PANEL)


@inlined
def begin(y, y_at, bias, bias_at, width, rows, bounds):  # type: ignore[no-untyped-def]
    """Put a bias into every row of y."""
    first, last = bounds
    for row in range(rows):
        for i in range(first * PANEL, last * PANEL, LANES):
            copy_block(y, y_at + row * width + i, bias, bias_at + i)


@inlined
def rectify(y, width, rows, bounds):  # type: ignore[no-untyped-def]
    """Set what is below zero to zero."""
    first, last = bounds
    for row in range(rows):
        for i in range(first * PANEL, last * PANEL, LANES):
            rectify_block(y, row * width + i, y, row * width + i)


@inlined
def embed(w, shape, room, codes):  # type: ignore[no-untyped-def]
    """Begin x with the embedding of each row's code, or of its value."""
    for row in range(room.batch):
        if shape.family > 0:
            value = np.float32(codes[row]) * np.float32(2 / (shape.classes - 1)) - np.float32(1)
            for i in range(shape.x_width):
                scaled = w.embedding[i] * value
                room.x[row * shape.x_width + i] = scaled + w.embedding[shape.x_width + i]
            continue
        for i in range(0, shape.x_width, LANES):
            copy_block(room.x, row * shape.x_width + i, w.embedding, codes[row] * shape.x_width + i)


@inlined
def gates_at(shape, room, layer, slot):  # type: ignore[no-untyped-def]
    """Give where the gates of a layer begin: all layers share a place unless begun ahead."""
    place = layer * room.ahead + slot if room.ahead > 1 else 0
    return place * room.batch * 2 * shape.z_width


@compiled
def take_old_taps(w, shape, rings, room, layer, slot, cursor, count, bounds):  # type: ignore[no-untyped-def]
    """Begin the gates of `count` samples from `cursor` on: the bias and all taps but the current.

    Every input that these taps read is there already.
    """
    first, last = bounds
    width, inputs = 2 * shape.z_width, 2 * shape.old_pairs
    start, length = w.edges[layer], w.edges[layer + 1] - w.edges[layer]
    base = gates_at(shape, room, layer, slot)
    begin(room.gates, base, w.conv_bias, layer * width, width, count * room.batch, bounds)
    for tap in range(shape.taps - 1):
        for n in range(count):
            now = start + (cursor + n + tap * w.dilations[layer]) % length
            for row in range(room.batch):
                source = (row * w.edges[shape.layers] + now) * shape.ring_width
                target = (n * room.batch + row) * inputs + tap * shape.ring_width
                for i in range(0, shape.ring_width, LANES):
                    copy_block(room.window, target + i, rings, source + i)
    if shape.taps > 1 and last > first:
        multiply(
            room.gates, base, width, w.old, matrix(w.old, layer, shape.old_pairs, width),
            room.window, 0, inputs, count * room.batch, shape.old_pairs, first, last,
            room
        )  # fmt: skip


@inlined
def pass_gates(w, shape, room, frames, layer, slot, sample):  # type: ignore[no-untyped-def]
    """Add the current tap and the condition to the gates, and make z of them."""
    width = 2 * shape.z_width
    base = gates_at(shape, room, layer, slot)
    multiply(
        room.gates, base, width, w.current, matrix(w.current, layer, shape.x_pairs, width),
        room.x, 0, shape.x_width, room.batch, shape.x_pairs, 0, width // PANEL,
        room
    )  # fmt: skip
    for row in range(room.batch):
        frame, share = 0, np.float32(0)
        if frames.hop > 0:
            offset = frames.leads[row] + sample
            frame = offset // frames.hop
            share = np.float32(offset - frame * frames.hop) / np.float32(frames.hop)
        left = ((row * frames.frames + frame) * shape.layers + layer) * width
        right = left + shape.layers * width if frames.hop > 0 else left
        at, out = base + row * width, (layer * room.batch + row) * shape.z_width
        for n in range(width // PANEL):
            more = n * PANEL
            gate(
                room.z, out + n * LANES, room.gates, at + more,
                frames.biases, left + more, right + more, share
            )  # fmt: skip


@inlined
def remember(w, shape, rings, room, layer, cursor):  # type: ignore[no-untyped-def]
    """Put what entered a layer into its ring."""
    length = w.edges[layer + 1] - w.edges[layer]
    if length > 0:
        slot = w.edges[layer] + cursor % length
        for row in range(room.batch):
            target = (row * w.edges[shape.layers] + slot) * shape.ring_width
            for i in range(0, shape.ring_width, LANES):
                copy_block(rings, target + i, room.x, row * shape.x_width + i)


@inlined
def add_skips(w, shape, room, layer, bounds):  # type: ignore[no-untyped-def]
    """Add what one layer gives to the skip path."""
    first, last = bounds
    multiply(
        room.skips, 0, shape.s_width, w.skip, matrix(w.skip, layer, shape.z_pairs, shape.s_width),
        room.z, layer * room.batch * shape.z_width, shape.z_width, room.batch, shape.z_pairs,
        first, last, room
    )  # fmt: skip


@inlined
def add_residual(w, shape, room, layer):  # type: ignore[no-untyped-def]
    """Turn x into what enters the next layer."""
    for row in range(room.batch):
        for i in range(0, shape.x_width, LANES):
            more = layer * shape.x_width + i
            add_block(room.x, row * shape.x_width + i, w.residual_bias, more)
    multiply(
        room.x, 0, shape.x_width,
        w.residual, matrix(w.residual, layer, shape.z_pairs, shape.x_width),
        room.z, layer * room.batch * shape.z_width, shape.z_width, room.batch, shape.z_pairs,
        0, shape.x_width // PANEL, room
    )  # fmt: skip
