"""A loss that is a sum of parts, whose gradient is computed part by part.

Input: losses with their gradients. Output: their sum, as one tensor of autograd. The activations of
a part can be freed before the next part is computed, which autograd alone does not do. Called by
`cpu_loss`, for clips, and by `truncated_loss`, for chunks.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Gradients = Sequence[Tensor | None]
LossParts = Iterable[tuple[Tensor, Gradients]]


class _SummedLoss(torch.autograd.Function):
    """Sum losses; their gradients are computed in the forward pass."""

    @staticmethod
    def forward(ctx: Any, parts: LossParts, *parameters: Tensor) -> Tensor:
        total = torch.zeros(())
        grads: list[Tensor | None] = [None] * len(parameters)
        for loss, part_grads in parts:
            total = total + loss
            for n, grad in enumerate(part_grads):
                if grad is not None:
                    summed = grads[n]
                    grads[n] = grad if summed is None else summed.add_(grad)
        ctx.grads = grads
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        return (None, *(None if g is None else g * factor for g in ctx.grads))


def sum_losses(parts: LossParts, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Sum losses whose gradients are known.

    Args:
        parts: each a loss without graph and its gradient by the parameters; empty if no gradient
            is needed. An iterator is advanced in no-grad mode.
        parameters: of the model.
    """
    total: Tensor = _SummedLoss.apply(parts, *parameters)  # type: ignore[no-untyped-call]
    return total
