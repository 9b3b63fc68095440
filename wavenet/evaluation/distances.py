"""Distances between clips: within a class, to the nearest training clip, between distributions.

Input: feature vectors (N, D) of clips. Output: distances. The distance of two clips is the root
mean square of the differences of their features. Called by `label_evaluation`.
"""

import math
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Points = NDArray[Any]


def pairwise_distances(first: Points, second: Points) -> NDArray[np.float64]:
    """Return the distances (N, M) between points (N, D) and (M, D)."""
    pair = torch.as_tensor(first).double(), torch.as_tensor(second).double()
    # Not by a matrix product: its rounding would hide a copy.
    found = torch.cdist(*pair, compute_mode="donot_use_mm_for_euclid_dist")
    return np.asarray(found.numpy() / math.sqrt(first.shape[1]))


def diversity(points: Points, classes: Sequence[Hashable]) -> dict[Hashable, float]:
    """Return the mean distance of two clips of a class, for each class of two clips or more.

    The mean over all pairs does not depend on the number of clips, so that classes of different
    sizes are comparable.
    """
    found: dict[Hashable, float] = {}
    for name in dict.fromkeys(classes):
        members = points[[n for n, other in enumerate(classes) if other == name]]
        if len(members) > 1:
            pairs = len(members) * (len(members) - 1)
            found[name] = float(pairwise_distances(members, members).sum() / pairs)
    return found


def nearest_distances(points: Points, others: Points) -> NDArray[np.float64]:
    """Return the distance (N,) of each point (N, D) to the nearest of others (M, D)."""
    return np.asarray(pairwise_distances(points, others).min(1))


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """Return the Fréchet distance of two sets of points (N, D), (M, D); 0 for equal moments.

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), with the means m and covariances C. It falls as N
    and M grow: only distances of the same number of points are comparable.

    Source: Dowson and Landau 1982; Heusel et al. 2017, section 3.
    """
    first, second = first.double(), second.double()
    shift = (first.mean(0) - second.mean(0)).square().sum()
    c1, c2 = torch.cov(first.T), torch.cov(second.T)
    root = _matrix_sqrt(c1)
    # C1 C2 has the eigenvalues of root C2 root, which is symmetric.
    cross = torch.linalg.eigvalsh(root @ c2 @ root).clamp(min=0).sqrt().sum()
    return max(0.0, float(shift + c1.trace() + c2.trace() - 2 * cross))


def _matrix_sqrt(matrix: Tensor) -> Tensor:
    """Return the square root of a symmetric positive semi-definite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    return root
