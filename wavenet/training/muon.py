"""Muon: an optimizer whose steps have equal size in all directions of a weight matrix.

The momentum of a matrix is replaced by the nearest matrix with orthonormal rows or columns, which a
few matrix products approximate. Matrices of one shape are processed together: a model has dozens of
small ones, and the time of the Python interpreter would dominate if they were processed one by one
(`torch.optim.Muon` is three times slower here; a test checks that the results agree). Called by
`state`.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the step size
that suits AdamW's learning rates: Liu et al. 2025, "Muon is scalable for LLM training", section
2.2.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

MOMENTUM = 0.95
# of an odd polynomial that moves singular values from 0..1 to about 1, and how often it is applied
COEFFICIENTS, ITERATIONS = (3.4445, -4.7750, 2.0315), 5
# Usual root mean square of AdamW's updates, as a multiple of the learning rate.
ADAMW_RMS = 0.2


class Muon(Optimizer):
    """See the module. With Nesterov momentum and decoupled weight decay.

    Attributes:
        found_inf: as for fused optimizers: a step changes no weight if it is 1.

    Args:
        params: matrices.
        lr: learning rate; similar to AdamW's.
        weight_decay: fraction of a weight that a step subtracts, as a multiple of the learning
            rate.
        dtype: of the matrix products.
    """

    found_inf: Tensor | None = None

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, weight_decay: float, dtype: torch.dtype
    ):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        assert closure is None, "closures are not supported"
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    by_shape[matrix.shape].append(matrix)
            for matrices in by_shape.values():
                self._update(group, matrices)

    def _update(self, group: dict[str, Any], matrices: list[nn.Parameter]) -> None:
        """Update matrices of one shape."""
        nesterov = []
        for matrix in matrices:
            momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            assert matrix.grad is not None
            momentum.lerp_(matrix.grad, 1 - MOMENTUM)
            nesterov.append(matrix.grad.lerp(momentum, MOMENTUM))
        scale = ADAMW_RMS * max(matrices[0].shape) ** 0.5
        directions = orthogonalize(torch.stack(nesterov), self._dtype) * scale
        for matrix, direction in zip(matrices, directions, strict=True):
            update = (direction + group["weight_decay"] * matrix) * group["lr"]
            if self.found_inf is not None:
                update = torch.where(self.found_inf > 0, 0, update)
            matrix.sub_(update)


def orthogonalize(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Return matrices (N, rows, columns) with singular values near 1 and the same singular vectors.

    Args:
        dtype: of the matrix products; the result has the dtype of the matrices.
    """
    x = matrices.to(dtype)
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:
        x = x.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if is_tall else x).to(matrices.dtype)
