"""Reading a prompt in one parallel pass, for engines that keep ring buffers.

A prompt enters, the activations that the ring buffers must hold leave. A prompt longer than the
receptive field needs no more work than one receptive field.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.model.conditioning import Conditioning
from wavenet.model.wavenet import WaveNet


def ring_lengths(model: WaveNet) -> list[int]:
    """Give, per layer, how many past inputs its ring buffer holds."""
    return [(model.config.kernel_size - 1) * d for d in model.config.dilations]


def ring_edges(model: WaveNet) -> list[int]:
    """Give where each layer's ring begins when all lie one behind the other, and the total."""
    edges = [0]
    for length in ring_lengths(model):
        edges.append(edges[-1] + length)
    return edges


@torch.no_grad()
def read_prompts(
    model: WaveNet,
    conditioning: Conditioning,
    prompts: Sequence[Tensor],
    rings: Tensor,
    position: Tensor,
    last: Tensor,
) -> None:
    """Fill rings, position and last, as if every prompt had been stepped through.

    Args:
        model: whose layers are run.
        conditioning: of the batch.
        prompts: per clip (T,) int64 codes.
        rings: (B, sum of ring lengths, R), layer behind layer; slot -i of a layer receives what
            entered it i inputs ago. Changed in place, as are
        position: (B,) and last: (B,).
    """
    for row, prompt in enumerate(prompts):
        if not prompt.numel():
            continue
        # the newest code has not entered the network yet: it is `last`
        inputs = F.pad(prompt[:-1], (1, 0), value=model.start_code)
        window = inputs[-model.receptive_field :]
        start = torch.tensor([inputs.numel() - window.numel()], device=prompt.device)
        entering, _ = model.layers(window[None], conditioning.select([row]), start)
        for x, (begin, end) in zip(entering, pairwise(ring_edges(model)), strict=True):
            kept = min(end - begin, window.numel())
            if kept:
                rings[row, end - kept : end] = x[0, -kept:]
        position[row] = prompt.numel()
        last[row] = prompt[-1]
