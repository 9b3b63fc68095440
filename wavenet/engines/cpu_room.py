"""What the compiled loop of the CPU engine works on besides the weights: plain flat arrays.

Sizes enter, zeros leave: padding must be finite, and nothing else of the zeros is ever read.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from wavenet.engines.cpu_llvm import LANES, PANEL
from wavenet.engines.cpu_weights import Floats, Shape, aligned

AHEAD = 8  # samples whose old taps are taken at once, of one stream


class Room(NamedTuple):
    """Memory to work in, of B rows; two threads share z, skips, hidden, logits and gates."""

    batch: int
    ahead: int  # samples whose old taps are taken at once
    x: Floats  # (B, x_width), what enters the layer
    window: Floats  # (ahead * B, 2 * old_pairs), old taps side by side
    panel: Floats  # (most pairs, 2, 32), weights that were unpacked
    gates: Floats  # (L, ahead, B, 2 * z_width), sums, old taps first; (B, ..) if not ahead
    z: Floats  # (L, B, z_width)
    skips: Floats  # (B, s_width)
    hidden: Floats  # (B, s_width)
    logits: Floats  # (B, p_width)
    p: Floats  # (p_width,), for drawing
    sums: Floats  # (p_width / 16,), for drawing


class Frames(NamedTuple):
    """Conditions of B rows: biases in gate panels, one frame every `hop` samples."""

    biases: Floats  # (B, frames, L, 2 * z_width), flat
    frames: int
    leads: NDArray[np.int64]  # (B,), samples between the first frame and the first sample
    hop: int  # 0: one frame serves for ever


class Team(NamedTuple):
    """Which thread this is, of how many, and the counters by which they meet."""

    part: int
    parts: int
    counters: NDArray[np.int64]


def make_room(shape: Shape, batch: int) -> Room:
    """Make the memory for so many rows."""
    # a batch uses a weight well enough with the rows that it has
    ahead = max(1, AHEAD // batch)
    return Room(
        batch=batch,
        ahead=ahead,
        x=_zeros(batch * shape.x_width),
        window=_zeros(ahead * batch * 2 * shape.old_pairs),
        panel=_zeros(max(shape.x_pairs, shape.old_pairs, shape.z_pairs, shape.s_pairs) * 2 * PANEL),
        gates=_zeros((shape.layers * ahead if ahead > 1 else 1) * batch * 2 * shape.z_width),
        z=_zeros(shape.layers * batch * shape.z_width),
        skips=_zeros(batch * shape.s_width),
        hidden=_zeros(batch * shape.s_width),
        logits=_zeros(batch * shape.p_width),
        p=_zeros(shape.p_width),
        sums=_zeros(shape.p_width // LANES),
    )


def share_room(room: Room, shape: Shape) -> Room:
    """Make the second thread's view: what the two do not share is its own."""
    own = make_room(shape, room.batch)
    return room._replace(x=own.x, window=own.window, panel=own.panel, p=own.p, sums=own.sums)


def _zeros(size: int) -> Floats:
    return aligned(np.zeros(size, np.float32))
