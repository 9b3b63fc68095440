"""The distribution of the next sample as integer intervals of 2**40.

Input: the parameters of the network, the prediction and the error scales of the linear predictors.
Output: for each integer value an interval, of at least one part of 2**40; decoding finds the value
whose interval contains a number. The rule:

    C(v) = (M >> 12) - (M >> 26) + 2**(26 - bits) (v - lowest)
    M    = sum over components i of n_i L((v - 1/2 - centre_i) / scale_i)

n_i: integer weights whose sum is 2**16; L: the logistic function with the value 2**36 for 1
(`exact_math.logistic`). C(lowest) = 0 and C(highest + 1) = 2**40. So every value is possible: they
divide a share of 2**-14 evenly; and C rises by construction.

The mixture has 8 components of the network and 5 adaptive ones: four around the combined prediction
of the linear predictors, one around that of the predictor with reference samples, which is exact if
two channels are equal. The network and each adaptive component are six experts; their weights are
their likelihoods of the recent past.

Called by `stream_coder`, inlined into its loop.
"""

from typing import NamedTuple

import numpy as np

from wavenet.compression.exact_math import LOGISTIC_BITS, exp2, log2, logistic
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.range_coder import TOTAL_BITS
from wavenet.engines.cpu.jit import inlined

NETWORK_COMPONENTS = 8
ADAPTIVE_COMPONENTS = 5
COMPONENTS = NETWORK_COMPONENTS + ADAPTIVE_COMPONENTS
EXPERTS = 1 + ADAPTIVE_COMPONENTS
MAX_BITS = 24  # of a sample

_WEIGHT_BITS = 16
_TO_TOTAL = _WEIGHT_BITS + LOGISTIC_BITS - TOTAL_BITS
_FLOOR_BITS = 26  # log2 of the parts of 2**40 that are divided evenly
_FLOOR_SHIFT = _TO_TOTAL + TOTAL_BITS - _FLOOR_BITS
_WHOLE = 1 << TOTAL_BITS

_SMALLEST_SCALE = 0.02  # quantisation steps
_LIMIT, _LIMIT_OF_SPREAD = 100.0, 10.0  # of the parameters of the network
_NARROW, _MEDIUM, _WIDE = (
    0.35,
    0.5,
    0.75,
)  # scales of adaptive components, in units of the mean error
_MEMORY = 0.98  # share of the likelihood of the past that is kept per step
_LEAST_SHARE = 0.002  # of an expert
_LEAST_PROBABILITY = 2.0**-30


class Distribution(NamedTuple):
    """The distributions of 16 lanes and the experts, changed in place.

    `centres`, `inverses` (1 / scale), `shares` (of a component in its expert): (16, 13) float64.
    `weights`: (16, 13) int64. `race`: (16, 6) float64, log2 of the likelihood of the recent past.
    `spent`: (16, 2) float64, bits so far: of the network alone, of the mixture.
    `table`: `exact_math.LOGISTIC_TABLE`. `adapts`: (16,) int64, 0 for the network alone.
    """

    centres: np.ndarray
    inverses: np.ndarray
    shares: np.ndarray
    weights: np.ndarray
    race: np.ndarray
    spent: np.ndarray
    table: np.ndarray
    adapts: np.ndarray


def make_distribution(table: np.ndarray, adapts: np.ndarray) -> Distribution:
    """Return the distributions before the first sample: all experts are equal."""
    return Distribution(
        centres=np.zeros((LANES, COMPONENTS)),
        inverses=np.ones((LANES, COMPONENTS)),
        shares=np.ones((LANES, COMPONENTS)),
        weights=np.zeros((LANES, COMPONENTS), dtype=np.int64),
        race=np.zeros((LANES, EXPERTS)),
        spent=np.zeros((LANES, 2)),
        table=table,
        adapts=adapts,
    )


@inlined
def _bounded(value, limit):  # type: ignore[no-untyped-def]
    """Return a float32 as float64 between -limit and limit; NaN becomes 0."""
    value = float(value)
    if value > limit:
        return limit
    if value < -limit:
        return -limit
    return value if value == value else 0.0


@inlined
def _expert_share(distribution, lane, expert):  # type: ignore[no-untyped-def]
    """Return the weight of an expert, of a sum of 1."""
    if distribution.adapts[lane] == 0:
        return 1.0 - ADAPTIVE_COMPONENTS * _LEAST_SHARE if expert == 0 else _LEAST_SHARE
    best = distribution.race[lane, 0]
    for other in range(1, EXPERTS):
        best = max(best, distribution.race[lane, other])
    total = 0.0
    for other in range(EXPERTS):
        total += exp2(distribution.race[lane, other] - best)
    share = exp2(distribution.race[lane, expert] - best) / total
    return share * (1.0 - EXPERTS * _LEAST_SHARE) + _LEAST_SHARE


