"""Draw a code inside the compiled loop, by the rules of `wavenet.sampling` and `model.mixtures`.

Input: params of one clip and one uniform. Output: a code. Called by `sample_loop`.

A class is drawn in float32, in blocks of 16 classes. Probabilities are not normalised and called
"masses"; their sum replaces 1. Nothing is sorted: the k-th largest logit and the smallest mass that
top-p keeps are found by bisection over all floats, which are ordered like their bits.

A code of a mixture is drawn in float64, as by `model.mixtures`, since one code is 1/65,536 of the
range: the first code whose cumulative probability exceeds the middle of the uniform's cell, found
by bisection over the codes.
"""

import math

import numpy as np

from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_kernels import (
    bits_to_float,
    exp_block,
    max_of_block,
    sum_above,
)
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.kernel_inputs import GAUSSIAN, LOGISTIC
from wavenet.model.mixtures import HALF_CELL, LOG_SCALE_FLOOR


@compiled
def merge_guidance(logits, at, width, rules):  # type: ignore[no-untyped-def]
    """Replace the conditional logits at `at` by guided logits; the unconditional row follows."""
    weight = np.float32(rules.guidance)
    for n in range(at, at + width):
        unconditional = logits[n + width]
        logits[n] = unconditional + weight * (logits[n] - unconditional)


@compiled
def draw_class(logits, at, classes, uniform, rules, masses, block_sums):  # type: ignore[no-untyped-def]
    """Draw a code from a categorical distribution.

    Args:
        logits: flat; those of this clip begin at `at` and are padded to a multiple of 16.
        classes: the number of logits without padding.
        uniform: in [0, 1).
        rules: `SamplingRules`.
        masses, block_sums: float32 buffers, one number per class and per block.
    Returns:
        0 to classes - 1; -1 if the largest logit is not finite.
    """
    blocks = (classes + BLOCK_WIDTH - 1) // BLOCK_WIDTH
    for n in range(at + classes, at + blocks * BLOCK_WIDTH):
        logits[n] = -np.inf
    top = max_of_block(logits, at)
    for n in range(1, blocks):
        top = max(top, max_of_block(logits, at + n * BLOCK_WIDTH))
    if rules.greedy:
        for n in range(classes):
            if logits[at + n] == top:
                return n
        return -1  # only if every logit is NaN
    minimum = np.float32(-np.inf)
    if 0 < rules.top_k < classes:
        minimum = _kth_largest(logits, at, classes, rules.top_k)
    scale = np.float32(1 / rules.temperature)
    total = np.float32(0)
    for n in range(blocks):
        block = n * BLOCK_WIDTH
        block_sums[n] = exp_block(masses, block, logits, at + block, top, scale, minimum)
        total += block_sums[n]
    if not total > 0:
        return -1
    if rules.top_p < 1:
        total = _apply_top_p(masses, block_sums, blocks, np.float32(rules.top_p) * total)
    return _inverse_cdf(masses, block_sums, blocks, uniform * total)


@compiled
def _kth_largest(logits, at, classes, k):  # type: ignore[no-untyped-def]
    """Return the k-th largest logit, by bisection over the ordinals of all floats."""
    low, high = -0x7F800001, 0x7F800001  # minus infinity; just above infinity, which is NaN
    while high - low > 1:
        middle = low + (high - low) // 2
        bound, count = _ordinal_to_float(middle), 0
        for n in range(at, at + classes):
            count += logits[n] >= bound
        if count >= k:
            low = middle
        else:
            high = middle
    return _ordinal_to_float(low)


@inlined
def _ordinal_to_float(ordinal):  # type: ignore[no-untyped-def]
    """Return the float of an integer of the same order.

    For negative floats, larger bits mean smaller numbers.
    """
    return bits_to_float(np.int32(ordinal if ordinal >= 0 else -0x80000000 - ordinal - 1))


@inlined
def _inverse_cdf(masses, block_sums, blocks, mass):  # type: ignore[no-untyped-def]
    """Return the first class whose cumulative masses exceed the mass, never one of mass 0."""
    before, block = np.float32(0), 0
    while block < blocks - 1 and before + block_sums[block] <= mass:
        before += block_sums[block]
        block += 1
    end = (block + 1) * BLOCK_WIDTH
    for n in range(block * BLOCK_WIDTH, end):
        before += masses[n]
        if before > mass:
            return n
    for n in range(end - 1, -1, -1):  # after rounding, the mass may exceed the sum of all masses
        if masses[n] > 0:
            return n
    return 0


