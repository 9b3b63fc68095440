"""Truncated backpropagation through time: the loss of a batch, chunk by chunk.

Input: a batch. Output: nats, with gradients. The gradient of a whole clip needs the activations of
all its samples. Here a clip is computed in chunks. The memory is carried from chunk to chunk as a
value without gradient, so the loss is that of the whole clip. The gradient of a chunk is computed
before the next chunk, and then its activations are freed. With m_k, the memory at the start of
chunk k:

    loss = Σ_k loss_k(θ, m_k)
    whole gradient      Σ_k ∂loss_k/∂θ + ∂loss_k/∂m_k · dm_k/dθ
    truncated gradient  Σ_k ∂loss_k/∂θ

The omitted term is the influence of a sample on predictions in later chunks. With one chunk nothing
is omitted. Called by `task`, if a recipe has `truncation`.

Source: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training of
Recurrent Network Trajectories".
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.nll import sum_nll
from wavenet.training.prefetch import EncodedBatch
from wavenet.training.summed_loss import Gradients, sum_losses


def truncated_nll(
    model: AutoregressiveModel[Any], batch: EncodedBatch, input_codes: Tensor, truncation: int
) -> Tensor:
    """Sum the negative log-likelihood, in nats, over the targets of a batch.

    Matrix products use the dtype of autocast if it is enabled.

    Args:
        batch: on the device of the model.
        input_codes: (B, T) int64, the input of the model: the codes, or the codes with noise.
        truncation: samples per chunk.
    """
    device = batch.codes.device
    inputs = F.pad(input_codes[:, :-1], (1, 0), value=model.start_code)
    parameters = [p for p in model.parameters() if p.requires_grad]
    needs_grad = torch.is_grad_enabled() and bool(parameters)
    bf16 = torch.is_autocast_enabled(device.type)
    dtype = torch.get_autocast_dtype(device.type)

    def chunk_losses() -> Iterator[tuple[Tensor, Gradients]]:
        memory = model.initial_memory(len(inputs), device)
        for first in range(0, inputs.shape[1], truncation):
            chunk = slice(first, first + truncation)
            # no cache: the cast weights of a chunk belong to its graph, which is freed
            autocast = torch.autocast(device.type, dtype, enabled=bf16, cache_enabled=False)
            with torch.set_grad_enabled(needs_grad), autocast:
                start = batch.start + first
                hidden = model.hidden_states(inputs[:, chunk], batch.conditioning, start, memory)
                loss = sum_nll(
                    model.distribution,
                    model.output_params(hidden).flatten(0, 1),
                    batch.codes[:, chunk].flatten(),
                    batch.mask[:, chunk].flatten(),
                    mask_only=True,
                )
            if needs_grad:
                yield loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)
            else:
                yield loss, []

    return sum_losses(chunk_losses(), parameters)
