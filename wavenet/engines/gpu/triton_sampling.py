"""Drawing inside the kernel of the GPU engine, by the rules of `sampling` and `model.mixtures`.

Params and uniforms of a few streams enter, their codes leave. In float64, as there, so that the
same params draw the same code. Nothing is sorted: the k-th largest logit and the least likely class
that top-p keeps are found by halving the range of all floats, which are ordered as integers.

Shapes: D streams at once, P classes and M components, powers of two that what counts is padded to.
"""

import triton
import triton.language as tl

from wavenet.model.mixtures import HALF_CELL, LOG_SCALE_FLOOR

_HALF_CELL = tl.constexpr(HALF_CELL)
_LOG_SCALE_FLOOR = tl.constexpr(LOG_SCALE_FLOOR)
_INFINITE = tl.constexpr(0x7F800000)  # infinity and what is no number, as `ordered` counts
_MINUS_INFINITE = tl.constexpr(-0x7F800001)
_LARGEST = tl.constexpr(0x7FFFFFFF)
_ROOT_HALF = tl.constexpr(0.5**0.5)


@triton.jit
def ordered(x):  # type: ignore[no-untyped-def]
    """Turn float32 into int32 of the same order; what is no number comes last."""
    bits = tl.where(x == 0, 0.0, x).to(tl.int32, bitcast=True)  # one zero, not two
    # the bits of negative floats run the other way
    keys = tl.where(bits < 0, bits ^ _LARGEST, bits)
    return tl.where(x != x, _LARGEST, keys)


