"""The compiled loop of the CPU engine: all samples of a run, without Python between.

A batch of streams goes through the layers together, so that a weight that is read serves every
row; a single stream takes its old taps, which are known long before they are needed, for several
samples at once, to the same end.

A few streams can be shared by two threads. The first leads: current tap, gate and residual of one
layer after the other, which nothing can shorten. The second follows with what may come later, skips
and old taps, and where it would have more to do than the first, the first takes some of it. They
meet three times a sample, around the two products of the head, of which each does half; else the
second only has to stay behind the first, so the way from core to core costs next to nothing. Every
sum is that of one thread, so the codes are too.

The steps are in `layer_steps`, the meeting in `thread_sync`, drawing in `class_sampling`.
"""

import numpy as np

from wavenet.engines.cpu.class_sampling import draw, guide
from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.layer_steps import (
    add_residual,
    add_skips,
    begin,
    embed,
    multiply,
    pass_gates,
    rectify,
    remember,
    take_old_taps,
)
from wavenet.engines.cpu.llvm_vectors import PANEL
from wavenet.engines.cpu.mixture_sampling import draw_mixture
from wavenet.engines.cpu.thread_sync import is_last, publish, stop_if_slow, wait

# not constants of Python's: numba would compile what takes them once more
ZERO, ONE = np.int64(0), np.int64(1)


@inlined
def _old_taps(w, shape, rings, room, layer, cursor, n, samples, bounds):  # type: ignore[no-untyped-def]
    """Begin the gates of the samples behind the n-th, if those that were begun are used up.

    Layers take turns, so that every sample has about as much to do.
    """
    span = min(w.dilations[layer], room.ahead)
    slot = (n + 1 + layer) % span
    if room.ahead > 1 and (slot == 0 or n < 0):
        count = min(span - slot, samples - n - 1)
        if count > 0:
            take_old_taps(w, shape, rings, room, layer, slot, cursor + n + 1, count, bounds)


@inlined
def _head(w, shape, room, sample, team):  # type: ignore[no-untyped-def]
    """Turn the rectified skips into logits."""
    begin(room.hidden, 0, w.hidden_bias, 0, shape.s_width, room.batch, team.hidden)
    multiply(
        room.hidden, 0, shape.s_width, w.hidden, 0,
        room.skips, 0, shape.s_width, room.batch, shape.s_pairs, team.hidden[0], team.hidden[1],
        room
    )  # fmt: skip
    rectify(room.hidden, shape.s_width, room.batch, team.hidden)
    publish(team, shape.layers + 1, sample)
    if not wait(team, shape.layers + 1, sample):
        return False
    begin(room.logits, 0, w.output_bias, 0, shape.p_width, room.batch, team.output)
    multiply(
        room.logits, 0, shape.p_width, w.output, 0,
        room.hidden, 0, shape.s_width, room.batch, shape.s_pairs, team.output[0], team.output[1],
        room
    )  # fmt: skip
    publish(team, shape.layers + 2, sample)
    return wait(team, shape.layers + 2, sample)


@inlined
def _draw_all(shape, room, last, noise, rules, codes, sample):  # type: ignore[no-untyped-def]
    """Draw the code of each clip, which all of its rows take."""
    rows = room.batch // codes.shape[0]
    for clip in range(codes.shape[0]):
        at = clip * rows * shape.p_width
        if rows > 1:
            guide(room.logits, at, shape.p_width, rules)
        if shape.family > 0:
            code = draw_mixture(room.logits, at, shape, noise[clip, sample], rules, room.mixture)
        else:
            code = draw(
                room.logits, at, shape.params, noise[clip, sample], rules, room.p, room.sums
            )  # fmt: skip
        codes[clip, sample] = code
        for row in range(clip * rows, (clip + 1) * rows):
            last[row] = code


@compiled
def run(w, shape, rings, room, frames, cursor, last, noise, rules, team, codes):  # type: ignore[no-untyped-def]
    """Generate samples of a batch of streams; room.logits are those of the last sample.

    All in one function, or numba would compile the loop twice.

    Args:
        w, shape: weights and sizes.
        rings: (B, slots, ring_width), flat, changed.
        room, frames, team: see their classes.
        cursor: inputs since the start.
        last: (B,) the newest codes, changed.
        noise: (C, n) uniforms of C clips, B or, with guidance, half as many; rules: of drawing.
        codes: (C, n) int64, written by part 0.
    Returns:
        how many samples were made: fewer than n where two threads were in each other's way, and
        -1 if the other thread called it off.
    """
    samples, layers = noise.shape[1], shape.layers
    whole = (ZERO, 2 * shape.z_width // PANEL)
    for layer in range(layers):
        _old_taps(w, shape, rings, room, layer, cursor, -ONE, samples, team.old)
    publish(team, layers + 3, ZERO)
    if not wait(team, layers + 3, ZERO):
        return -1
    # the second thread takes the old taps of the last layers after the head, while the first draws
    # and begins the next sample; within the layers they would keep the first waiting at the head
    late = layers - min(room.ahead, layers // 2)
    end = late if team.part == 1 else layers
    for n in range(samples):
        stop_if_slow(team, n)
        if team.part == 0:
            embed(w, shape, room, last)
        begin(room.skips, 0, w.skip_bias, 0, shape.s_width, room.batch, team.skip)
        for layer in range(layers + 1):
            if team.part == 0 and layer < layers:
                if room.ahead == 1:
                    take_old_taps(w, shape, rings, room, layer, ZERO, cursor + n, ONE, whole)
                if layer == late and not wait(team, layers + 3, n):
                    return -1
                slot = (n + layer) % min(w.dilations[layer], room.ahead)
                pass_gates(w, shape, room, frames, layer, slot, n)
                remember(w, shape, rings, room, layer, cursor + n)
                publish(team, layer, n)
            if layer > 0:
                if team.part == 1 and not wait(team, layer - 1, n):
                    return -1
                add_skips(w, shape, room, layer - 1, team.skip)
                if layer <= end:
                    _old_taps(w, shape, rings, room, layer - 1, cursor, n, samples, team.old)
            if team.part == 0 and layer < layers - 1:
                add_residual(w, shape, room, layer)
        rectify(room.skips, shape.s_width, room.batch, team.skip)
        publish(team, layers, n)
        if not wait(team, layers, n) or not _head(w, shape, room, n, team):
            return -1
        for layer in range(end, layers):
            _old_taps(w, shape, rings, room, layer, cursor, n, samples, team.old)
        publish(team, layers + 3, n + 1)
        if team.part == 0:
            _draw_all(shape, room, last, noise, rules, codes, n)
        if is_last(team, n):
            return n + 1
    return samples