@inlined
def fill_distribution(distribution, lane, params, centre, slow, fast, referred, own):  # type: ignore[no-untyped-def]
    """Compute the mixture of the next sample of one lane.

    Args:
        params: of `network_step`, float32 (24 * 16,).
        centre, slow, fast: the combined prediction and the means of its errors, in steps.
        referred, own: the same of the predictor with reference samples.
    """
    best = _bounded(params[lane], _LIMIT)
    for i in range(1, NETWORK_COMPONENTS):
        best = max(best, _bounded(params[i * LANES + lane], _LIMIT))
    total = 0.0
    for i in range(NETWORK_COMPONENTS):
        value = exp2(_bounded(params[i * LANES + lane], _LIMIT) - best)
        distribution.shares[lane, i] = value
        total += value
    left = 1 << _WEIGHT_BITS
    share = _expert_share(distribution, lane, 0) * float(1 << _WEIGHT_BITS)
    for i in range(NETWORK_COMPONENTS):
        distribution.shares[lane, i] /= total
        offset = _bounded(params[(NETWORK_COMPONENTS + i) * LANES + lane], _LIMIT)
        spread = _bounded(params[(2 * NETWORK_COMPONENTS + i) * LANES + lane], _LIMIT_OF_SPREAD)
        distribution.centres[lane, i] = centre + slow * offset
        scale = slow * exp2(spread)
        distribution.inverses[lane, i] = 1.0 / max(scale, _SMALLEST_SCALE)
        weight = int(share * distribution.shares[lane, i])
        distribution.weights[lane, i] = weight
        left -= weight
    for n in range(ADAPTIVE_COMPONENTS):
        i = NETWORK_COMPONENTS + n
        middle = centre
        scale = (fast if n < 2 else slow) * (_NARROW if n % 2 == 0 else _WIDE)
        if n == ADAPTIVE_COMPONENTS - 1:
            middle, scale = referred, own * _MEDIUM
        distribution.centres[lane, i] = middle
        distribution.inverses[lane, i] = 1.0 / max(scale, _SMALLEST_SCALE)
        weight = int(_expert_share(distribution, lane, 1 + n) * float(1 << _WEIGHT_BITS))
        distribution.weights[lane, i] = weight
        left -= weight
    distribution.weights[lane, NETWORK_COMPONENTS + 1] += left  # what rounding left over


@inlined
def cumulative(distribution, lane, value, bits):  # type: ignore[no-untyped-def]
    """Return C(value), int64: the parts of 2**40 of all smaller values."""
    lowest = -(1 << (bits - 1))
    if value <= lowest:
        return 0
    if value >= -lowest:
        return _WHOLE
    edge = float(value) - 0.5
    total = 0
    for i in range(COMPONENTS):
        u = (edge - distribution.centres[lane, i]) * distribution.inverses[lane, i]
        total += distribution.weights[lane, i] * logistic(u, distribution.table)
    even = (value - lowest) << (_FLOOR_BITS - bits)
    return (total >> _TO_TOTAL) - (total >> _FLOOR_SHIFT) + even


@inlined
def find_value(distribution, lane, target, centre, width, bits):  # type: ignore[no-untyped-def]
    """Return the value v with C(v) <= target < C(v + 1), then C(v) and C(v + 1).

    The search begins at `centre` with steps of `width`; they do not change the result.
    """
    low, high = -(1 << (bits - 1)), 1 << (bits - 1)
    at_low, at_high = 0, _WHOLE
    guess = int(min(max(centre, float(low)), float(high - 1)))
    step = max(1, int(min(width, 8388608.0)))
    at_guess = cumulative(distribution, lane, guess, bits)
    if at_guess <= target:
        low, at_low = guess, at_guess
        while low + step < high:
            at_next = cumulative(distribution, lane, low + step, bits)
            if at_next > target:
                high, at_high = low + step, at_next
            else:
                low, at_low = low + step, at_next
                step *= 4
    else:
        high, at_high = guess, at_guess
        while high - step > low:
            at_next = cumulative(distribution, lane, high - step, bits)
            if at_next <= target:
                low, at_low = high - step, at_next
            else:
                high, at_high = high - step, at_next
                step *= 4
    while high - low > 1:
        middle = (low + high) >> 1
        at_middle = cumulative(distribution, lane, middle, bits)
        if at_middle <= target:
            low, at_low = middle, at_middle
        else:
            high, at_high = middle, at_middle
    return low, at_low, at_high


@inlined
def update_experts(distribution, lane, value, size):  # type: ignore[no-untyped-def]
    """Add the likelihoods of a value, whose interval has `size` parts, to those of the past."""
    network = 0.0
    above, below = float(value) + 0.5, float(value) - 0.5
    for i in range(COMPONENTS):
        centre, inverse = distribution.centres[lane, i], distribution.inverses[lane, i]
        mass = logistic((above - centre) * inverse, distribution.table) - logistic(
            (below - centre) * inverse, distribution.table
        )
        probability = float(mass) * 2.0**-LOGISTIC_BITS
        if i < NETWORK_COMPONENTS:
            network += distribution.shares[lane, i] * probability
        else:
            expert = i - NETWORK_COMPONENTS + 1
            past = _MEMORY * distribution.race[lane, expert]
            distribution.race[lane, expert] = past + log2(probability + _LEAST_PROBABILITY)
    bits = -log2(network + _LEAST_PROBABILITY)
    distribution.race[lane, 0] = _MEMORY * distribution.race[lane, 0] - bits
    distribution.spent[lane, 0] += bits
    distribution.spent[lane, 1] += float(TOTAL_BITS) - log2(float(size))