@triton.jit
def draw(  # type: ignore[no-untyped-def]
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
        rules: temperature, top_p and guidance, in float64, which a plain number would not be.
        FAMILY: 0 for classes, 1 for logistics, 2 for Gaussians.
    """
    temperature, uniforms = tl.load(rules), uniforms.to(tl.float64)
    if FAMILY == 0:
        index = tl.arange(0, P)[None, :]
        logits = tl.load(params[:, None] + index)
        if GUIDED:  # the row without conditions lies behind
            free = tl.load(params[:, None] + P + index)
            logits = free + tl.load(rules + 2).to(tl.float32) * (logits - free)
        logits = tl.where(index < (1 << BITS), logits, -float("inf"))
        top_p = tl.load(rules + 1)
        codes = draw_class(logits, uniforms, temperature, top_k, top_p, GREEDY, TOP_K, TOP_P)
    else:
        index = tl.arange(0, M)[None, :]
        real, place = index < COMPONENTS, params[:, None] + index
        logits = tl.load(place, mask=real, other=0.0)
        means = tl.load(place + COMPONENTS, mask=real, other=0.0)
        scales = tl.load(place + 2 * COMPONENTS, mask=real, other=0.0)
        codes = draw_value(
            logits, means, scales, real, uniforms, temperature, BITS, FAMILY == 2, GREEDY
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
    """Draw a class of each stream; 0 where the logits are no distribution.

    Args:
        logits: (D, P) float32, minus infinity behind the last class.
        uniforms: (D,) float64; temperature, top_p: float64; top_k: int.
        GREEDY, TOP_K, TOP_P: which of the rules there are.
    Returns:
        (D,) int32.
    """
    keys = ordered(logits)
    top = tl.max(keys, axis=1)[:, None]
    index = tl.arange(0, logits.shape[1])[None, :]
    if GREEDY:
        codes = tl.min(tl.where(keys == top, index, logits.shape[1]), axis=1)
    else:
        scaled = logits.to(tl.float64) / temperature
        if TOP_K:
            scaled = tl.where(keys >= kth_largest(keys, top_k), scaled, -float("inf"))
        odds = tl.exp(scaled - tl.max(scaled, axis=1)[:, None])
        p = odds / tl.sum(odds, axis=1)[:, None]
        if TOP_P:
            p = keep_likeliest(p, keys, top_p)
        drawable = (top > _MINUS_INFINITE) & (top < _INFINITE)
        codes = inverse_cdf(tl.where(drawable, p, 0.0), uniforms)
    return codes


@triton.jit
def inverse_cdf(p, uniforms):  # type: ignore[no-untyped-def]
    """Give the first class whose cumulative p exceeds the uniform; one of p 0 is never given."""
    index = tl.arange(0, p.shape[1])[None, :]
    cdf = tl.cumsum(p, axis=1)
    level = uniforms[:, None] * tl.max(cdf, axis=1)[:, None]
    first = tl.min(tl.where((cdf > level) & (p > 0), index, p.shape[1]), axis=1)
    last = tl.max(tl.where(p > 0, index, 0), axis=1)  # rounding may leave a little over
    return tl.minimum(first, last)


@triton.jit
def kth_largest(keys, k):  # type: ignore[no-untyped-def]
    """Give the k-th largest of each row of int32 (D, P): (D, 1)."""
    low = tl.full((keys.shape[0], 1), -0x80000000, tl.int64)
    high = tl.full((keys.shape[0], 1), 0x80000000, tl.int64)
    for _ in range(32):
        middle = (low + high) >> 1
        enough = tl.sum((keys >= middle.to(tl.int32)).to(tl.int32), axis=1)[:, None] >= k
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, middle)
    return low.to(tl.int32)


@triton.jit
def keep_likeliest(p, keys, share):  # type: ignore[no-untyped-def]
    """Set to 0 all but the likeliest classes that reach the share.

    A class stays if what is likelier is below the share; of equals the first classes stay.

    Args:
        p: (D, P) float64, in the order of keys (D, P) int32.
    """
    low = tl.full((p.shape[0], 1), -0x80000001, tl.int64)
    high = tl.full((p.shape[0], 1), 0x7FFFFFFF, tl.int64)
    for _ in range(32):
        middle = (low + high) >> 1
        above = tl.sum(tl.where(keys > middle.to(tl.int32), p, 0.0), axis=1)[:, None]
        high = tl.where(above < share, middle, high)
        low = tl.where(above < share, low, middle)
    least = tl.max(tl.where(keys <= high.to(tl.int32), p, 0.0), axis=1)[:, None]
    equal = tl.where(p == least, p, 0.0)
    before = tl.sum(tl.where(p > least, p, 0.0), axis=1)[:, None]
    before += tl.cumsum(equal, axis=1) - equal
    return tl.where((p > least) | ((p == least) & (before < share)), p, 0.0)


@triton.jit
def draw_value(  # type: ignore[no-untyped-def]
    logits,
    means,
    log_scales,
    real,
    uniforms,
    temperature,
    BITS: tl.constexpr,
    GAUSSIAN: tl.constexpr,
    GREEDY: tl.constexpr,
):
    """Draw a code of each stream from a mixture; -1 where a param is not finite.

    Args:
        logits, means, log_scales: (D, M) float32; real: (1, M), whether there is such a component.
        uniforms: (D,) float64, multiples of 2**-24; temperature: float64.
    Returns:
        (D,) int32, 0 to 2**BITS - 1.
    """
    largest = tl.maximum(tl.maximum(tl.abs(logits), tl.abs(means)), tl.abs(log_scales))
    # each by itself, since a maximum may leave out what is no number
    number = (logits == logits) & (means == means) & (log_scales == log_scales)
    finite = (largest < float("inf")) & number
    broken = tl.max(tl.where(real & (finite == 0), 1, 0), axis=1)
    weights = tl.where(real, logits, -float("inf")).to(tl.float64)
    means = means.to(tl.float64)
    log_scales = tl.maximum(log_scales.to(tl.float64), _LOG_SCALE_FLOOR)
    if GREEDY:
        codes = highest_peak(weights, means, log_scales, BITS)
    else:
        weights = weights / temperature
        weights = tl.exp(weights - tl.max(weights, axis=1)[:, None])
        weights = weights / tl.sum(weights, axis=1)[:, None]
        scales = tl.exp(log_scales) * temperature
        codes = quantile(weights, means, scales, uniforms + _HALF_CELL, BITS, GAUSSIAN)
    return tl.where(broken > 0, -1, codes)


@triton.jit
def highest_peak(logits, means, log_scales, BITS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Give the code at the mean of the component of the largest weight / scale."""
    index = tl.arange(0, logits.shape[1])[None, :]
    peaks = logits - log_scales
    highest = peaks == tl.max(peaks, axis=1)[:, None]
    best = tl.min(tl.where(highest, index, logits.shape[1]), axis=1)[:, None]
    mean = tl.sum(tl.where(index == best, means, 0.0), axis=1)
    mean = tl.minimum(tl.maximum(mean, -1.0), 1.0)
    return ((mean + 1) / 2 * ((1 << BITS) - 1) + 0.5).to(tl.int32)


@triton.jit
def quantile(  # type: ignore[no-untyped-def]
    weights, means, scales, levels, BITS: tl.constexpr, GAUSSIAN: tl.constexpr
):
    """Give, by bisection, the first code whose cumulative probability exceeds the level."""
    low = tl.zeros(levels.shape, tl.int32)
    high = tl.full(levels.shape, (1 << BITS) - 1, tl.int32)
    for _ in range(BITS):
        middle = (low + high) >> 1
        edges = (2 * middle + 1).to(tl.float64) / ((1 << BITS) - 1) - 1
        distances = (edges[:, None] - means) / scales
        if GAUSSIAN:
            below = (1 + tl.math.erf(distances * _ROOT_HALF)) / 2
        else:
            below = 1 / (1 + tl.exp(-distances))
        exceeds = tl.sum(weights * below, axis=1) > levels
        high = tl.where(exceeds, middle, high)
        low = tl.where(exceeds, low, middle + 1)
    return low
