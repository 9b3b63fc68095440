"""The compiled loop of the engine of effects: an interpreter of the operations of a model.

Input: the tables (`effect_tables`) of a model. It processes a long block in sub-blocks of
`LONG_SUB_BLOCK` samples and its rest in those of at most `SUB_BLOCK`. A sub-block passes through
all operations while it is in the fastest cache. The loop is compiled once for all models, because
sizes are numbers of the tables. Called by `effect_engine`.

Rows of channels lie in one array, the arena. A group of rows, a buffer, is a ring if its past is
needed: `ring` samples, then a copy of the first `mirror` ones, so that reading never wraps. The
position of a ring is that of the current sub-block. Other buffers only hold the sub-block.
"""

from pathlib import Path

from wavenet.effects import activations
from wavenet.effects import effect_kernels as kernels
from wavenet.effects.effect_kernels import PARAMETERS, PRODUCT_WIDTH
from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH

# Samples of a sub-block; multiples of the widths of short and of long products.
SUB_BLOCK, LONG_SUB_BLOCK = 64, 192
STAGE = 21 * LONG_SUB_BLOCK  # samples of one call; a multiple of both
PAD = PRODUCT_WIDTH  # samples that the last vectors of a block may write behind its end

# Columns of the table of buffers.
BASE, STRIDE, RING, MIRROR, ROWS = range(5)
BUFFER_COLUMNS = 5
# Kinds of operations, the first column of the program. The other columns depend on the kind.
PRODUCT, ACTIVATE, COMBINE, COMMIT = range(4)
OPERATION_COLUMNS = 13
# Columns of a segment of a product: a buffer, its first row, delay, number of rows, and the
# distance between rows, 0 for that of the buffer.
SEGMENT_COLUMNS = 5
# Kinds of activations and of combinations.
TANH, SUMMED_TANH, LEAKY_RELU, SUMMED_LEAKY_RELU, LEAKY_HARDTANH = range(5)
FASTTANH, SIGMOID, SILU, HARDSWISH, SOFTSIGN = range(5, 10)
COPY, ADD, MULTIPLY, MODULATE, BLEND = range(5)


@inlined
def _locate(buffers, positions, buffer, row):  # type: ignore[no-untyped-def]
    """Return the offset of a row at the position of its buffer."""
    at = buffer * BUFFER_COLUMNS
    return buffers[at + BASE] + row * buffers[at + STRIDE] + positions[buffer]


