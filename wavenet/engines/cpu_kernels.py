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


@inlined
def _share(width, team):  # type: ignore[no-untyped-def]
    """Bound this thread's panels of outputs."""
    panels = width // PANEL
    return team.part * panels // team.parts, (team.part + 1) * panels // team.parts


@inlined
def _prepare(w, shape, rings, room, cursor, samples, team):  # type: ignore[no-untyped-def]
    """Begin the gates of the first samples of a run, where they are begun ahead."""
    first, last = _share(2 * shape.z_width, team)
    for layer in range(shape.layers if room.ahead > 1 else 0):
        count = min(w.dilations[layer], room.ahead, samples)
        take_old_taps(w, shape, rings, room, layer, cursor, count, first, last)


@inlined
def _predict(w, shape, rings, room, frames, cursor, codes, sample, samples, team):  # type: ignore[no-untyped-def]
    """Send the newest code of each row through the network: room.logits of the next.

    Args:
        w, shape: weights and sizes.
        rings: (B, slots, ring_width), flat, changed.
        room, frames, team: see their classes.
        cursor: inputs since the start, at the first sample of this run.
        codes: (B,), the newest.
        sample: of this run, of `samples`.
    Returns:
        False if the other thread called it off.
    """
    g_first, g_last = _share(2 * shape.z_width, team)
    s_first, s_last = _share(shape.s_width, team)
    embed(w, shape, room, codes)
    begin(room.skips, 0, w.skip_bias, 0, shape.s_width, room.batch, s_first, s_last)
    for layer in range(shape.layers + 1):
        if layer < shape.layers:
            if room.ahead == 1:
                take_old_taps(w, shape, rings, room, layer, cursor + sample, 1, g_first, g_last)
            slot = sample % min(w.dilations[layer], room.ahead)
            pass_gates(w, shape, room, frames, layer, slot, sample, g_first, g_last)
            publish(team, layer, sample)
            remember(w, shape, rings, room, layer, cursor + sample)
        if layer > 0:
            add_skips(w, shape, room, layer - 1, s_first, s_last)
            if layer == shape.layers:
                rectify(room.skips, shape.s_width, room.batch, s_first, s_last)
                publish(team, layer, sample)
            span = min(w.dilations[layer - 1], room.ahead)
            count = min(span, samples - sample - 1)
            if room.ahead > 1 and count > 0 and (sample + 1) % span == 0:
                after = cursor + sample + 1
                take_old_taps(w, shape, rings, room, layer - 1, after, count, g_first, g_last)
        if not wait(team, layer, sample):
            return False
        if layer < shape.layers - 1:
            add_residual(w, shape, room, layer)
    return _head(w, shape, room, sample, team)


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
    """Generate samples of a batch of streams.

    Args:
        last: (B,) the newest codes, changed.
        noise: (B, n) uniforms; rules: of drawing.
        codes: (B, n) int64, written by part 0.
        the others: as in `predict`.
    Returns:
        how many samples were made: fewer than n where two threads were in each other's way, and
        -1 if the other thread called it off.
    """
    batch, samples = noise.shape
    _prepare(w, shape, rings, room, cursor, samples, team)
    for n in range(samples):
        stop_if_slow(team, n)
        if not _predict(w, shape, rings, room, frames, cursor, last, n, samples, team):
            return -1
        for row in range(batch):
            last[row] = draw(
                room.logits, row * shape.p_width, shape.params, noise[row, n], rules,
                room.p, room.sums
            )  # fmt: skip
            if team.part == 0:
                codes[row, n] = last[row]
        if is_last(team, n):
            return n + 1
    return samples
