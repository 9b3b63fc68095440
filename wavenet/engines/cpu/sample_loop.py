"""The compiled loop of the CPU engine: all samples of a run, without Python in between.

Input: flat arrays of `packed_weights` and `workspace`. Output: rings, newest codes and drawn codes,
which are written in place. Called by `cpu_engine`; the package docstring describes the plan.

The order of work in one sample of one thread: embed the code; in each layer add the current tap to
the gate sums, apply the gates, push the input to the ring, add to the skip sums, add the residual;
then compute the output layers and draw the code. The inputs of past taps are known long before the
taps are needed. For 1 to 4 streams the taps are accumulated for several samples at once, so that
each weight is read once for all of them.

`panels` is the range of panels of outputs that a thread computes, from `ThreadPartition`. Codes do
not depend on the number of threads, because every sum is computed by one thread.
"""

import numpy as np

from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_kernels import (
    HAS_AVX512,
    MAX_ROWS,
    PANEL_WIDTH,
    add_block,
    copy_block,
    gate_block,
    panel_product_1_row,
    panel_product_2_rows,
    panel_product_3_rows,
    panel_product_max_rows,
    relu_block,
    two_panels_product_1_row,
    unpack_block,
    words_per_pair,
)
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.cpu.numba_sampling import draw_class, draw_mixture, merge_guidance
from wavenet.engines.cpu.threads import is_last_sample, mark_reached, stop_if_slow, wait

MIN_ROWS_TO_UNPACK = 6  # from this number of rows on, unpacking a panel first is faster

# int64, because numba would compile the called functions again for Python constants
ZERO, ONE = np.int64(0), np.int64(1)


@inlined
def add_product(y, y_at, y_stride, w, w_at, x, x_at, x_stride, rows, pairs, first, last, workspace):  # type: ignore[no-untyped-def]
    """Add to y the product of some rows of x and panels first to last of the matrix at w_at."""
    if rows > 1:
        # int64, because numba would compile it again for every pattern of constants
        _add_product_rows(
            y, np.int64(y_at), y_stride, w, np.int64(w_at), x, np.int64(x_at), x_stride,
            rows, pairs, np.int64(first), last, workspace.unpacked
        )  # fmt: skip
        return
    size = pairs * words_per_pair(w)
    n = first
    while HAS_AVX512 and workspace.panels_at_once == 2 and last - n >= 2:
        two_panels_product_1_row(
            y, y_at + n * PANEL_WIDTH, y_stride, w, w_at + n * size, x, x_at, x_stride, pairs
        )
        n += 2
    while n < last:
        panel_product_1_row(
            y, y_at + n * PANEL_WIDTH, y_stride, w, w_at + n * size, x, x_at, x_stride, pairs
        )
        n += 1


@compiled
def _add_product_rows(  # type: ignore[no-untyped-def]
    y, y_at, y_stride, w, w_at, x, x_at, x_stride, rows, pairs, first, last, unpacked
):
    """Compute `add_product` panel by panel, so that all rows use a panel while it is in the cache.

    For many rows, 16-bit weights are unpacked once for all rows.
    """
    words = words_per_pair(w)
    for n in range(first, last):
        out, at = y_at + n * PANEL_WIDTH, w_at + n * pairs * words
        if words == PANEL_WIDTH and rows >= MIN_ROWS_TO_UNPACK:
            for pair in range(pairs):
                for i in range(0, PANEL_WIDTH, BLOCK_WIDTH):
                    unpack_block(
                        unpacked, pair * 2 * PANEL_WIDTH + i, w, at + pair * PANEL_WIDTH + i
                    )
            _add_panel_product(y, out, y_stride, unpacked, 0, x, x_at, x_stride, rows, pairs)
        else:
            _add_panel_product(y, out, y_stride, w, at, x, x_at, x_stride, rows, pairs)


