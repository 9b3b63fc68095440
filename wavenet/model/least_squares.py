"""Least squares of linear prediction: the normal equations and their solution, in float64.

Input: past amplitudes and the amplitude after them. Output: both sides of the equations

    sum of w_t X_t X_t^T phi = sum of w_t X_t x_t

which are sums over samples, so that samples can be added in any number of blocks. With weights, w_t
is the inverse of the mean power of X_t: an error in a loud passage is expected to be larger, and
without weights loud passages would dominate. Called by `linear_prediction` and
`evaluation.baselines`.
"""

import torch
from torch import Tensor

MIN_POWER = 1e-6  # added to a mean power; full scale is 1
# A small ridge: silence and pure tones have no unique solution.
RIDGE = 1e-9  # as a fraction of the trace
MIN_RIDGE = 1e-12


def normal_equations(past: Tensor, targets: Tensor, is_weighted: bool) -> tuple[Tensor, Tensor]:
    """Compute both sides of the normal equations of some samples.

    Args:
        past: (N, p) float64, X_t.
        targets: (N,) float64, x_t.
        is_weighted: whether w_t is the inverse of the mean power of X_t; otherwise it is 1.
    Returns:
        (p, p) and (p,).
    """
    weighted = past
    if is_weighted:
        weighted = past / (past.square().mean(1, keepdim=True) + MIN_POWER)
    return weighted.T @ past, weighted.T @ targets


def solve_equations(products: Tensor, targets: Tensor) -> Tensor:
    """Return the coefficients (p,) of normal equations (p, p) and (p,)."""
    ridge = RIDGE * products.trace() + MIN_RIDGE
    identity = torch.eye(len(targets), dtype=products.dtype, device=products.device)
    solution: Tensor = torch.linalg.solve(products + ridge * identity, targets)
    return solution