@inlined
def _multiply(arena, dest, step, old, old_step, w, w_at, starts, segments, outputs, t, is_long):  # type: ignore[no-untyped-def]
    """Compute the product of at most 8 outputs."""
    if outputs == 8 and is_long:
        kernels.long_row_product_8(
            arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t
        )
    elif outputs == 8:
        kernels.row_product_8(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 7 and is_long:
        kernels.long_row_product_7(
            arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t
        )
    elif outputs == 7:
        kernels.row_product_7(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 6 and is_long:
        kernels.long_row_product_6(
            arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t
        )
    elif outputs == 6:
        kernels.row_product_6(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 5 and is_long:
        kernels.long_row_product_5(
            arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t
        )
    elif outputs == 5:
        kernels.row_product_5(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 4:
        kernels.row_product_4(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 3:
        kernels.row_product_3(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    elif outputs == 2:
        kernels.row_product_2(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)
    else:
        kernels.row_product_1(arena, dest, step, old, old_step, w, w_at, starts, 0, segments, t)


@inlined
def _run_product(op, program, segments, buffers, weights, positions, arena, starts, samples):  # type: ignore[no-untyped-def]
    """dest, first row, outputs, residual or -1, its first row, weights, segments, their number,
    rows of all segments, outputs at once, samples at once, and those of long sub-blocks."""
    dest, row, outputs = program[op + 1], program[op + 2], program[op + 3]
    residual, residual_row, w_at = program[op + 4], program[op + 5], program[op + 6]
    first, count, inputs = program[op + 7], program[op + 8], program[op + 9]
    at_once, width = program[op + 10], program[op + 11]
    is_long = samples == LONG_SUB_BLOCK
    if is_long:
        width = program[op + 12]
    for n in range(count):
        entry = (first + n) * SEGMENT_COLUMNS
        source, delay = segments[entry], segments[entry + 2]
        at = source * BUFFER_COLUMNS
        start = positions[source] - delay
        if start < 0:
            start += buffers[at + RING]
        stride = segments[entry + 4]
        starts[3 * n] = buffers[at + BASE] + segments[entry + 1] * buffers[at + STRIDE] + start
        starts[3 * n + 1] = segments[entry + 3]
        starts[3 * n + 2] = stride if stride else buffers[at + STRIDE]
    step = buffers[dest * BUFFER_COLUMNS + STRIDE]
    dest_at = _locate(buffers, positions, dest, row)
    old_step, old_at = 0, -1
    if residual >= 0:
        old_step = buffers[residual * BUFFER_COLUMNS + STRIDE]
        old_at = _locate(buffers, positions, residual, residual_row)
    for t in range(0, samples, width):
        o, w = 0, w_at
        while o < outputs:
            tile = min(at_once, outputs - o)
            to, old = dest_at + o * step + t, old_at
            if residual >= 0:
                old = old_at + o * old_step + t
            _multiply(arena, to, step, old, old_step, weights, w, starts, count, tile, t, is_long)
            o += tile
            w += tile * (inputs + 1)


@inlined
def _run_activation(op, program, buffers, weights, positions, arena, samples):  # type: ignore[no-untyped-def]
    """dest, first row, rows, source, first row, kind, parameters, total, first row."""
    dest, source, total = program[op + 1], program[op + 4], program[op + 8]
    to = _locate(buffers, positions, dest, program[op + 2])
    x = _locate(buffers, positions, source, program[op + 5])
    add = _locate(buffers, positions, total, program[op + 9])
    kind, p = program[op + 6], program[op + 7]
    for _ in range(program[op + 3]):
        if kind == TANH:
            for t in range(0, samples, PRODUCT_WIDTH):
                kernels.tanh_block(arena, to + t, x + t, 0, weights, p)
        elif kind == SUMMED_TANH:
            for t in range(0, samples, PRODUCT_WIDTH):
                kernels.summed_tanh_block(arena, to + t, x + t, add + t, weights, p)
        elif kind == LEAKY_RELU:
            for t in range(0, samples, PRODUCT_WIDTH):
                kernels.leaky_relu_block(arena, to + t, x + t, 0, weights, p)
        elif kind == SUMMED_LEAKY_RELU:
            for t in range(0, samples, PRODUCT_WIDTH):
                kernels.summed_leaky_relu_block(arena, to + t, x + t, add + t, weights, p)
        else:
            for t in range(0, samples, PRODUCT_WIDTH):
                _activate_rarely(arena, to + t, x + t, kind, weights, p)
        to += buffers[dest * BUFFER_COLUMNS + STRIDE]
        x += buffers[source * BUFFER_COLUMNS + STRIDE]
        add += buffers[total * BUFFER_COLUMNS + STRIDE]
        p += PARAMETERS


@inlined
def _activate_rarely(arena, to, x, kind, weights, p):  # type: ignore[no-untyped-def]
    if kind == SIGMOID:
        kernels.sigmoid_block(arena, to, x, 0, weights, p)
    elif kind == LEAKY_HARDTANH:
        kernels.leaky_hardtanh_block(arena, to, x, 0, weights, p)
    elif kind == FASTTANH:
        kernels.fasttanh_block(arena, to, x, 0, weights, p)
    elif kind == SILU:
        kernels.silu_block(arena, to, x, 0, weights, p)
    elif kind == HARDSWISH:
        kernels.hardswish_block(arena, to, x, 0, weights, p)
    else:
        kernels.softsign_block(arena, to, x, 0, weights, p)


@inlined
def _run_combination(op, program, buffers, positions, arena, samples):  # type: ignore[no-untyped-def]
    """dest, first row, rows, kind, then up to three inputs: buffer, first row."""
    dest, rows, kind = program[op + 1], program[op + 3], program[op + 4]
    for row in range(rows):
        to = _locate(buffers, positions, dest, program[op + 2] + row)
        x = _locate(buffers, positions, program[op + 5], program[op + 6] + row)
        y = _locate(buffers, positions, program[op + 7], program[op + 8] + row)
        z = _locate(buffers, positions, program[op + 9], program[op + 10] + row)
        for t in range(0, samples, PRODUCT_WIDTH):
            if kind == COPY:
                kernels.copy_rows(arena, to + t, x + t, 0, 0)
            elif kind == ADD:
                kernels.add_rows(arena, to + t, x + t, y + t, 0)
            elif kind == MULTIPLY:
                kernels.multiply_rows(arena, to + t, x + t, y + t, 0)
            elif kind == MODULATE:
                kernels.modulate_rows(arena, to + t, x + t, y + t, z + t)
            else:
                kernels.blend_rows(arena, to + t, x + t, y + t, z + t)


@inlined
def _mirror_ring(buffer, buffers, positions, arena, samples):  # type: ignore[no-untyped-def]
    """Copy what was written behind the end of a ring to its start, and its start to the mirror."""
    at = buffer * BUFFER_COLUMNS
    ring, mirror, position = buffers[at + RING], buffers[at + MIRROR], positions[buffer]
    end, base = position + samples, buffers[at + BASE]
    # whole vectors: samples behind the end are old in both places
    for _ in range(buffers[at + ROWS]):
        if position < mirror:
            for i in range(base + position, base + min(end, mirror), BLOCK_WIDTH):
                kernels.copy_block(arena, i + ring, i)
        if end > ring:
            for i in range(base, base + end - ring, BLOCK_WIDTH):
                kernels.copy_block(arena, i, i + ring)
        base += buffers[at + STRIDE]


@inlined
def _run_operations(program, segments, buffers, weights, positions, arena, starts, samples):  # type: ignore[no-untyped-def]
    for op in range(0, program.shape[0], OPERATION_COLUMNS):
        kind = program[op]
        if kind == PRODUCT:
            _run_product(op, program, segments, buffers, weights, positions, arena, starts, samples)
        elif kind == ACTIVATE:
            _run_activation(op, program, buffers, weights, positions, arena, samples)
        elif kind == COMBINE:
            _run_combination(op, program, buffers, positions, arena, samples)
        else:
            _mirror_ring(program[op + 1], buffers, positions, arena, samples)


@inlined
def _advance(buffers, positions, samples):  # type: ignore[no-untyped-def]
    for buffer in range(positions.shape[0]):
        ring = buffers[buffer * BUFFER_COLUMNS + RING]
        if ring > 0:
            position = positions[buffer] + samples
            positions[buffer] = position - ring if position >= ring else position


def _process(program, segments, buffers, weights, positions, arena, starts, samples):  # type: ignore[no-untyped-def]
    """Compute samples of the last buffer from those of the first; the arena is the state.

    Both have room for all samples, at most `STAGE`.
    """
    before = kernels.flush_denormals()
    last = positions.shape[0] - 1
    done = 0
    while done < samples:
        left = samples - done
        count = LONG_SUB_BLOCK if left >= LONG_SUB_BLOCK else min(SUB_BLOCK, left)
        positions[0] = positions[last] = done
        _run_operations(program, segments, buffers, weights, positions, arena, starts, count)
        _advance(buffers, positions, count)
        done += count
    kernels.restore_denormals(before)
    return done


_SOURCES = tuple(Path(module) for module in (__file__, kernels.__file__, activations.__file__))
process = compiled(_process, _SOURCES)
