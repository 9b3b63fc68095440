"""The parts of the coder: exact functions, linear predictors, distribution, range coder."""

import math

import numpy as np
import pytest

from tests.compression import compiled_parts
from wavenet.compression.exact_math import LOGISTIC_BITS, LOGISTIC_TABLE
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.linear_predictors import make_predictor_state
from wavenet.compression.range_coder import (
    TOTAL_BITS,
    finish_encoder,
    make_coder_state,
    start_decoder,
)
from wavenet.compression.value_distribution import (
    COMPONENTS,
    NETWORK_COMPONENTS,
    make_distribution,
)

WHOLE = 1 << TOTAL_BITS


def test_log2_and_exp2_are_close_to_the_exact_functions(rng):
    values = np.concatenate([2.0 ** rng.uniform(-900, 900, 2000), [1.0, 2.0, 0.5, 2**0.5]])
    found = np.zeros_like(values)
    compiled_parts.log2(values, found)
    np.testing.assert_allclose(found, np.log2(values), atol=1e-5)
    exponents = np.concatenate([rng.uniform(-990, 990, 2000), [0.0, 1.0, -1.0, 0.5]])
    found = np.zeros_like(exponents)
    compiled_parts.exp2(exponents, found)
    np.testing.assert_allclose(found, 2.0**exponents, rtol=1e-7)


def test_the_logistic_table_and_its_lines_never_fall():
    u = np.linspace(-30, 30, 200_001)
    found = np.zeros(len(u), dtype=np.int64)
    compiled_parts.logistic(u, found, LOGISTIC_TABLE)
    assert (np.diff(found) >= 0).all()
    assert found[0] == 0 or found[0] < 1 << 10
    assert found[-1] == 1 << LOGISTIC_BITS
    exact = 2.0**LOGISTIC_BITS / (1 + np.exp(-u))
    # the lines of 1/32 deviate by at most h^2 / 8 times the largest second derivative
    np.testing.assert_allclose(found, exact, atol=2.0**LOGISTIC_BITS * 1.3e-5)


def test_a_sum_of_products_is_added_in_order_without_fused_operations(rng):
    """The reference adds term by term in Python, which rounds after every operation."""
    n = 31
    a, b = rng.standard_normal((n, LANES)), rng.standard_normal((n, LANES))
    found = rng.standard_normal(LANES)
    expected = found.copy()
    for k in range(n):
        for lane in range(LANES):
            expected[lane] = expected[lane] - a[k, lane] * b[k, lane]
    compiled_parts.dot(found, a.ravel(), b.ravel(), n)
    assert found.tobytes() == expected.tobytes()
    assert math.fsum(expected) != math.fsum(-np.einsum("kl,kl->l", a, b))


@pytest.mark.parametrize("uses_reference", [False, True])
def test_predictors_learn_a_recursion(rng, uses_reference):
    """After 3,000 samples the error is that of the noise that drives the recursion."""
    samples, references = np.zeros((3000, LANES)), np.zeros((3000, LANES))
    noise = rng.standard_normal((3000, LANES)) * 100
    for t in range(2, 3000):
        samples[t] = 1.8 * samples[t - 1] - 0.9 * samples[t - 2] + noise[t]
    if uses_reference:
        references = noise + rng.standard_normal(noise.shape)
    mixed = np.zeros((3000, LANES))
    compiled_parts.predictions(make_predictor_state(), samples, references, mixed)
    error = np.sqrt(np.mean((samples - mixed)[2000:] ** 2))
    assert error < (5 if uses_reference else 115)
    assert np.sqrt(np.mean(samples[2000:] ** 2)) > 300


def test_a_lane_does_not_depend_on_the_others(rng):
    samples = rng.integers(-1000, 1000, (1500, LANES)).astype(float)
    both = []
    for others in (1.0, 0.0):
        streams = samples * others
        streams[:, 3] = samples[:, 3]
        mixed = np.zeros((1500, LANES))
        compiled_parts.predictions(make_predictor_state(), streams, np.zeros_like(streams), mixed)
        both.append(mixed[:, 3].tobytes())
    assert both[0] == both[1]


