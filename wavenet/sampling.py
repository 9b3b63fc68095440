"""Draw a code: temperature, top-k, top-p, greedy, then the inverse CDF of a uniform.

Input: logits, and one uniform per row. Output: codes. The functions are pure, and the caller
provides the uniforms, so that every engine draws the same code from the same logits. Called by
engines that run in PyTorch. Compiled engines implement these rules in their own loop and are tested
against this file.

The order is fixed. Guidance merges two sets of logits into one. Temperature divides the logits.
Top-k keeps the k most likely codes, and all codes that tie with the k-th. Of these, top-p keeps the
codes for which all more likely codes together have a probability below p. The probabilities of the
codes that remain are renormalised. The CDF is in the order of the codes.
"""

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from wavenet.config import StrictConfig, make_config


class SamplingConfig(StrictConfig):
    """How each sample is drawn.

    Attributes:
        temperature: the logits are divided by it: below 1 less random; below 1e-6 it would
            overflow, use `greedy`.
        top_k: draw only from the k most likely codes; None: from all.
        top_p: draw from the smallest set of most likely codes whose total probability is at least
            this; None: from all.
        greedy: select the most likely code.
        guidance: above 1 strengthens the conditions, 1 switches it off; needs conditions with
            dropout.
    """

    temperature: float = Field(default=1.0, ge=1e-6, le=100)
    top_k: int | None = Field(default=None, ge=1, le=65_536)
    top_p: float | None = Field(default=None, gt=0, le=1)
    greedy: bool = False
    guidance: float = Field(default=1.0, ge=0, le=20)


def resolve_sampling(defaults: SamplingConfig, **settings: Any) -> SamplingConfig:
    """Return the settings that are not None, and the defaults for the others.

    Raises:
        ConfigError: a setting out of range.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    return make_config(SamplingConfig, "sampling", **{**defaults.model_dump(), **given})


def rows_per_clip(sampling: SamplingConfig) -> int:
    """Return 2 with guidance (a conditional and an unconditional row per clip), otherwise 1."""
    return 1 if sampling.guidance == 1 else 2


def apply_guidance(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Strengthen the conditions: unconditional + w (conditional - unconditional).

    w = 1 changes nothing, w = 0 ignores the conditions, w > 1 strengthens them.

    Args:
        logits: (rows_per_clip * B, P, ...); for each clip the conditional row, then the
            unconditional row.
    Returns:
        (B, P, ...).
    Source: Ho and Salimans 2022, "Classifier-free diffusion guidance", equation 6, whose w is this
        w - 1; for autoregressive logits Sanchez et al. 2023, equation 5.
    """
    if rows_per_clip(sampling) == 1:
        return logits
    conditional, unconditional = logits[0::2], logits[1::2]
    return unconditional + sampling.guidance * (conditional - unconditional)


def probabilities(logits: Tensor, sampling: SamplingConfig) -> Tensor:
    """Compute the probabilities that codes are drawn from.

    Args:
        logits: (..., P) float.
        sampling: temperature, top-k, top-p, greedy.
    Returns:
        (..., P) float64, sum 1; codes that are excluded have exactly 0.
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
    """Draw the first code whose cumulative probability exceeds the uniform.

    Args:
        p: (..., P) probabilities, sum 1.
        uniforms: (...), in [0, 1).
    Returns:
        (...) int64 codes; a code of probability 0 is never drawn.
    Source: inverse transform sampling, Devroye 1986, chapter III.2.
    """
    cdf = p.cumsum(-1)
    below = (cdf <= uniforms.to(p.dtype)[..., None] * cdf[..., -1:]).sum(-1)
    last = p.shape[-1] - 1 - (p > 0).flip(-1).to(torch.int8).argmax(-1)
    return torch.minimum(below, last)


def draw_codes(logits: Tensor, uniforms: Tensor, sampling: SamplingConfig) -> Tensor:
    """Draw one code per row.

    Args:
        logits: (..., P); uniforms: (...), in [0, 1).
    Returns:
        (...) int64 codes.
    """
    return inverse_cdf(probabilities(logits, sampling), uniforms)