@inlined
def _add_panel_product(y, out, y_stride, w, at, x, x_at, x_stride, rows, pairs):  # type: ignore[no-untyped-def]
    """Multiply rows by one panel, with as many rows at once as fit into the registers.

    Unpacking needs registers, too. On machines with 16 registers, packed weights are therefore
    multiplied by fewer rows at once.
    """
    row = 0
    while rows - row >= MAX_ROWS and (HAS_AVX512 or words_per_pair(w) > PANEL_WIDTH):
        panel_product_max_rows(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += MAX_ROWS
    while HAS_AVX512 and rows - row >= 3 and rows - row != 4:
        panel_product_3_rows(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += 3
    while rows - row >= 2:
        panel_product_2_rows(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )
        row += 2
    if rows > row:
        panel_product_1_row(
            y, out + row * y_stride, y_stride, w, at, x, x_at + row * x_stride, x_stride, pairs
        )


@inlined
def matrix_offset(w, n, pairs, outputs):  # type: ignore[no-untyped-def]
    """Return the offset in w of the n-th matrix with these numbers of pairs and outputs."""
    return n * pairs * words_per_pair(w) * (outputs // PANEL_WIDTH)


@inlined
def write_bias(y, y_at, bias, bias_at, width, rows, panels):  # type: ignore[no-untyped-def]
    """Write a bias to every row of y."""
    first, last = panels
    for row in range(rows):
        for i in range(first * PANEL_WIDTH, last * PANEL_WIDTH, BLOCK_WIDTH):
            copy_block(y, y_at + row * width + i, bias, bias_at + i)


@inlined
def relu(y, width, rows, panels):  # type: ignore[no-untyped-def]
    """Set negative numbers to zero."""
    first, last = panels
    for row in range(rows):
        for i in range(first * PANEL_WIDTH, last * PANEL_WIDTH, BLOCK_WIDTH):
            relu_block(y, row * width + i, y, row * width + i)


@inlined
def embed_codes(w, shape, workspace, codes):  # type: ignore[no-untyped-def]
    """Write the embedding of each row's code, or of its value, to x."""
    for row in range(workspace.batch):
        at = row * shape.residual_width
        if shape.family > 0:
            value = np.float32(codes[row]) * np.float32(2 / (shape.n_classes - 1)) - np.float32(1)
            for i in range(shape.residual_width):
                scaled = w.embedding[i] * value
                workspace.x[at + i] = scaled + w.embedding[shape.residual_width + i]
            continue
        for i in range(0, shape.residual_width, BLOCK_WIDTH):
            copy_block(workspace.x, at + i, w.embedding, codes[row] * shape.residual_width + i)


@inlined
def gate_offset(shape, workspace, layer, slot):  # type: ignore[no-untyped-def]
    """Return the offset of a layer's gate sums; with samples_ahead 1 all layers share a buffer."""
    place = layer * workspace.samples_ahead + slot if workspace.samples_ahead > 1 else 0
    return place * workspace.batch * 2 * shape.gate_width


@compiled
def accumulate_past_taps(w, shape, rings, workspace, layer, slot, cursor, count, panels):  # type: ignore[no-untyped-def]
    """Set the gate sums of `count` samples from `cursor` on to the bias plus all past taps.

    All inputs of these taps are in the rings already.
    """
    first, last = panels
    width, inputs = 2 * shape.gate_width, 2 * shape.past_pairs
    start, length = w.ring_edges[layer], w.ring_edges[layer + 1] - w.ring_edges[layer]
    base = gate_offset(shape, workspace, layer, slot)
    rows = count * workspace.batch
    write_bias(workspace.gate_sums, base, w.gate_bias, layer * width, width, rows, panels)
    for tap in range(shape.kernel_size - 1):
        for n in range(count):
            oldest = start + (cursor + n + tap * w.dilations[layer]) % length
            for row in range(workspace.batch):
                source = (row * w.ring_edges[shape.layers] + oldest) * shape.ring_width
                target = (n * workspace.batch + row) * inputs + tap * shape.ring_width
                for i in range(0, shape.ring_width, BLOCK_WIDTH):
                    copy_block(workspace.past_inputs, target + i, rings, source + i)
    if shape.kernel_size > 1 and last > first:
        add_product(
            workspace.gate_sums, base, width,
            w.past_taps, matrix_offset(w.past_taps, layer, shape.past_pairs, width),
            workspace.past_inputs, 0, inputs, rows, shape.past_pairs, first, last,
            workspace
        )  # fmt: skip


@inlined
def find_biases(shape, frames, row, layer, sample):  # type: ignore[no-untyped-def]
    """Return the offsets of a row's condition biases in two frames, and the fraction between."""
    width = 2 * shape.gate_width
    frame, fraction = 0, np.float32(0)
    if frames.hop_length > 0:
        offset = frames.offsets[row] + sample
        frame = offset // frames.hop_length
        fraction = np.float32(offset - frame * frames.hop_length)
        fraction = fraction / np.float32(frames.hop_length)
    left = ((row * frames.frame_count + frame) * shape.layers + layer) * width
    right = left + shape.layers * width if frames.hop_length > 0 else left
    return left, right, fraction


@inlined
def apply_gates(w, shape, workspace, frames, layer, slot, sample):  # type: ignore[no-untyped-def]
    """Add the current tap and the condition biases to the gate sums, and compute z."""
    width = 2 * shape.gate_width
    base = gate_offset(shape, workspace, layer, slot)
    add_product(
        workspace.gate_sums, base, width,
        w.current_tap, matrix_offset(w.current_tap, layer, shape.residual_pairs, width),
        workspace.x, 0, shape.residual_width, workspace.batch, shape.residual_pairs,
        0, width // PANEL_WIDTH, workspace
    )  # fmt: skip
    for row in range(workspace.batch):
        left, right, fraction = find_biases(shape, frames, row, layer, sample)
        at = base + row * width
        out = (layer * workspace.batch + row) * shape.gate_width
        for n in range(width // PANEL_WIDTH):
            more = n * PANEL_WIDTH
            gate_block(
                workspace.z, out + n * BLOCK_WIDTH, workspace.gate_sums, at + more,
                frames.biases, left + more, right + more, fraction
            )  # fmt: skip


@inlined
def push_to_ring(w, shape, rings, workspace, layer, cursor):  # type: ignore[no-untyped-def]
    """Write the input of a layer to its ring."""
    length = w.ring_edges[layer + 1] - w.ring_edges[layer]
    if length > 0:
        slot = w.ring_edges[layer] + cursor % length
        for row in range(workspace.batch):
            target = (row * w.ring_edges[shape.layers] + slot) * shape.ring_width
            for i in range(0, shape.ring_width, BLOCK_WIDTH):
                copy_block(rings, target + i, workspace.x, row * shape.residual_width + i)


@inlined
def add_skips(w, shape, workspace, layer, panels):  # type: ignore[no-untyped-def]
    """Add the skip product of one layer to the skip sums."""
    first, last = panels
    add_product(
        workspace.skip_sums, 0, shape.skip_width,
        w.skip, matrix_offset(w.skip, layer, shape.gate_pairs, shape.skip_width),
        workspace.z, layer * workspace.batch * shape.gate_width, shape.gate_width,
        workspace.batch, shape.gate_pairs, first, last, workspace
    )  # fmt: skip


@inlined
def add_residual(w, shape, workspace, layer):  # type: ignore[no-untyped-def]
    """Add the residual to x, the input of a layer; the sum is the input of the next layer."""
    for row in range(workspace.batch):
        for i in range(0, shape.residual_width, BLOCK_WIDTH):
            at = layer * shape.residual_width + i
            add_block(workspace.x, row * shape.residual_width + i, w.residual_bias, at)
    add_product(
        workspace.x, 0, shape.residual_width,
        w.residual, matrix_offset(w.residual, layer, shape.gate_pairs, shape.residual_width),
        workspace.z, layer * workspace.batch * shape.gate_width, shape.gate_width,
        workspace.batch, shape.gate_pairs, 0, shape.residual_width // PANEL_WIDTH, workspace
    )  # fmt: skip


@inlined
def _accumulate_ahead(w, shape, rings, workspace, layer, cursor, n, samples, panels):  # type: ignore[no-untyped-def]
    """Accumulate past taps of the next samples, if those accumulated so far end at sample n.

    Different layers do so in different samples, so that every sample has about equal work.
    """
    span = min(w.dilations[layer], workspace.samples_ahead)
    slot = (n + 1 + layer) % span
    if workspace.samples_ahead > 1 and (slot == 0 or n < 0):
        count = min(span - slot, samples - n - 1)
        if count > 0:
            accumulate_past_taps(
                w, shape, rings, workspace, layer, slot, cursor + n + 1, count, panels
            )


@inlined
def _run_layers(  # type: ignore[no-untyped-def]
    w, shape, rings, workspace, frames, cursor, n, samples, first_late_layer, end_layer, partition
):
    """Compute z and the skip sums of all layers; return False after an abort.

    Thread 0 computes the chain of layers. Thread 1 waits in each layer for z. The past taps of
    `first_late_layer` and later layers are accumulated after the output layers by thread 1; this
    function accumulates those of the layers before `end_layer`.
    """
    layers = shape.layers
    all_gates = (ZERO, 2 * shape.gate_width // PANEL_WIDTH)
    for layer in range(layers + 1):
        if partition.thread == 0 and layer < layers:
            if workspace.samples_ahead == 1:
                accumulate_past_taps(
                    w, shape, rings, workspace, layer, ZERO, cursor + n, ONE, all_gates
                )
            if layer == first_late_layer and not wait(partition, layers + 3, n):
                return False
            slot = (n + layer) % min(w.dilations[layer], workspace.samples_ahead)
            apply_gates(w, shape, workspace, frames, layer, slot, n)
            push_to_ring(w, shape, rings, workspace, layer, cursor + n)
            mark_reached(partition, layer, n)
        if layer > 0:
            if partition.thread == 1 and not wait(partition, layer - 1, n):
                return False
            add_skips(w, shape, workspace, layer - 1, partition.skip)
            if layer <= end_layer:
                _accumulate_ahead(
                    w, shape, rings, workspace, layer - 1, cursor, n, samples, partition.past_taps
                )
        if partition.thread == 0 and layer < layers - 1:
            add_residual(w, shape, workspace, layer)
    return True


@inlined
def _run_output_layers(w, shape, workspace, sample, partition):  # type: ignore[no-untyped-def]
    """Compute params from the skip sums after the ReLU; return False after an abort."""
    panels = partition.hidden
    write_bias(workspace.hidden, 0, w.hidden_bias, 0, shape.skip_width, workspace.batch, panels)
    add_product(
        workspace.hidden, 0, shape.skip_width, w.hidden, 0,
        workspace.skip_sums, 0, shape.skip_width, workspace.batch, shape.skip_pairs,
        panels[0], panels[1], workspace
    )  # fmt: skip
    relu(workspace.hidden, shape.skip_width, workspace.batch, panels)
    mark_reached(partition, shape.layers + 1, sample)
    if not wait(partition, shape.layers + 1, sample):
        return False
    panels = partition.output
    write_bias(workspace.params, 0, w.output_bias, 0, shape.params_width, workspace.batch, panels)
    add_product(
        workspace.params, 0, shape.params_width, w.output, 0,
        workspace.hidden, 0, shape.skip_width, workspace.batch, shape.skip_pairs,
        panels[0], panels[1], workspace
    )  # fmt: skip
    mark_reached(partition, shape.layers + 2, sample)
    return wait(partition, shape.layers + 2, sample)


@inlined
def draw_codes(shape, workspace, last, noise, rules, codes, sample, rows):  # type: ignore[no-untyped-def]
    """Draw the code of each clip and write it to all rows of the clip."""
    for clip in range(codes.shape[0]):
        at, uniform = clip * rows * shape.params_width, noise[clip, sample]
        if rows > 1:
            merge_guidance(workspace.params, at, shape.params_width, rules)
        if shape.family > 0:
            code = draw_mixture(workspace.params, at, shape, uniform, rules, workspace.mixture)
        else:
            code = draw_class(
                workspace.params, at, shape.n_params, uniform, rules,
                workspace.masses, workspace.block_sums
            )  # fmt: skip
        codes[clip, sample] = code
        for row in range(clip * rows, (clip + 1) * rows):
            last[row] = max(code, 0)  # -1 is not a code


@compiled
def generate_samples(  # type: ignore[no-untyped-def]
    w, shape, rings, workspace, frames, cursor, last, noise, rules, partition, codes
):
    """Generate samples of streams; afterwards workspace.params has the params of the last one.

    One function serves one thread and two, because numba would compile two functions separately.

    Args:
        w, shape: `CpuWeights` and `CpuShape`.
        rings: (B, slots, ring_width), flat; changed.
        workspace, frames, partition: `Workspace`, `BiasFrames`, `ThreadPartition`.
        cursor: inputs since the start of the rings.
        last: (B,) the newest codes; changed.
        noise: (C, n) uniforms of C clips; C is B, or half of it with guidance.
        rules: `SamplingRules`.
        codes: (C, n) int64, written by thread 0.
    Returns:
        the number of generated samples; fewer than n if the two threads slept too often; -1 after
        an abort by the other thread.
    """
    samples, layers, batch = noise.shape[1], shape.layers, workspace.batch
    for layer in range(layers):
        _accumulate_ahead(
            w, shape, rings, workspace, layer, cursor, -ONE, samples, partition.past_taps
        )
    mark_reached(partition, layers + 3, ZERO)
    if not wait(partition, layers + 3, ZERO):
        return -1
    # Thread 1 accumulates the past taps of the last layers after the output layers, while thread 0
    # draws and begins the next sample. Within the layers, thread 0 would have to wait for it.
    first_late_layer = layers - min(workspace.samples_ahead, layers // 2)
    end_layer = first_late_layer if partition.thread == 1 else layers
    for n in range(samples):
        stop_if_slow(partition, n)
        if partition.thread == 0:
            embed_codes(w, shape, workspace, last)
        skip_sums = workspace.skip_sums
        write_bias(skip_sums, 0, w.skip_bias, 0, shape.skip_width, batch, partition.skip)
        if not _run_layers(
            w,
            shape,
            rings,
            workspace,
            frames,
            cursor,
            n,
            samples,
            first_late_layer,
            end_layer,
            partition,
        ):
            return -1
        relu(skip_sums, shape.skip_width, batch, partition.skip)
        mark_reached(partition, layers, n)
        if not wait(partition, layers, n):
            return -1
        if not _run_output_layers(w, shape, workspace, n, partition):
            return -1
        for layer in range(end_layer, layers):
            _accumulate_ahead(
                w, shape, rings, workspace, layer, cursor, n, samples, partition.past_taps
            )
        mark_reached(partition, layers + 3, n + 1)
        if partition.thread == 0:
            rows_per_clip = workspace.batch // codes.shape[0]
            draw_codes(shape, workspace, last, noise, rules, codes, n, rows_per_clip)
        if is_last_sample(partition, n):
            return n + 1
    return samples
