"""The compiled loop of the CPU engine with int8 weights.

Input: flat arrays of `int8_weights` and `Int8Workspace`. Output: rings, newest codes and drawn
codes, which are written in place. Called by `cpu_engine`.

The order of work in one sample: the leader embeds the code and computes the chain of layers; it
rounds the input of each layer, adds the current tap to the gate sums, applies the gates and adds
the residual. The follower adds the skips, group by group, as soon as their layers are complete,
then computes the output layers and draws the code. Meanwhile, the leader accumulates the past taps
of later samples. If they are much work, the follower accumulates those of the last layers, before
the skips (`shared_from` of the partition). On one thread the leader's work comes first. Integer
sums have no order, and the floating point operations around them always have the same one, so one
thread and two, any batch and any machine give the same codes.
"""

from typing import Any

import numpy as np

from wavenet.engines.cpu.int8_kernels import (
    MAX_SUM_INPUTS,
    STEP_BYTES,
    copy_32_bytes,
    half_strip_product_1_row,
    half_strip_product_2_rows,
    half_strip_product_3_rows,
    int8_gate_block,
    quantise_rectified_row,
    quantise_row,
    strip_product_1_row,
    strip_product_2_rows,
    strip_product_3_rows,
)
from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_kernels import add_block, copy_block
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.cpu.sample_loop import (
    draw_codes,
    embed_codes,
    find_biases,
    gate_offset,
)
from wavenet.engines.cpu.threads import is_last_sample, mark_reached, stop_if_slow, wait

STRIP_WIDTH = 64  # outputs of a strip
HEADER_BYTES = 8  # per output of a strip

ZERO, ONE = np.int64(0), np.int64(1)


@inlined
def slab_bytes(inputs, outputs):  # type: ignore[no-untyped-def]
    """Return the size of the part of a matrix that has these inputs and outputs."""
    return outputs * (HEADER_BYTES + inputs)


@inlined
def matrix_bytes(inputs, outputs):  # type: ignore[no-untyped-def]
    """Return the size of a packed matrix."""
    slabs = (inputs + MAX_SUM_INPUTS - 1) // MAX_SUM_INPUTS
    return outputs * (HEADER_BYTES * slabs + inputs)


@inlined
def add_product(y, y_at, outputs, w, w_at, q, first, inputs, width, rows):  # type: ignore[no-untyped-def]
    """Add to rows of y (rows, outputs) the product of activations and the matrix at w_at.

    The activations are those from `first` on of the first rows of q, whose width is `width`.
    """
    done = 0
    while done < inputs:
        part = min(inputs - done, MAX_SUM_INPUTS)
        if rows == 1:
            _add_slab_1_row(y, y_at, outputs, w, w_at, q, first + done, part, width)
        else:
            _add_slab(
                y, np.int64(y_at), outputs, w, np.int64(w_at), q, np.int64(first + done),
                part, width, rows
            )  # fmt: skip
        w_at += slab_bytes(part, outputs)
        done += part


