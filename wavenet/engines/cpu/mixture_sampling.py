"""Drawing from a mixture inside the compiled loop, by the rules of `model.mixtures`.

Logits, means and log scales of a few components and one uniform enter, a code leaves: the first
whose cumulative probability exceeds the middle of the uniform's cell, found by halving the range of
codes. In float64, as there: a code is a 65,536th of the range.
"""

import math

import numpy as np

from wavenet.engines.cpu.jit import compiled, inlined
from wavenet.model.mixtures import HALF_CELL, LOG_SCALE_FLOOR

LOGISTIC, GAUSSIAN = 1, 2  # families, as `Shape.family` counts them; 0 are classes


@compiled
def draw_mixture(params, at, shape, uniform, rules, work):  # type: ignore[no-untyped-def]
    """Draw a code.

    Args:
        params: flat; those of this stream begin at `at`: M logits, M means, M log scales.
        shape: says how many components, of which family, over how many classes.
        uniform: a multiple of 2**-24 in [0, 1); rules: temperature, greedy.
        work: (2 * M,) float64 room to work in.
    Returns:
        0 to classes - 1; -1 where a param is not finite.
    """
    count, last = shape.components, shape.classes - 1
    means, scales = at + count, at + 2 * count
    top, best = -math.inf, 0
    for m in range(count):
        if not (
            math.isfinite(params[at + m])
            and math.isfinite(params[means + m])
            and math.isfinite(params[scales + m])
        ):
            return -1
        if _peak(params, at, scales, m) > _peak(params, at, scales, best):
            best = m
        top = max(top, params[at + m])
    if rules.greedy:
        mean = min(max(np.float64(params[means + best]), -1.0), 1.0)
        return int((mean + 1) / 2 * last + 0.5)
    total = 0.0
    for m in range(count):
        work[m] = math.exp((np.float64(params[at + m]) - top) / rules.temperature)
        floored = max(np.float64(params[scales + m]), LOG_SCALE_FLOOR)
        work[count + m] = math.exp(floored) * rules.temperature
        total += work[m]
    level = np.float64(uniform) + HALF_CELL
    low, high = _bracket(params, means, shape, level, work)
    while low < high:
        middle = (low + high) // 2
        edge, below = (2.0 * middle + 1) / last - 1, 0.0
        for m in range(count):
            distance = (edge - params[means + m]) / work[count + m]
            below += work[m] / total * _cdf(distance, shape.family)
        if below > level:
            high = middle
        else:
            low = middle + 1
    return low


@inlined
def _bracket(params, means, shape, level, work):  # type: ignore[no-untyped-def]
    """Bound the code: a mixture's quantile lies between the least and largest of its components'.

    Two codes wider than that, for rounding. Gaussians have no simple quantile and take all codes.
    """
    low, high = 0, shape.classes - 1
    if shape.family == LOGISTIC:
        odds, least, most = math.log(level / (1 - level)), 1.0, -1.0
        for m in range(shape.components):
            place = params[means + m] + odds * work[shape.components + m]
            least, most = min(least, place), max(most, place)
        low = max(low, int((max(least, -1.0) + 1) / 2 * high) - 2)
        high = min(high, int((min(most, 1.0) + 1) / 2 * high) + 3)
    return low, high


@inlined
def _peak(params, at, scales, m):  # type: ignore[no-untyped-def]
    """Give the log of weight / scale of a component."""
    return np.float64(params[at + m]) - max(np.float64(params[scales + m]), LOG_SCALE_FLOOR)


@inlined
def _cdf(x, family):  # type: ignore[no-untyped-def]
    if family == GAUSSIAN:
        return math.erfc(-x * math.sqrt(0.5)) / 2
    return 1 / (1 + math.exp(-x))
