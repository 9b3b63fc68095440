"""How a class is drawn: temperature, top-k, top-p, greedy, then the inverse CDF of a uniform.

Logits and one uniform per row enter, codes leave. Pure functions; the uniforms come from the
caller, so that every engine draws the same class from the same logits. Compiled engines repeat
these rules in their own loop and are tested against this file.

The order is fixed: guidance, if any, makes one set of logits of two; temperature divides them;
top-k keeps the k likeliest classes (and any that tie with the k-th); top-p keeps, of what is left,
the likeliest classes whose probability strictly before them is below p; the rest is renormalised.
The CDF runs in the order of the codes.
"""

from typing import Any

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.parsing import make


def choose_sampling(usual: SamplingConfig, **given: Any) -> SamplingConfig:
    """Draw as the caller says, and where that is None, as usual for the checkpoint.

    Raises:
        ConfigError: a setting out of its range.
    """
    said = {name: value for name, value in given.items() if value is not None}
    return make(SamplingConfig, "sampling", **{**usual.model_dump(), **said})


def rows_per_clip(sampling: SamplingConfig) -> int:
    """Say how many rows of a batch stand for one clip: with guidance, the second has no labels."""
    return 1 if sampling.guidance == 1 else 2


def guide(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Push the logits with conditions away from those without: without + w (with - without).

    At w = 1 nothing changes, at 0 the conditions have no say, above 1 they have more than they
    had in the data.

    Args:
        logits: (rows_per_clip * B, P, ...), each clip's row with its conditions before the one
            without.
    Returns:
        (B, P, ...).
    Source: Ho and Salimans 2022, Classifier-free diffusion guidance, equation 6, there with
        w + 1 for w; for autoregressive logits Sanchez et al. 2023, equation 5.
    """
    if rows_per_clip(sampling) == 1:
        return logits
    given, free = logits[0::2], logits[1::2]
    return free + sampling.guidance * (given - free)


def probabilities(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Turn logits into the probabilities that are drawn from.

    Args:
        logits: (..., P) float.
        sampling: temperature, top-k, top-p, greedy.
    Returns:
        (..., P) float64, summing to 1; classes that may not be drawn are exactly 0.
    """
    logits = logits.to(torch.float64)
    if sampling.greedy:
        return torch.nn.functional.one_hot(logits.argmax(-1), logits.shape[-1]).to(torch.float64)
    logits = logits / sampling.temperature
    if sampling.top_k is not None and sampling.top_k < logits.shape[-1]:
        kth = logits.topk(sampling.top_k, dim=-1).values[..., -1:]
        logits = logits.masked_fill(logits < kth, -torch.inf)
    p = logits.softmax(-1)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = p.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(-1) - ordered
        keep = torch.zeros_like(p, dtype=torch.bool).scatter(-1, order, before < sampling.top_p)
        p = p.masked_fill(~keep, 0)
        p = p / p.sum(-1, keepdim=True)
    return p


def inverse_cdf(p: Tensor, uniforms: Tensor) -> Tensor:
    """Draw the first class whose cumulative probability exceeds the uniform.

    Args:
        p: (..., P) probabilities, summing to 1.
        uniforms: (...), in [0, 1).
    Returns:
        (...) int64 codes; a class of probability 0 is never drawn.
    Source: inverse transform sampling, Devroye 1986, chapter III.2.
    """
    cdf = p.cumsum(-1)
    below = (cdf <= uniforms.to(p.dtype)[..., None] * cdf[..., -1:]).sum(-1)
    last = p.shape[-1] - 1 - (p > 0).flip(-1).to(torch.int8).argmax(-1)
    return torch.minimum(below, last)


def draw(logits: Tensor, uniforms: Tensor, sampling: SamplingConfig) -> Tensor:
    """Draw one class per row.

    Args:
        logits: (..., P); uniforms: (...), in [0, 1).
    Returns:
        (...) int64 codes.
    """
    return inverse_cdf(probabilities(logits, sampling), uniforms)
