"""How far clips lie from each other: too near each other, too near what was learnt, too far off.

Points (N, D) of clips enter, distances leave. A distance between two clips is the root mean square
of the differences of their coordinates.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points = NDArray[Any]


def distances(first: Points, second: Points) -> NDArray[np.float64]:
    """Give the distance of each of (N, D) to each of (M, D): (N, M)."""
    both = torch.as_tensor(first).double(), torch.as_tensor(second).double()
    # not by a matrix product, whose rounding would hide a copy
    found = torch.cdist(*both, compute_mode="donot_use_mm_for_euclid_dist")
    return np.asarray(found.numpy() / math.sqrt(first.shape[1]))


def diversity(points: Points, classes: Sequence[Hashable]) -> dict[Hashable, float]:
    """Average the distance of two clips of a class, for each class of two clips or more.

    The mean over all pairs has no bias with the number of clips, so that classes of unequal size
    compare.
    """
    found: dict[Hashable, float] = {}
    for one in dict.fromkeys(classes):
        mine = points[[n for n, other in enumerate(classes) if other == one]]
        if len(mine) > 1:
            pairs = len(mine) * (len(mine) - 1)
            found[one] = float(distances(mine, mine).sum() / pairs)
    return found


def nearest(points: Points, others: Points) -> NDArray[np.float64]:
    """Give the distance of each of (N, D) to the nearest of (M, D): (N,)."""
    return np.asarray(distances(points, others).min(1))


def frechet(first: Tensor, second: Tensor) -> float:
    """Compare two clouds of points (N, D), (M, D) by their means and covariances; 0 if these agree.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)). It shrinks as N and M grow: only distances of
    equally many points compare.

    Source: Dowson and Landau 1982; Heusel et al. 2017, section 3.
    """
    one, two = first.double(), second.double()
    shift = (one.mean(0) - two.mean(0)).square().sum()
    c1, c2 = torch.cov(one.T), torch.cov(two.T)
    root = _root(c1)
    # the eigenvalues of C1 C2 are those of root C2 root, which is symmetric
    cross = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    return max(0.0, float(shift + c1.trace() + c2.trace() - 2 * cross))


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