@inlined
def _add_slab_1_row(y, y_at, outputs, w, w_at, q, first, inputs, width):  # type: ignore[no-untyped-def]
    n = 0
    while n < outputs:
        if outputs - n >= STRIP_WIDTH:
            strip_product_1_row(y, y_at + n, outputs, w, w_at, q, ZERO, first, width, inputs // 4)
            w_at += slab_bytes(inputs, STRIP_WIDTH)
            n += STRIP_WIDTH
        else:
            half_strip_product_1_row(
                y, y_at + n, outputs, w, w_at, q, ZERO, first, width, inputs // 4
            )
            n += STRIP_WIDTH // 2


def _make_rows_product(product_1_row: Any, product_2_rows: Any, product_3_rows: Any) -> Any:
    """Return the product of all rows with one strip, as many rows at once as possible."""

    @inlined
    def multiply_rows(y, y_at, outputs, w, w_at, q, first, inputs, width, rows):  # type: ignore[no-untyped-def]
        row, fours = ZERO, inputs // 4
        while rows - row >= 3 and rows - row != 4:
            product_3_rows(y, y_at + row * outputs, outputs, w, w_at, q, row, first, width, fours)
            row += 3
        while rows - row >= 2:
            product_2_rows(y, y_at + row * outputs, outputs, w, w_at, q, row, first, width, fours)
            row += 2
        if rows > row:
            product_1_row(y, y_at + row * outputs, outputs, w, w_at, q, row, first, width, fours)

    return multiply_rows


_multiply_by_strip = _make_rows_product(
    strip_product_1_row, strip_product_2_rows, strip_product_3_rows
)
_multiply_by_half_strip = _make_rows_product(
    half_strip_product_1_row, half_strip_product_2_rows, half_strip_product_3_rows
)


@compiled
def _add_slab(y, y_at, outputs, w, w_at, q, first, inputs, width, rows):  # type: ignore[no-untyped-def]
    """Multiply all rows by a strip while it is in the cache."""
    n = ZERO
    while outputs - n >= STRIP_WIDTH:
        _multiply_by_strip(y, y_at + n, outputs, w, w_at, q, first, inputs, width, rows)
        w_at += slab_bytes(inputs, STRIP_WIDTH)
        n += STRIP_WIDTH
    if n < outputs:
        _multiply_by_half_strip(y, y_at + n, outputs, w, w_at, q, first, inputs, width, rows)


@inlined
def write_bias(y, y_at, bias, bias_at, width, rows):  # type: ignore[no-untyped-def]
    """Write a bias to every row of y."""
    for row in range(rows):
        for i in range(0, width, BLOCK_WIDTH):
            copy_block(y, y_at + row * width + i, bias, bias_at + i)


@inlined
def _copy_row(y, y_row, x, x_row, width):  # type: ignore[no-untyped-def]
    """Copy one row of activations with its step."""
    size = 2 * width + STEP_BYTES
    for i in range(0, size, 32):
        copy_32_bytes(y, y_row * size + i, x, x_row * size + i)


@inlined
def push_to_ring(w, shape, rings, workspace, layer, cursor):  # type: ignore[no-untyped-def]
    """Write the input of a layer to its ring."""
    length = w.ring_edges[layer + 1] - w.ring_edges[layer]
    if length > 0:
        slot = w.ring_edges[layer] + cursor % length
        for row in range(workspace.batch):
            target = row * w.ring_edges[shape.layers] + slot
            _copy_row(rings, target, workspace.x_q, row, shape.ring_width)


@compiled
def accumulate_past_taps(w, shape, rings, workspace, layer, slot, cursor, count):  # type: ignore[no-untyped-def]
    """Set the gate sums of `count` samples from `cursor` on to the bias plus all past taps.

    All inputs of these taps are in the rings already.
    """
    width, inputs = 2 * shape.gate_width, shape.ring_width
    start, length = w.ring_edges[layer], w.ring_edges[layer + 1] - w.ring_edges[layer]
    base = gate_offset(shape, workspace, layer, slot)
    batch, taps = workspace.batch, shape.kernel_size - 1
    write_bias(workspace.gate_sums, base, w.gate_bias, layer * width, width, count * batch)
    for tap in range(taps):
        for n in range(count):
            oldest = start + (cursor + n + tap * w.dilations[layer]) % length
            for row in range(batch):
                source = row * w.ring_edges[shape.layers] + oldest
                _copy_row(workspace.past_q, n * batch + row, rings, source, inputs)
        at = (layer * taps + tap) * matrix_bytes(inputs, width)
        add_product(
            workspace.gate_sums, base, width, w.past_taps, at,
            workspace.past_q, ZERO, inputs, inputs, count * batch
        )  # fmt: skip


@inlined
def apply_gates(w, shape, workspace, frames, layer, slot, sample):  # type: ignore[no-untyped-def]
    """Add the current tap and the condition biases to the gate sums, and compute z."""
    width, inputs = 2 * shape.gate_width, shape.ring_width
    base = gate_offset(shape, workspace, layer, slot)
    for row in range(workspace.batch):
        quantise_row(workspace.x_q, row, inputs, workspace.x, row * shape.residual_width)
    add_product(
        workspace.gate_sums, base, width, w.current_tap, layer * matrix_bytes(inputs, width),
        workspace.x_q, ZERO, inputs, inputs, workspace.batch
    )  # fmt: skip
    for row in range(workspace.batch):
        left, right, fraction = find_biases(shape, frames, row, layer, sample)
        at = base + row * width
        for n in range(shape.gate_width // BLOCK_WIDTH):
            more = 2 * n * BLOCK_WIDTH
            int8_gate_block(
                workspace.z_q, row, layer * shape.gate_width + n * BLOCK_WIDTH,
                shape.layers * shape.gate_width, workspace.gate_sums, at + more,
                frames.biases, left + more, right + more, fraction
            )  # fmt: skip


@inlined
def add_residual(w, shape, workspace, layer):  # type: ignore[no-untyped-def]
    """Add the residual to x, the input of a layer; the sum is the input of the next layer."""
    width = shape.residual_width
    for row in range(workspace.batch):
        for i in range(0, width, BLOCK_WIDTH):
            add_block(workspace.x, row * width + i, w.residual_bias, layer * width + i)
    add_product(
        workspace.x, 0, width, w.residual, layer * matrix_bytes(shape.gate_width, width),
        workspace.z_q, layer * shape.gate_width, shape.gate_width,
        shape.layers * shape.gate_width, workspace.batch
    )  # fmt: skip


@inlined
def _accumulate_ahead(w, shape, rings, workspace, layer, cursor, n, samples):  # type: ignore[no-untyped-def]
    """Accumulate past taps of the next samples, if those accumulated so far end at sample n.

    Different layers do so in different samples, so that every sample has about equal work.
    """
    span = min(w.dilations[layer], workspace.samples_ahead)
    slot = (n + 1 + layer) % span
    if workspace.samples_ahead > 1 and (slot == 0 or n < 0):
        count = min(span - slot, samples - n - 1)
        if count > 0:
            accumulate_past_taps(w, shape, rings, workspace, layer, slot, cursor + n + 1, count)


@inlined
def _accumulate_shared(w, shape, rings, workspace, cursor, n, samples, partition):  # type: ignore[no-untyped-def]
    """Accumulate the past taps of the follower's layers; mark each layer that is complete."""
    taps_point = w.skip_edges.shape[0]
    for layer in range(partition.shared_from, shape.layers):
        _accumulate_ahead(w, shape, rings, workspace, layer, cursor, n - 1, samples)
        mark_reached(partition, taps_point, n * shape.layers + layer)


@inlined
def _run_chain(w, shape, rings, workspace, frames, cursor, n, partition):  # type: ignore[no-untyped-def]
    """Compute the gate outputs of all layers; mark each group of layers that is complete.

    Returns False after an abort.
    """
    group, taps_point = ZERO, w.skip_edges.shape[0]
    for layer in range(shape.layers):
        if workspace.samples_ahead == 1:
            accumulate_past_taps(w, shape, rings, workspace, layer, ZERO, cursor + n, ONE)
        slot = (n + layer) % min(w.dilations[layer], workspace.samples_ahead)
        is_new = layer >= partition.shared_from and (slot == 0 or n == 0)
        if is_new and not wait(partition, taps_point, n * shape.layers + layer):
            return False
        apply_gates(w, shape, workspace, frames, layer, slot, n)
        push_to_ring(w, shape, rings, workspace, layer, cursor + n)
        if w.skip_edges[group + 1] == layer + 1:
            mark_reached(partition, group, n)
            group += ONE
        if layer < shape.layers - 1:
            add_residual(w, shape, workspace, layer)
    return True


@inlined
def _add_skips(w, shape, workspace, n, partition):  # type: ignore[no-untyped-def]
    """Compute the skip sums, each group of layers when it is complete; False after an abort."""
    batch, width, gates = workspace.batch, shape.skip_width, shape.gate_width
    write_bias(workspace.skip_sums, 0, w.skip_bias, 0, width, batch)
    at = ZERO
    for group in range(w.skip_edges.shape[0] - 1):
        first, end = w.skip_edges[group], w.skip_edges[group + 1]
        if not partition.has_own_row and not wait(partition, group, n):
            return False
        inputs = (end - first) * gates
        add_product(
            workspace.skip_sums, 0, width, w.skip, at,
            workspace.z_q, first * gates, inputs, shape.layers * gates, batch
        )  # fmt: skip
        at += matrix_bytes(inputs, width)
    return True


@inlined
def _run_output_layers(w, shape, workspace):  # type: ignore[no-untyped-def]
    """Compute params from the skip sums."""
    batch, width, outputs = workspace.batch, shape.skip_width, shape.params_width
    for row in range(batch):
        quantise_rectified_row(workspace.head_q, row, width, workspace.skip_sums, row * width)
    write_bias(workspace.hidden, 0, w.hidden_bias, 0, width, batch)
    add_product(
        workspace.hidden, 0, width, w.hidden, 0,
        workspace.head_q, ZERO, width, width, batch
    )  # fmt: skip
    for row in range(batch):
        quantise_rectified_row(workspace.head_q, row, width, workspace.hidden, row * width)
    write_bias(workspace.params, 0, w.output_bias, 0, outputs, batch)
    for part in range(2):
        add_product(
            workspace.params, 0, outputs, w.output, part * matrix_bytes(width, outputs),
            workspace.head_q, ZERO, width, width, batch
        )  # fmt: skip


@compiled
def generate_int8_samples(  # type: ignore[no-untyped-def]
    w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes
):
    """Generate samples of streams; the arguments and the result are those of `generate_samples`."""
    samples, code_point = noise.shape[1], w.skip_edges.shape[0] - 1
    params_point = code_point + 2  # the point between them is that of the shared past taps
    is_leader = partition.thread == 0 or partition.has_own_row
    is_follower = partition.thread == partition.threads - 1 or partition.has_own_row
    draws = partition.thread == 0 if partition.has_own_row else is_follower
    rows_per_clip = 2 if partition.has_own_row else workspace.batch // codes.shape[0]
    if is_leader:
        for layer in range(partition.shared_from):
            _accumulate_ahead(w, shape, rings, workspace, layer, cursor, -ONE, samples)
    for n in range(samples):
        stop_if_slow(partition, n)
        if is_leader:
            embed_codes(w, shape, workspace, last)
            if not _run_chain(w, shape, rings, workspace, frames, cursor, n, partition):
                return -1
        if is_follower:
            _accumulate_shared(w, shape, rings, workspace, cursor, n, samples, partition)
            if not _add_skips(w, shape, workspace, n, partition):
                return -1
            _run_output_layers(w, shape, workspace)
        if partition.has_own_row:
            mark_reached(partition, params_point, n)
        if draws:
            if partition.has_own_row and not wait(partition, params_point, n):
                return -1
            draw_codes(shape, workspace, last, noise, rules, codes, n, rows_per_clip)
            mark_reached(partition, code_point, n)
        if is_leader:
            for layer in range(partition.shared_from):
                _accumulate_ahead(w, shape, rings, workspace, layer, cursor, n, samples)
        if not draws and not wait(partition, code_point, n):
            return -1
        if is_last_sample(partition, n):
            return n + 1
    return samples


@compiled
def quantise_rows(q, width, x, rows):  # type: ignore[no-untyped-def]
    """Round rows of x (rows, width) to activations."""
    for row in range(rows):
        quantise_row(q, row, width, x, row * width)
