"""Drawing a class inside the compiled loop, by the rules of `wavenet.sampling`.

Logits and one uniform enter, a code leaves. Probabilities are float32 here and are never
normalised: their sum takes the place of 1. Work is done in blocks of 16 classes.
"""

from typing import NamedTuple

import numpy as np

from wavenet.engines.cpu.block_operations import exponentials, float_of_bits, largest, sum_above
from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.engines.cpu.llvm_vectors import LANES
from wavenet.sampling import SamplingConfig


class Rules(NamedTuple):
    """`SamplingConfig` in numbers; top_k 0 and top_p 1 stand for off."""

    temperature: float
    top_k: int
    top_p: float
    greedy: bool
    guidance: float


def rules_of(sampling: SamplingConfig) -> Rules:
    """Turn the settings into numbers."""
    return Rules(
        float(sampling.temperature),
        int(sampling.top_k or 0),
        1.0 if sampling.top_p is None else float(sampling.top_p),
        bool(sampling.greedy),
        float(sampling.guidance),
    )


@compiled
def guide(logits, at, width, rules):  # type: ignore[no-untyped-def]
    """Make the logits at `at` those that are drawn from; those without conditions lie behind."""
    share = np.float32(rules.guidance)
    for n in range(at, at + width):
        free = logits[n + width]
        logits[n] = free + share * (logits[n] - free)


@compiled
def draw(logits, at, classes, uniform, rules, p, sums):  # type: ignore[no-untyped-def]
    """Draw a code.

    Args:
        logits: flat; those of this stream begin at `at` and go on to a multiple of 16.
        classes: how many of them count.
        uniform: in [0, 1).
        p, sums: float32 room to work in, for the classes and for their blocks.
    """
    blocks = (classes + LANES - 1) // LANES
    for n in range(at + classes, at + blocks * LANES):
        logits[n] = -np.inf
    top = largest(logits, at)
    for n in range(1, blocks):
        top = max(top, largest(logits, at + n * LANES))
    if rules.greedy:
        for n in range(classes):
            if logits[at + n] == top:
                return n
        return 0  # only where nothing is a number
    least = np.float32(-np.inf)
    if 0 < rules.top_k < classes:
        least = _kth_largest(logits, at, classes, rules.top_k)
    scale = np.float32(1 / rules.temperature)
    total = np.float32(0)
    for n in range(blocks):
        sums[n] = exponentials(p, n * LANES, logits, at + n * LANES, top, scale, least)
        total += sums[n]
    if rules.top_p < 1:
        total = _keep_likeliest(p, sums, blocks, np.float32(rules.top_p) * total)
    return _find(p, sums, blocks, uniform * total)


@compiled
def _kth_largest(logits, at, classes, k):  # type: ignore[no-untyped-def]
    """Halve the range of all floats, in the order of their bits, until one is left."""
    low, high = -0x7F800001, 0x7F800001  # minus infinity; just above infinity, not a number
    while high - low > 1:
        middle = low + (high - low) // 2
        bound, count = _float_in_order(middle), 0
        for n in range(at, at + classes):
            count += logits[n] >= bound
        if count >= k:
            low = middle
        else:
            high = middle
    return _float_in_order(low)


@inlined
def _float_in_order(key):  # type: ignore[no-untyped-def]
    """Count from minus infinity to infinity: the bits of negative floats run the other way."""
    return float_of_bits(np.int32(key if key >= 0 else -0x80000000 - key - 1))


@inlined
def _find(p, sums, blocks, mass):  # type: ignore[no-untyped-def]
    """Give the first class whose cumulative p exceeds the mass; one of p 0 is never given."""
    before, block = np.float32(0), 0
    while block < blocks - 1 and before + sums[block] <= mass:
        before += sums[block]
        block += 1
    end = (block + 1) * LANES
    for n in range(block * LANES, end):
        before += p[n]
        if before > mass:
            return n
    for n in range(end - 1, -1, -1):  # rounding left a little over
        if p[n] > 0:
            return n
    return 0


@inlined
def _mass_above(p, blocks, threshold):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for n in range(blocks):
        total += sum_above(p, n * LANES, threshold)
    return total


@compiled
def _keep_likeliest(p, sums, blocks, mass):  # type: ignore[no-untyped-def]
    """Set to 0 all but the likeliest classes that reach the mass; give the sum of the rest.

    A class stays if what is above it is below the mass. Sorting would cost more than the layers
    of a small network; the least p that stays is found by halving the range of its bits instead,
    for positive floats are ordered as their bits are. Of equals the first classes stay.
    """
    low, high = np.int32(0), np.int32(0x3F800000)  # p is at most 1
    while high - low > 1:
        middle = low + (high - low) // np.int32(2)
        if _mass_above(p, blocks, float_of_bits(middle)) < mass:
            high = middle
        else:
            low = middle
    least = float_of_bits(high)
    before = _mass_above(p, blocks, least)
    total = np.float32(0)
    for n in range(blocks):
        sums[n] = 0
        for i in range(n * LANES, (n + 1) * LANES):
            if p[i] == least and before < mass:
                before += p[i]
            elif p[i] <= least:
                p[i] = 0
            sums[n] += p[i]
        total += sums[n]
    return total
