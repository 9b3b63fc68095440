"""Smoothing: from the counts of an n-gram to probabilities above 0 that sum to 1.

c(h, w) is the number of times that code w followed the context h, c(h) its sum over w, N(h) the
number of different codes after h, and K the number of codes. h' is h without its labels, or if it
has none, without its oldest code; for the shortest context, no code, p(w | h') = 1 / K.

    laplace        p(w | h) = (c(h, w) + a) / (c(h) + a K)
    interpolation  p(w | h) = l(h) c(h, w) / c(h) + (1 - l(h)) p(w | h')
                   with a fixed l (Jelinek-Mercer), or l(h) = c(h) / (c(h) + N(h)) (Witten-Bell)
    backoff        p(w | h) = (c(h, w) - d) / c(h)                      if c(h, w) > 0, otherwise
                   p(w | h) = d N(h) / c(h) p(w | h') / sum of p(v | h') over all v unseen after h
                   (absolute discounting; if all codes were seen after h, d is 0)

A context that was never seen has p(w | h) = p(w | h'). Called by `ngram`.

Sources: Jelinek and Mercer 1980, "Interpolated Estimation of Markov Source Parameters"; Katz 1987,
"Estimation of Probabilities from Sparse Data"; Witten and Bell 1991, "The Zero-Frequency Problem";
Ney, Essen and Kneser 1994, "On Structuring Probabilistic Dependences in Stochastic Language
Modelling".
"""

from collections.abc import Iterable

import torch
from torch import Tensor

TINY = torch.finfo(torch.float32).tiny


def add_pseudo_counts(counts: Tensor, pseudo_count: float) -> Tensor:
    """Compute probabilities (.., K) from counts (.., K) by additive (Laplace) smoothing."""
    smoothed = counts + pseudo_count
    return smoothed / smoothed.sum(-1, keepdim=True)


def interpolate_counts(tables: Iterable[Tensor], weight: float | None) -> Tensor:
    """Compute probabilities (.., K) by linear interpolation.

    Args:
        tables: by context length from 0, the counts (.., K) of the contexts.
        weight: of the longer context, 0 to 1; None: Witten-Bell.
    """
    probabilities: Tensor | None = None
    for counts in tables:
        shorter = 1 / counts.shape[-1] if probabilities is None else probabilities
        total = counts.sum(-1, keepdim=True)
        if weight is None:
            different = (counts > 0).sum(-1, keepdim=True)
            mixed = (counts + different * shorter) / (total + different)
        else:
            mixed = weight * counts / total + (1 - weight) * shorter
        probabilities = torch.where(total > 0, mixed, shorter)
    assert probabilities is not None
    return probabilities.clamp(min=TINY)


def back_off(tables: Iterable[Tensor], discount: float) -> Tensor:
    """Compute probabilities (.., K) by absolute discounting with Katz's back-off.

    Args:
        tables: as in `interpolate_counts`.
        discount: subtracted from every count above 0; 0 to 1.
    """
    probabilities: Tensor | None = None
    for counts in tables:
        if probabilities is None:
            probabilities = torch.full_like(counts, 1 / counts.shape[-1])
        total, is_seen = counts.sum(-1, keepdim=True), counts > 0
        unseen = probabilities.masked_fill(is_seen, 0).sum(-1, keepdim=True)
        # without unseen codes there is nothing to back off to
        cut = discount * (unseen > 0)
        scale = cut * is_seen.sum(-1, keepdim=True) / (total * unseen)
        mixed = torch.where(is_seen, (counts - cut) / total, probabilities * scale)
        probabilities = torch.where(total > 0, mixed, probabilities)
    assert probabilities is not None
    return probabilities.clamp(min=TINY)
