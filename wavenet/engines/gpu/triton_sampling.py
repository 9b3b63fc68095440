"""Draw codes inside the Triton kernel, by the rules of `wavenet.sampling` and `model.mixtures`.

Input: params and uniforms of a few clips. Output: codes. Called by `triton_kernels`. Arithmetic is
float64, as in those modules, so the same params draw the same code. Nothing is sorted: the k-th
largest logit and the smallest probability that top-p keeps are found by bisection over all floats,
which are ordered like integers ("ordinals").

Shapes: D clips at once, P classes and M components; P and M are padded to powers of two.
"""

import triton
import triton.language as tl

from wavenet.model.mixtures import HALF_CELL, LOG_SCALE_FLOOR

_HALF_CELL = tl.constexpr(HALF_CELL)
_LOG_SCALE_FLOOR = tl.constexpr(LOG_SCALE_FLOOR)
_INFINITE = tl.constexpr(0x7F800000)  # ordinal of infinity; NaN is above
_MINUS_INFINITE = tl.constexpr(-0x7F800001)
_MAX_ORDINAL = tl.constexpr(0x7FFFFFFF)  # of NaN
_SQRT_HALF = tl.constexpr(0.5**0.5)


@triton.jit
def to_ordinal(x):  # type: ignore[no-untyped-def]
    """Convert float32 to int32 of the same order; +0 equals -0, and NaN comes last."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)
    # the bits of negative floats run down
    ordinals = tl.where(bits < 0, bits ^ _MAX_ORDINAL, bits)
    return tl.where(x != x, _MAX_ORDINAL, ordinals)


@triton.jit
def draw_codes(  # type: ignore[no-untyped-def]
    params,
    uniforms,
    rules,
    top_k,
    BITS: tl.constexpr,
    P: tl.constexpr,
    FAMILY: tl.constexpr,
    COMPONENTS: tl.constexpr,
    M: tl.constexpr,
    GREEDY: tl.constexpr,
    TOP_K: tl.constexpr,
    TOP_P: tl.constexpr,
    GUIDED: tl.constexpr,
):
    """Draw a code for each of (D,) pointers to params: (D,) int32.

    Args:
        rules: pointer to temperature, top_p and guidance in float64; Triton passes plain numbers in
            float32.
        FAMILY: see `kernel_inputs`: 0 categorical, 1 logistics, 2 Gaussians.
    """
    temperature, uniforms = tl.load(rules), uniforms.to(tl.float64)
    if FAMILY == 0:
        index = tl.arange(0, P)[None, :]
        logits = tl.load(params[:, None] + index)
        if GUIDED:  # the unconditional row follows
            unconditional = tl.load(params[:, None] + P + index)
            weight = tl.load(rules + 2).to(tl.float32)
            logits = unconditional + weight * (logits - unconditional)
        logits = tl.where(index < (1 << BITS), logits, -float("inf"))
        top_p = tl.load(rules + 1)
        codes = draw_class(logits, uniforms, temperature, top_k, top_p, GREEDY, TOP_K, TOP_P)
    else:
        index = tl.arange(0, M)[None, :]
        valid, place = index < COMPONENTS, params[:, None] + index
        logits = tl.load(place, mask=valid, other=0.0)
        means = tl.load(place + COMPONENTS, mask=valid, other=0.0)
        scales = tl.load(place + 2 * COMPONENTS, mask=valid, other=0.0)
        codes = draw_mixture(
            logits, means, scales, valid, uniforms, temperature, BITS, FAMILY == 2, GREEDY
        )
    return codes


@triton.jit
def draw_class(  # type: ignore[no-untyped-def]
    logits,
    uniforms,
    temperature,
    top_k,
    top_p,
    GREEDY: tl.constexpr,
    TOP_K: tl.constexpr,
    TOP_P: tl.constexpr,
):
    """Draw a code of each clip from a categorical distribution; 0 if the top logit is not finite.

    Args:
        logits: (D, P) float32, minus infinity after the last class.
        uniforms: (D,) float64; temperature, top_p: float64; top_k: int.
        GREEDY, TOP_K, TOP_P: which rules apply.
    Returns:
        (D,) int32.
    """
    ordinals = to_ordinal(logits)
    top = tl.max(ordinals, axis=1)[:, None]
    index = tl.arange(0, logits.shape[1])[None, :]
    if GREEDY:
        codes = tl.min(tl.where(ordinals == top, index, logits.shape[1]), axis=1)
    else:
        scaled = logits.to(tl.float64) / temperature
        if TOP_K:
            scaled = tl.where(ordinals >= kth_largest(ordinals, top_k), scaled, -float("inf"))
        masses = tl.exp(scaled - tl.max(scaled, axis=1)[:, None])
        p = masses / tl.sum(masses, axis=1)[:, None]
        if TOP_P:
            p = apply_top_p(p, ordinals, top_p)
        is_finite = (top > _MINUS_INFINITE) & (top < _INFINITE)
        codes = inverse_cdf(tl.where(is_finite, p, 0.0), uniforms)
    return codes


@triton.jit
def inverse_cdf(p, uniforms):  # type: ignore[no-untyped-def]
    """Return the first class whose cumulative p exceeds the uniform, never one of p 0."""
    index = tl.arange(0, p.shape[1])[None, :]
    cdf = tl.cumsum(p, axis=1)
    level = uniforms[:, None] * tl.max(cdf, axis=1)[:, None]
    first = tl.min(tl.where((cdf > level) & (p > 0), index, p.shape[1]), axis=1)
    last = tl.max(tl.where(p > 0, index, 0), axis=1)  # rounding may leave a small remainder
    return tl.minimum(first, last)


@triton.jit
def kth_largest(ordinals, k):  # type: ignore[no-untyped-def]
    """Return the k-th largest of each row of int32 (D, P): (D, 1)."""
    low = tl.full((ordinals.shape[0], 1), -0x80000000, tl.int64)
    high = tl.full((ordinals.shape[0], 1), 0x80000000, tl.int64)
    for _ in range(32):
        middle = (low + high) >> 1
        enough = tl.sum((ordinals >= middle.to(tl.int32)).to(tl.int32), axis=1)[:, None] >= k
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle)
    return low.to(tl.int32)


@triton.jit
def apply_top_p(p, ordinals, top_p):  # type: ignore[no-untyped-def]
    """Set p to 0 except the largest that together reach top_p.

    A class is kept if the sum of all larger p is below top_p; among equals the first are kept.

    Args:
        p: (D, P) float64, in the order of ordinals (D, P) int32.
    """
    low = tl.full((p.shape[0], 1), -0x80000001, tl.int64)
    high = tl.full((p.shape[0], 1), 0x7FFFFFFF, tl.int64)
    for _ in range(32):
        middle = (low + high) >> 1
        above = tl.sum(tl.where(ordinals > middle.to(tl.int32), p, 0.0), axis=1)[:, None]
        high = tl.where(above < top_p, middle, high)
        low = tl.where(above < top_p, low, middle)
    smallest = tl.max(tl.where(ordinals <= high.to(tl.int32), p, 0.0), axis=1)[:, None]
    equal = tl.where(p == smallest, p, 0.0)
    before = tl.sum(tl.where(p > smallest, p, 0.0), axis=1)[:, None]
    before += tl.cumsum(equal, axis=1) - equal
    return tl.where((p > smallest) | ((p == smallest) & (before < top_p)), p, 0.0)


@triton.jit
def draw_mixture(  # type: ignore[no-untyped-def]
    logits,
    means,
    log_scales,
    valid,
    uniforms,
    temperature,
    BITS: tl.constexpr,
    GAUSSIAN: tl.constexpr,
    GREEDY: tl.constexpr,
):
    """Draw a code of each clip from a mixture; -1 if a param is not finite.

    Args:
        logits, means, log_scales: (D, M) float32; valid: (1, M), False for padding.
        uniforms: (D,) float64, multiples of 2**-24; temperature: float64.
    Returns:
        (D,) int32, 0 to 2**BITS - 1.
    """
    largest = tl.maximum(tl.maximum(tl.abs(logits), tl.abs(means)), tl.abs(log_scales))
    # each separately, because a maximum may ignore NaN
    not_nan = (logits == logits) & (means == means) & (log_scales == log_scales)
    finite = (largest < float("inf")) & not_nan
    broken = tl.max(tl.where(valid & (finite == 0), 1, 0), axis=1)
    weights = tl.where(valid, logits, -float("inf")).to(tl.float64)
    means = means.to(tl.float64)
    log_scales = tl.maximum(log_scales.to(tl.float64), _LOG_SCALE_FLOOR)
    if GREEDY:
        codes = highest_peak(weights, means, log_scales, BITS)
    else:
        weights = weights / temperature
        weights = tl.exp(weights - tl.max(weights, axis=1)[:, None])
        weights = weights / tl.sum(weights, axis=1)[:, None]
        scales = tl.exp(log_scales) * temperature
        levels = uniforms + _HALF_CELL
        codes = mixture_inverse_cdf(weights, means, scales, levels, BITS, GAUSSIAN)
    return tl.where(broken > 0, -1, codes)


@triton.jit
def highest_peak(logits, means, log_scales, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return the code at the mean of the component of the largest weight / scale."""
    index = tl.arange(0, logits.shape[1])[None, :]
    peaks = logits - log_scales
    highest = peaks == tl.max(peaks, axis=1)[:, None]
    best = tl.min(tl.where(highest, index, logits.shape[1]), axis=1)[:, None]
    mean = tl.sum(tl.where(index == best, means, 0.0), axis=1)
    mean = tl.minimum(tl.maximum(mean, -1.0), 1.0)
    return ((mean + 1) / 2 * ((1 << BITS) - 1) + 0.5).to(tl.int32)


@triton.jit
def mixture_inverse_cdf(  # type: ignore[no-untyped-def]
    weights, means, scales, levels, BITS: tl.constexpr, GAUSSIAN: tl.constexpr
):
    """Return, by bisection, the first code whose cumulative probability exceeds the level."""
    low = tl.zeros(levels.shape, tl.int32)
    high = tl.full(levels.shape, (1 << BITS) - 1, tl.int32)
    for _ in range(BITS):
        middle = (low + high) >> 1
        edges = (2 * middle + 1).to(tl.float64) / ((1 << BITS) - 1) - 1
        distances = (edges[:, None] - means) / scales
        if GAUSSIAN:
            below = (1 + tl.math.erf(distances * _SQRT_HALF)) / 2
        else:
            below = 1 / (1 + tl.exp(-distances))
        exceeds = tl.sum(weights * below, axis=1) > levels
        high = tl.where(exceeds, middle, high)
        low = tl.where(exceeds, low, middle + 1)
    return low
