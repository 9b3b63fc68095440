"""The attention map of a model: which past samples the prediction of a sample attends to.

Input: a checkpoint with attention, a request and the codes of its clip. Output: for each block the
weights of the past samples, by head and age. A weight says how much of the value of a position is
in the sum of a head. In the blocks above the first, that value already contains earlier samples.
Called by the studio.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.errors import ModelUnsupported
from wavenet.generation.request import GenerationRequest
from wavenet.likelihood.score import WINDOW
from wavenet.likelihood.step_view import steps_conditioning
from wavenet.model.attention_layers import AttentionModel
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory

MAX_PAST = 4_000  # samples


def has_attention(model: AutoregressiveModel[Any]) -> bool:
    """Return whether a model has an attention map."""
    return isinstance(model, AttentionModel)


@torch.no_grad()
def view_attention(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    codes: Tensor,
    first: int,
    past: int = MAX_PAST,
) -> Iterator[Tensor]:
    """Compute the weights of the past samples at some samples of a clip, block by block.

    Args:
        checkpoint: a transformer or a network with linear attention.
        request, codes, first: as in `view_steps`: n samples from `first` to the end of the codes.
        past: largest number of past samples.
    Yields:
        for each block (n, heads, P) float32, on the CPU. Entry k of a row is the weight of the
        sample k + 1 before the predicted one; after the first sample of the clip, one entry is that
        of the start code, and the rest is 0. P is the window of the model or `past`, whichever is
        less. A row sums to 1, if no sample before the P newest has a weight.
    Raises:
        ModelUnsupported: the model has no attention.
        ConditionError: as in `view_steps`.
        OutOfMemory, DeviceError: see `devices`.
    """
    model = checkpoint.model
    if not isinstance(model, AttentionModel):
        raise ModelUnsupported(
            "an attention map needs a model with attention (transformer or linear-attention); "
            f"found the architecture {model.config.architecture!r}"
        )
    conditioning = steps_conditioning(checkpoint, request, codes, first)
    queries, reach = codes.numel() - first, model.config.window
    begin = max(0, first + 1 - (past if reach is None else reach))
    inputs = F.pad(codes[:-1], (1, 0), value=model.start_code)[None].to(model.device)
    with device_errors():
        memory = _read_past(model, conditioning, inputs[:, :begin])
        start = torch.tensor([begin])
        for weights in model.attention_weights(
            inputs[:, begin:], conditioning, queries, start, memory
        ):
            yield weights_by_age(weights[0], past if reach is None else min(past, reach))


def weights_by_age(weights: Tensor, past: int) -> Tensor:
    """Arrange weights by the age of a position, the newest first.

    Args:
        weights: (heads, n, T) of the newest n of T positions.
        past: number of positions per row.
    Returns:
        (n, heads, past) on the CPU, 0 before the first position.
    """
    queries, samples = weights.shape[1:]
    newest = torch.arange(samples - queries, samples, device=weights.device)
    positions = newest[:, None] - torch.arange(past, device=weights.device)
    rows = weights.gather(2, positions.clamp(min=0).expand(len(weights), -1, -1))
    return (rows * (positions >= 0)).transpose(0, 1).float().cpu()


def _read_past(model: AttentionModel[Any], conditioning: Conditioning, inputs: Tensor) -> Memory:
    """Return the memory after the inputs of a clip (1, T), which are read from its beginning."""
    memory = model.initial_memory(1)
    for begin in range(0, inputs.shape[1], WINDOW):
        part = inputs[:, begin : begin + WINDOW]
        model.hidden_states(part, conditioning, torch.tensor([begin]), memory)
    return memory