@pytest.mark.parametrize("bits", [1, 2, 8, 16, 24])
@pytest.mark.parametrize(
    "extreme", [0.0, 1e4, -1e4, 1e30, float("inf")], ids=["usual", "1e4", "-1e4", "1e30", "inf"]
)
def test_intervals_are_never_empty_and_fill_the_whole(rng, bits, extreme):
    """Every value has a part of 2**40, whatever the network computes; all parts are 2**40."""
    distribution = make_distribution(LOGISTIC_TABLE, np.ones(LANES, dtype=np.int64))
    params = rng.standard_normal(3 * NETWORK_COMPONENTS * LANES).astype(np.float32)
    if extreme:
        params[:: 2 * LANES] = extreme
    limit = 1 << (bits - 1)
    compiled_parts.fill(distribution, 0, params, 0.3 * limit, 5.0, 2.0)
    assert distribution.weights[0].sum() == 1 << 16
    assert (distribution.weights[0] >= 0).all()
    values = np.arange(-limit, limit + 1)
    if bits == 24:
        middle = int(0.3 * limit)
        values = np.concatenate(
            [values[:2000], np.arange(middle - 2000, middle + 2000), values[-2000:]]
        )
    edges = np.zeros(len(values), dtype=np.int64)
    compiled_parts.cumulative(distribution, 0, values, bits, edges)
    assert edges[0] == 0 and edges[-1] == WHOLE
    assert (np.diff(edges) > 0).all()
    targets = rng.integers(0, WHOLE, 300)
    found = np.zeros((len(targets), 3), dtype=np.int64)
    compiled_parts.find(distribution, 0, targets, 0.3 * limit, 5.0, bits, found)
    assert ((found[:, 1] <= targets) & (targets < found[:, 2])).all()
    compiled_parts.cumulative(distribution, 0, found[:, 0].copy(), bits, targets)
    assert (targets == found[:, 1]).all()


def test_a_distribution_is_that_of_its_components():
    """One wide component: the middle half of the mass is within log(3) scales of the centre."""
    distribution = make_distribution(LOGISTIC_TABLE, np.zeros(LANES, dtype=np.int64))
    params = np.zeros(3 * NETWORK_COMPONENTS * LANES, dtype=np.float32)
    compiled_parts.fill(distribution, 5, params, 1000.0, 200.0, 200.0)
    assert distribution.centres.shape == (LANES, COMPONENTS)
    edges = np.zeros(2, dtype=np.int64)
    half = round(200 * math.log(3))
    compiled_parts.cumulative(distribution, 5, np.array([1000 - half, 1001 + half]), 16, edges)
    assert abs((edges[1] - edges[0]) / WHOLE - 0.5) < 0.01


def _random_intervals(rng, n):
    """Return intervals (n, 2): start and size, some of size 1, some nearly whole."""
    size = np.minimum(2.0 ** rng.uniform(0, TOTAL_BITS, n), WHOLE - 1).astype(np.int64)
    size[::7] = 1
    size[::5] = WHOLE - 1
    start = (rng.random(n) * (WHOLE - size)).astype(np.int64)
    return np.stack([start, size], axis=1)


@pytest.mark.parametrize("n", [0, 1, 2, 3000])
def test_the_range_coder_returns_all_intervals(rng, n):
    intervals = _random_intervals(rng, n)
    room = 16 * n + 16
    coder = make_coder_state(
        np.zeros((LANES, room), dtype=np.uint8), np.full(LANES, room, dtype=np.int64)
    )
    assert compiled_parts.encode_intervals(coder, 2, intervals) == n
    data = finish_encoder(coder, 2)
    ideal = (TOTAL_BITS - np.log2(intervals[:, 1])).sum()
    assert 8 * len(data) <= ideal + n * 2**-15 + 16
    rows = np.zeros((LANES, len(data) + 1), dtype=np.uint8)
    rows[2, : len(data)] = np.frombuffer(data, dtype=np.uint8)
    decoder = make_coder_state(rows, np.full(LANES, len(data), dtype=np.int64))
    start_decoder(decoder)
    targets = np.zeros(n, dtype=np.int64)
    compiled_parts.decode_intervals(decoder, 2, intervals, targets)
    assert (intervals[:, 0] <= targets).all()
    assert (targets < intervals.sum(axis=1)).all()


def test_a_carry_passes_through_many_bytes():
    """Intervals at the top of the range fill the bytes with 255, until one carries."""
    top = [WHOLE - (1 << 8), 1 << 8]
    intervals = np.array([top] * 40 + [[WHOLE - 1, 1]] * 3, dtype=np.int64)
    coder = make_coder_state(
        np.zeros((LANES, 999), dtype=np.uint8), np.full(LANES, 999, dtype=np.int64)
    )
    compiled_parts.encode_intervals(coder, 0, intervals)
    data = finish_encoder(coder, 0)
    rows = np.zeros((LANES, len(data)), dtype=np.uint8)
    rows[0] = np.frombuffer(data, dtype=np.uint8)
    decoder = make_coder_state(rows, np.full(LANES, len(data), dtype=np.int64))
    start_decoder(decoder)
    targets = np.zeros(len(intervals), dtype=np.int64)
    compiled_parts.decode_intervals(decoder, 0, intervals, targets)
    assert (intervals[:, 0] <= targets).all() and (targets < intervals.sum(axis=1)).all()


def test_an_encoder_stops_at_its_limit(rng):
    intervals = _random_intervals(rng, 100)
    coder = make_coder_state(
        np.zeros((LANES, 24), dtype=np.uint8), np.full(LANES, 24, dtype=np.int64)
    )
    assert 0 < compiled_parts.encode_intervals(coder, 1, intervals) < 100