@inlined
def _mass_above(masses, blocks, threshold):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for n in range(blocks):
        total += sum_above(masses, n * BLOCK_WIDTH, threshold)
    return total


@compiled
def _apply_top_p(masses, block_sums, blocks, mass):  # type: ignore[no-untyped-def]
    """Set all masses to 0 except the largest that together reach the mass; return their sum.

    A class is kept if the sum of all larger masses is below the mass; among equal masses the first
    classes are kept. Sorting would take longer than the layers of a small network, so the smallest
    kept masses are found by bisection over the bits: positive floats are ordered like their bits.
    """
    low, high = np.int32(0), np.int32(0x3F800000)  # masses are at most 1
    while high - low > 1:
        middle = low + (high - low) // np.int32(2)
        if _mass_above(masses, blocks, bits_to_float(middle)) < mass:
            high = middle
        else:
            low = middle
    smallest = bits_to_float(high)
    before = _mass_above(masses, blocks, smallest)
    total = np.float32(0)
    for n in range(blocks):
        block_sums[n] = 0
        for i in range(n * BLOCK_WIDTH, (n + 1) * BLOCK_WIDTH):
            if masses[i] == smallest and before < mass:
                before += masses[i]
            elif masses[i] <= smallest:
                masses[i] = 0
            block_sums[n] += masses[i]
        total += block_sums[n]
    return total


@compiled
def draw_mixture(params, at, shape, uniform, rules, buffer):  # type: ignore[no-untyped-def]
    """Draw a code from a mixture.

    Args:
        params: flat; those of this clip begin at `at`: M logits, M means, M log scales.
        shape: `CpuShape`; its family, components and n_classes are read.
        uniform: a multiple of 2**-24 in [0, 1).
        rules: `SamplingRules`; temperature and greedy are read.
        buffer: (2 * M,) float64.
    Returns:
        0 to n_classes - 1; -1 if a param is not finite.
    """
    count, last = shape.components, shape.n_classes - 1
    means, scales = at + count, at + 2 * count
    top, best = -math.inf, 0
    for m in range(count):
        if not (
            math.isfinite(params[at + m])
            and math.isfinite(params[means + m])
            and math.isfinite(params[scales + m])
        ):
            return -1
        if _log_peak(params, at, scales, m) > _log_peak(params, at, scales, best):
            best = m
        top = max(top, params[at + m])
    if rules.greedy:
        mean = min(max(np.float64(params[means + best]), -1.0), 1.0)
        return int((mean + 1) / 2 * last + 0.5)
    total = 0.0
    for m in range(count):
        buffer[m] = math.exp((np.float64(params[at + m]) - top) / rules.temperature)
        floored = max(np.float64(params[scales + m]), LOG_SCALE_FLOOR)
        buffer[count + m] = math.exp(floored) * rules.temperature
        total += buffer[m]
    level = np.float64(uniform) + HALF_CELL
    low, high = _code_bounds(params, means, shape, level, buffer)
    while low < high:
        middle = (low + high) // 2
        edge, below = (2.0 * middle + 1) / last - 1, 0.0
        for m in range(count):
            distance = (edge - params[means + m]) / buffer[count + m]
            below += buffer[m] / total * _cdf(distance, shape.family)
        if below > level:
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def _code_bounds(params, means, shape, level, buffer):  # type: ignore[no-untyped-def]
    """Return bounds of the code: a quantile of a mixture lies between those of its components.

    The bounds include two codes for rounding. Gaussians have no simple quantile, so the bounds are
    all codes.
    """
    low, high = 0, shape.n_classes - 1
    if shape.family == LOGISTIC:
        logit, least, most = math.log(level / (1 - level)), 1.0, -1.0
        for m in range(shape.components):
            place = params[means + m] + logit * buffer[shape.components + m]
            least, most = min(least, place), max(most, place)
        low = max(low, int((max(least, -1.0) + 1) / 2 * high) - 2)
        high = min(high, int((min(most, 1.0) + 1) / 2 * high) + 3)
    return low, high


@inlined
def _log_peak(params, at, scales, m):  # type: ignore[no-untyped-def]
    """Return the log of weight / scale of a component."""
    return np.float64(params[at + m]) - max(np.float64(params[scales + m]), LOG_SCALE_FLOOR)


@inlined
def _cdf(x, family):  # type: ignore[no-untyped-def]
    if family == GAUSSIAN:
        return math.erfc(-x * math.sqrt(0.5)) / 2
    return 1 / (1 + math.exp(-x))
