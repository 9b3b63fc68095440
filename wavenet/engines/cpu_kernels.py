"""The compiled loop of the CPU engine: all samples of a run, without Python between.

A batch of streams goes through the layers together, so that a weight that is read serves every
row; a single stream takes its old taps, which are known long before they are needed, for several
samples at once, to the same end.

One stream can be shared by two threads. Both run this loop, each for its half of the outputs of
every product, and meet once a layer, when z is complete. What may come later, the skip product and
the old taps of the layer before, is done between publishing and waiting, so that the way from core
to core costs no time. The residual product is small and done by both. Every sum is that of one
thread, so the codes are too.

The steps are in `cpu_layers`, the meeting in `cpu_threads`, drawing in `cpu_draw`.
"""

import numpy as np

from wavenet.engines.cpu_cache import compiled, inlined
from wavenet.engines.cpu_draw import draw
from wavenet.engines.cpu_layers import (
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
from wavenet.engines.cpu_llvm import PANEL
from wavenet.engines.cpu_threads import is_last, publish, stop_if_slow, wait

ONE = np.int64(1)  # not a constant of Python's: numba would compile what takes it once more


@inlined
def _share(width, team):  # type: ignore[no-untyped-def]
    """Bound this thread's panels of outputs."""
    panels = width // PANEL
    return team.part * panels // team.parts, (team.part + 1) * panels // team.parts


@inlined
def _prepare(w, shape, rings, room, cursor, samples, first, last):  # type: ignore[no-untyped-def]
    """Begin the gates of the first samples of a run, where they are begun ahead."""
    for layer in range(shape.layers if room.ahead > 1 else 0):
        count = min(w.dilations[layer], room.ahead, samples)
        take_old_taps(w, shape, rings, room, layer, cursor, count, first, last)


@inlined
def _head(w, shape, room, sample, team):  # type: ignore[no-untyped-def]
    """Turn the rectified skips into logits."""
    first, last = _share(shape.s_width, team)
    begin(room.hidden, 0, w.hidden_bias, 0, shape.s_width, room.batch, first, last)
    multiply(
        room.hidden, 0, shape.s_width, w.hidden, 0,
        room.skips, 0, shape.s_width, room.batch, shape.s_pairs, first, last,
        room.panel
    )  # fmt: skip
    rectify(room.hidden, shape.s_width, room.batch, first, last)
    publish(team, shape.layers + 1, sample)
    if not wait(team, shape.layers + 1, sample):
        return False
    first, last = _share(shape.p_width, team)
    begin(room.logits, 0, w.output_bias, 0, shape.p_width, room.batch, first, last)
    multiply(
        room.logits, 0, shape.p_width, w.output, 0,
        room.hidden, 0, shape.s_width, room.batch, shape.s_pairs, first, last,
        room.panel
    )  # fmt: skip
    publish(team, shape.layers + 2, sample)
    return wait(team, shape.layers + 2, sample)


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
        noise: (B, n) uniforms; rules: of drawing.
        codes: (B, n) int64, written by part 0.
    Returns:
        how many samples were made: fewer than n where two threads were in each other's way, and
        -1 if the other thread called it off.
    """
    samples = noise.shape[1]
    first, end = _share(2 * shape.z_width, team)
    s_first, s_end = _share(shape.s_width, team)
    _prepare(w, shape, rings, room, cursor, samples, first, end)
    for n in range(samples):
        stop_if_slow(team, n)
        embed(w, shape, room, last)
        begin(room.skips, 0, w.skip_bias, 0, shape.s_width, room.batch, s_first, s_end)
        for layer in range(shape.layers + 1):
            if layer < shape.layers:
                if room.ahead == 1:
                    take_old_taps(w, shape, rings, room, layer, cursor + n, ONE, first, end)
                slot = n % min(w.dilations[layer], room.ahead)
                pass_gates(w, shape, room, frames, layer, slot, n, first, end)
                publish(team, layer, n)
                remember(w, shape, rings, room, layer, cursor + n)
            if layer > 0:
                add_skips(w, shape, room, layer - 1, s_first, s_end)
                if layer == shape.layers:
                    rectify(room.skips, shape.s_width, room.batch, s_first, s_end)
                    publish(team, layer, n)
                span = min(w.dilations[layer - 1], room.ahead)
                count = min(span, samples - n - 1)
                if room.ahead > 1 and count > 0 and (n + 1) % span == 0:
                    now = cursor + n + 1
                    take_old_taps(w, shape, rings, room, layer - 1, now, count, first, end)
            if not wait(team, layer, n):
                return -1
            if layer < shape.layers - 1:
                add_residual(w, shape, room, layer)
        if not _head(w, shape, room, n, team):
            return -1
        for row in range(room.batch):
            last[row] = draw(
                room.logits, row * shape.p_width, shape.params, noise[row, n], rules,
                room.p, room.sums
            )  # fmt: skip
            if team.part == 0:
                codes[row, n] = last[row]
        if is_last(team, n):
            return n + 1
    return samples
