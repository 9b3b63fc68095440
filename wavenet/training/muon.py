"""Muon: steps of equal size in all directions of a weight matrix.

The momentum of a matrix is replaced by the nearest matrix with orthonormal rows or columns, found
by a few products. Matrices of one shape go through them together: a WaveNet has dozens of small
ones, and one by one they would wait for the interpreter (`torch.optim.Muon` takes three times as
long here, and agrees).
Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of a
step that suits AdamW's rates: Liu et al. 2025, "Muon is scalable for LLM training", section 2.2.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
# of an odd polynomial that moves singular values from 0..1 to about 1, applied so often
COEFFICIENTS, STEPS = (3.4445, -4.7750, 2.0315), 5
ADAM_SIZE = 0.2  # root mean square of what AdamW usually changes a weight by, in learning rates


class Muon(Optimizer):
    """See the module; Nesterov momentum, and weight decay apart from the gradient.

    Attributes:
        found_inf: a tensor, as for fused optimisers: a step changes no weight where it is 1.

    Args:
        params: matrices.
        lr: the one that suits AdamW is near.
        weight_decay: share of a weight that a step takes away, in learning rates.
        dtype: of the products.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, dtype: torch.dtype
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Change every matrix that has a gradient."""
        assert closure is None, "there is one gradient per step"
        for group in self.param_groups:
            alike = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    alike[matrix.shape].append(matrix)
            for matrices in alike.values():
                self._change(group, matrices)

    def _change(self, group: dict[str, Any], matrices: list[nn.Parameter]) -> None:
        """Change matrices of one shape."""
        ahead = []
        for matrix in matrices:
            momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            assert matrix.grad is not None
            momentum.lerp_(matrix.grad, 1 - MOMENTUM)
            ahead.append(matrix.grad.lerp(momentum, MOMENTUM))
        size = ADAM_SIZE * max(matrices[0].shape) ** 0.5
        directions = orthogonalize(torch.stack(ahead), self._dtype) * size
        for matrix, direction in zip(matrices, directions, strict=True):
            change = (direction + group["weight_decay"] * matrix) * group["lr"]
            if self.found_inf is not None:
                change = torch.where(self.found_inf > 0, 0, change)
            matrix.sub_(change)


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Bring all singular values of matrices (N, rows, columns) near 1, leaving directions alone.

    Args:
        dtype: of the products; the answer has the type of the matrices.
    """
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)
