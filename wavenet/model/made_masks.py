"""Masks of a MADE: which units may be connected, and which windows are trained.

Input d of a window of D codes has the place m_d = 1 to D in an ordering of the codes, a hidden unit
k a degree m_k = 1 to D - 1. These weights are kept, all others are zero:

    W_kd if m_k >= m_d    from input d to unit k: a unit reads at most the first m_k codes
    W_jk if m_j >= m_k    from unit k to unit j of the next hidden layer: the same
    V_dk if m_d > m_k     from unit k to output d: it reads units of smaller degrees only

So m_input <= m_k <= m_j < m_output on every path: an output depends on no code that is at its own
place or later. Called by `made`.

Source: Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation", section 4.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor


def draw_orders(window: int, orderings: int) -> Tensor:
    """Return the place of each code in each ordering, (orderings, D); the last code is last."""
    orders = [torch.arange(window - 1)]
    orders += [torch.randperm(window - 1) for _ in range(orderings - 1)]
    return torch.stack([F.pad(order, (0, 1), value=window - 1) for order in orders]).float() + 1


def draw_degrees(window: int, layers: int, units: int) -> Tensor:
    """Draw the degrees of all hidden units: (layers, units).

    The degrees of a layer are equally frequent, up to one unit, and randomly assigned: with degrees
    drawn independently, a small layer could lack units of degree D - 1, the only ones that read the
    code before the last one. If there are fewer units than degrees, the largest degrees are used.
    The smallest degree of a layer is not below that of the layer before it; otherwise a unit could
    have no input.
    """
    degrees, lowest = [], 1
    for _ in range(layers):
        degrees.append(window - 1 - torch.randperm(units) % (window - lowest))
        lowest = int(degrees[-1].min())
    return torch.stack(degrees).float()


def make_masks(order: Tensor, degrees: Tensor) -> list[Tensor]:
    """Return the masks of one set, from the first hidden layer to the last masked layer.

    Args:
        order: (D,), the place of each code; degrees: (layers, units).
    Returns:
        bool: (units, D), then (units, units) between hidden layers, then (D, units).
    """
    between = [after[:, None] >= before for before, after in pairwise(degrees)]
    return [degrees[0][:, None] >= order, *between, order[:, None] > degrees[-1]]


def window_index(mask: Tensor, window: int) -> Tensor:
    """Return the samples of windows side by side, which end with the last target of each row.

    Args:
        mask: (B, T) bool, true where a sample is a target.
        window: D.
    Returns:
        (B, windows, D) int64; negative before the row.
    """
    samples = torch.arange(mask.shape[1], device=mask.device)
    ends = (mask * (samples + 1)).amax(1)
    count = -(-mask.shape[1] // window)
    index = torch.arange(-count * window, 0, device=mask.device)
    return (ends[:, None] + index).unflatten(1, (count, window))
