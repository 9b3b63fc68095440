"""Ring buffers: what the layers of a stream remember, for engines that step.

Every layer keeps what entered it over the last (kernel_size - 1) * dilation samples. Conditioning
and prompts enter, a `RingState` leaves. A prompt is read in one parallel pass, and one longer than
the receptive field needs no more work than one receptive field.
Source: Le Paine et al. 2016, "Fast Wavenet Generation Algorithm".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.engines.base import State
from wavenet.model.conditioning import Conditioning
from wavenet.model.wavenet import WaveNet


@dataclass
class RingState(State):
    """What the layers of a batch of streams remember.

    Attributes:
        rings: (B, sum of ring lengths, R or wider), layer behind layer, edges by `ring_edges`.
        cursor: inputs since the start, the same for all rows. In a ring of length n the newest
            input lies in slot (cursor - 1) % n, the oldest in slot cursor % n, written next.
    """

    rings: Tensor
    cursor: int


def ring_edges(model: WaveNet) -> list[int]:
    """Give where each layer's ring begins, and where the last one ends."""
    lengths = [(model.config.kernel_size - 1) * d for d in model.config.dilations]
    return list(accumulate(lengths, initial=0))


def empty_state(model: WaveNet, conditioning: Conditioning, width: int | None = None) -> RingState:
    """Make the state of a batch of clips of which no sample is there yet.

    The rings hold zeros, which is what the model's layers see before a clip.

    Args:
        width: R or more, of what a ring keeps of one input; R when left out.
    """
    device = conditioning.total.device
    position = torch.zeros(conditioning.batch, dtype=torch.int64, device=device)
    last = torch.full_like(position, model.start_code)
    width = width or model.config.residual_channels
    shape = (conditioning.batch, ring_edges(model)[-1], width)
    return RingState(conditioning, position, last, torch.zeros(shape, device=device), 0)


@torch.no_grad()
def read_prompts(model: WaveNet, state: RingState, prompts: Sequence[Tensor]) -> None:
    """Change a fresh state as if every prompt had been stepped through.

    Args:
        model: whose layers are run.
        state: fresh from `empty_state`; changed in place.
        prompts: per clip (T,) int64 codes, T may be 0 and differ between clips.
    """
    for row, prompt in enumerate(prompts):
        if not prompt.numel():
            continue
        # the newest code has not entered the network yet: it is `last`
        inputs = F.pad(prompt[:-1], (1, 0), value=model.start_code)
        window = inputs[-model.receptive_field :]
        start = torch.tensor([inputs.numel() - window.numel()], device=prompt.device)
        entering, _ = model.layers(window[None], state.conditioning.select([row]), start)
        for x, (begin, end) in zip(entering, pairwise(ring_edges(model)), strict=True):
            kept = min(end - begin, window.numel())
            if kept:  # the cursor is 0, so the newest input belongs into the last slot
                state.rings[row, end - kept : end, : x.shape[2]] = x[0, -kept:]
        state.position[row] = prompt.numel()
        state.last[row] = prompt[-1]


def select_rows(state: RingState, rows: Sequence[int]) -> RingState:
    """Give the state of some clips of the batch, in the order given."""
    index = list(rows)
    return RingState(
        state.conditioning.select(rows),
        state.position[index],
        state.last[index],
        state.rings[index],
        state.cursor,
    )


def join_rows(model: WaveNet, state: RingState, other: RingState) -> RingState:
    """Put the clips of another state behind those of this one, at the cursor of this one."""
    turned = [
        ring.roll(state.cursor - other.cursor, dims=1) if ring.shape[1] else ring
        for ring in (other.rings[:, a:b] for a, b in pairwise(ring_edges(model)))
    ]
    return RingState(
        state.conditioning.join(other.conditioning),
        torch.cat([state.position, other.position]),
        torch.cat([state.last, other.last]),
        torch.cat([state.rings, torch.cat(turned, dim=1)]),
        state.cursor,
    )


class RingEngine:
    """What the engines have in common whose state is a `RingState` and nothing more."""

    model: WaveNet

    def prefill(self, state: RingState, prompts: Sequence[Tensor]) -> None:
        """Fill the rings by one parallel pass per clip."""
        read_prompts(self.model, state, prompts)

    def select(self, state: RingState, rows: Sequence[int]) -> RingState:
        """Keep some clips."""
        return select_rows(state, rows)

    def join(self, state: RingState, other: RingState) -> RingState:
        """Take clips in."""
        return join_rows(self.model, state, other)
