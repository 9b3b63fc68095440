"""What the compiled loop of the CPU engine works on besides the weights: plain flat arrays.

Sizes enter, zeros leave: padding must be finite, and nothing else of the zeros is ever read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavenet.engines.cpu.llvm_vectors import LANES, PANEL
from wavenet.engines.cpu.packed_weights import Floats, Shape, aligned

Bounds = tuple[int, int]
GATE = 18  # what one panel of gates costs, in pairs of inputs of one panel of a product
DRAW = 250  # what drawing and the embedding cost, likewise
AHEAD = 8  # samples whose old taps are taken at once, of one stream


class Room(NamedTuple):
    """Memory to work in, of B rows; two threads share x, z, skips, hidden, logits and gates."""

    batch: int
    ahead: int  # samples whose old taps are taken at once
    x: Floats  # (B, x_width), what enters the layer
    window: Floats  # (ahead * B, 2 * old_pairs), old taps side by side
    panel: Floats  # (most pairs, 2, 32), weights that were unpacked
    at_once: int  # panels that one row reads together
    gates: Floats  # (L, ahead, B, 2 * z_width), sums, old taps first; (B, ..) if not ahead
    z: Floats  # (L, B, z_width)
    skips: Floats  # (B, s_width)
    hidden: Floats  # (B, s_width)
    logits: Floats  # (B, p_width)
    p: Floats  # (p_width,), for drawing
    sums: Floats  # (p_width / 16,), for drawing
    mixture: NDArray[np.float64]  # (2 * components,), for drawing


class Frames(NamedTuple):
    """Conditions of B rows: biases in gate panels, one frame every `hop` samples."""

    biases: Floats  # (B, frames, L, 2 * z_width), flat
    frames: int
    leads: NDArray[np.int64]  # (B,), samples between the first frame and the first sample
    hop: int  # 0: one frame serves for ever


class Team(NamedTuple):
    """Which thread this is, of how many, and its panels of outputs, from and to.

    The first thread leads: it goes from layer to layer, with a part of the rest. The second
    follows it with the other part. The residual path is the first's alone.
    """

    part: int
    parts: int
    counters: NDArray[np.int64]
    old: Bounds
    skip: Bounds
    hidden: Bounds
    output: Bounds


def make_team(shape: Shape, part: int, parts: int, counters: NDArray[np.int64]) -> Team:
    """Divide the work of a sample among one thread or two."""
    gates, skips, outputs = (
        width // PANEL for width in (2 * shape.z_width, shape.s_width, shape.p_width)
    )
    old, skip = (gates, skips) if parts == 1 else _of_the_leader(shape)
    edges = [(old, gates), (skip, skips), (-(-skips // parts), skips)]
    edges.append((-(-outputs // parts), outputs))
    bounds = [(0, first) if part == 0 else (first, end) for first, end in edges]
    return Team(part, parts, counters, *bounds)


def _of_the_leader(shape: Shape) -> tuple[int, int]:
    """Give how many panels of old taps and of skips the leading thread takes.

    So many that both threads have as much to do; old taps last, for they are not its own rings'.
    """
    gates, skips = 2 * shape.z_width // PANEL, shape.s_width // PANEL
    x_panels = shape.x_width // PANEL
    lead = gates * shape.x_pairs + x_panels * shape.z_pairs + GATE * gates + DRAW // shape.layers
    rest = gates * shape.old_pairs + skips * shape.z_pairs
    more = max(0, (rest - lead) // 2)  # pairs of inputs of one panel, as all here
    skip = min(skips, round(more / shape.z_pairs))
    left = more - skip * shape.z_pairs
    old = min(gates, round(left / shape.old_pairs)) if shape.old_pairs and skip == skips else 0
    return old, skip


def make_room(shape: Shape, batch: int, at_once: int = 1) -> Room:
    """Make the memory for so many rows."""
    # a batch uses a weight well enough with the rows that it has
    ahead = max(1, AHEAD // batch)
    return Room(
        batch=batch,
        ahead=ahead,
        x=_zeros(batch * shape.x_width),
        window=_zeros(ahead * batch * 2 * shape.old_pairs),
        panel=_zeros(max(shape.x_pairs, shape.old_pairs, shape.z_pairs, shape.s_pairs) * 2 * PANEL),
        at_once=at_once,
        gates=_zeros((shape.layers * ahead if ahead > 1 else 1) * batch * 2 * shape.z_width),
        z=_zeros(shape.layers * batch * shape.z_width),
        skips=_zeros(batch * shape.s_width),
        hidden=_zeros(batch * shape.s_width),
        logits=_zeros(batch * shape.p_width),
        p=_zeros(shape.p_width),
        sums=_zeros(shape.p_width // LANES),
        mixture=np.zeros(2 * shape.components),
    )


def share_room(room: Room, shape: Shape) -> Room:
    """Make the second thread's view: what the two do not share is its own."""
    own = make_room(shape, room.batch, room.at_once)
    return room._replace(window=own.window, panel=own.panel)


def _zeros(size: int) -> Floats:
    return aligned(np.zeros(size, np.float32))
