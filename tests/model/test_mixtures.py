"""Mixtures: probabilities and draws against scipy.

`log_prob` and its gradients are compared with scipy, 60 digits and finite differences; draws with
sums of scipy's probabilities, and their frequencies with the probabilities. Each has a control.
"""

import itertools
import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import softmax

from wavenet import sampling
from wavenet.errors import ConditionError, ConfigError
from wavenet.model.mixtures import HALF_CELL, LOG_SCALE_FLOOR, GaussianMixture, LogisticMixture
from wavenet.sampling import SamplingConfig

LARGEST = 1 - 2.0**-24  # the largest float32 below 1
PLAIN = SamplingConfig()
both = pytest.mark.parametrize("kind", [LogisticMixture, GaussianMixture])


def density(kind):
    return scipy.stats.logistic if kind is LogisticMixture else scipy.stats.norm


def value(codes, bits):
    return 2 * np.asarray(codes, dtype=np.float64) / (2**bits - 1) - 1


def random_params(rng, components, samples, low=-12.0, high=0.5, spread=1.2):
    """Draw (1, P, T) float64 that float32 holds exactly; some scales lie below the floor."""
    shape = (components, samples)
    parts = [2 * rng.standard_normal(shape), rng.uniform(-spread, spread, shape)]
    parts.append(rng.uniform(low, high, shape))
    return torch.from_numpy(np.concatenate(parts)).float().double()[None]


def codes_near(rng, params, bits):
    """Choose codes within a few scales of a component, and both ends."""
    _, means, log_scales = params[0].numpy().reshape(3, -1, params.shape[2])
    pick = (rng.integers(0, len(means), means.shape[1]), np.arange(means.shape[1]))
    x = means[pick] + 6 * np.exp(log_scales[pick]) * rng.standard_normal(means.shape[1])
    codes = np.clip(np.round((x + 1) / 2 * (2**bits - 1)), 0, 2**bits - 1).astype(np.int64)
    codes[::50], codes[1::50] = 0, 2**bits - 1
    return torch.from_numpy(codes)[None]


def by_scipy(kind, params, codes, bits):
    """Compute probabilities (B, T): differences of scipy's CDF, or of 1 - CDF above the mean."""
    logits, means, log_scales = np.split(params.double().numpy(), 3, axis=1)
    scales = np.exp(np.maximum(log_scales, LOG_SCALE_FLOOR))
    codes = codes.numpy()[:, None]
    half = 1 / (2**bits - 1)
    lower = np.where(codes == 0, -np.inf, (value(codes, bits) - half - means) / scales)
    upper = np.where(codes == 2**bits - 1, np.inf, (value(codes, bits) + half - means) / scales)
    f = density(kind)
    mass = np.where(lower > 0, f.sf(lower) - f.sf(upper), f.cdf(upper) - f.cdf(lower))
    return (softmax(logits, axis=1) * mass).sum(1)


def every_code(kind, params, bits):
    """Compute the log-probabilities of all codes under params (1, P, 1)."""
    codes = torch.arange(2**bits)[None]
    return kind(params.shape[1] // 3, bits).log_prob(params.expand(1, -1, 2**bits), codes)[0]


def mixture(*rows):
    return torch.tensor(rows, dtype=torch.float64).flatten()[None, :, None]


def gradient(kind, params, codes, bits):
    params = params.clone().requires_grad_(True)
    log_prob = kind(params.shape[1] // 3, bits).log_prob(params, codes)
    log_prob.sum().backward()
    return log_prob.detach(), params.grad


@both
@pytest.mark.parametrize("components", [1, 3, 10])
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_log_prob_is_the_log_of_a_difference_of_cdfs(kind, components, bits, rng):
    params = random_params(rng, components, 2_000)
    codes = codes_near(rng, params, bits)
    expected = by_scipy(kind, params, codes, bits)
    is_computable = torch.from_numpy(expected > 1e-290)  # further out the CDF is 0: next test
    assert is_computable.double().mean() > 0.5
    expected = torch.from_numpy(np.log(np.maximum(expected, 1e-300)))
    got = kind(components, bits).log_prob(params, codes)
    assert got.shape == codes.shape
    # the series for the narrow bins of Gaussians omits up to 1e-6 nats
    atol = 1e-6 if kind is GaussianMixture else 1e-9
    torch.testing.assert_close(got[is_computable], expected[is_computable], atol=atol, rtol=1e-11)
    neighbour = (codes + 1) % 2**bits  # negative control: it has another probability
    other = kind(components, bits).log_prob(params, neighbour)
    assert ((other - expected).abs()[is_computable] > 1e-3).double().mean() > 0.5


def in_60_digits(kind, params, code, bits):
    """Compute the log of the mass of a bin under one component, and its gradients.

    The gradients are with respect to the mean, times the scale, and to the log scale. Neither for
    the first nor for the last code, whose bins contain a tail.
    """
    with mpmath.workdps(60):
        _, mean, log_scale = map(mpmath.mpf, params)
        last, scale = mpmath.mpf(2**bits - 1), mpmath.exp(log_scale)
        middle = 2 * code / last - 1 - mean
        lower, upper = ((-abs(middle) + side / last) / scale for side in (-1, 1))
        if kind is LogisticMixture:
            cdf = [1 / (1 + mpmath.exp(-x)) for x in (lower, upper)]
            pdf = [y * (1 - y) for y in cdf]
        else:
            cdf = [mpmath.erfc(-x / mpmath.sqrt(2)) / 2 for x in (lower, upper)]
            pdf = [mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi) for x in (lower, upper)]
        mass = cdf[1] - cdf[0]
        to_mean = mpmath.sign(middle) * (pdf[1] - pdf[0]) / mass
        to_log_scale = (lower * pdf[0] - upper * pdf[1]) / mass
        return [float(mpmath.log(mass)), float(to_mean), float(to_log_scale)]


def far_and_narrow(rng, samples):
    """Draw single components 0 to 1e6 scales from a bin of 16 bits, 1e-8 to 1.8 scales wide.

    A third are where the Gaussian switches from CDFs to a series.
    """
    width = np.exp(rng.uniform(-18, 0.6, samples))
    distance = np.where(
        rng.random(samples) < 0.5, 10 ** rng.uniform(-2, 6, samples), rng.uniform(0, 12, samples)
    )
    switch = rng.random(samples) < 1 / 3
    width[switch] = rng.uniform(0.03, 0.07, switch.sum())
    corner = rng.random(samples) < 1 / 6
    distance[corner] = 0.5 / width[corner] * rng.uniform(0.8, 1.2, corner.sum())
    scale = 2 / 65535 / width
    codes = rng.integers(1, 65535, samples)
    means = value(codes, 16) - rng.choice([-1, 1], samples) * distance * scale
    params = np.stack([rng.standard_normal(samples), means, np.log(scale)])
    return torch.from_numpy(params).float().double()[None], torch.from_numpy(codes)[None]


@both
def test_the_furthest_tails_and_the_narrowest_bins_are_exact(kind, rng):
    """The gradient of torch.special.log_ndtr in float32 is 4% off at -1e3 and 0 at -1e6.

    A model whose means start far away would never have learnt.
    """
    params, codes = far_and_narrow(rng, 1_000)
    rows = zip(params[0].T.tolist(), codes[0].tolist(), strict=True)
    exact = torch.from_numpy(np.array([in_60_digits(kind, row, code, 16) for row, code in rows]))
    expected, slopes = exact[None, :, 0], exact.T[1:]
    log_prob, grad = gradient(kind, params, codes, 16)
    torch.testing.assert_close(log_prob, expected, atol=1e-6, rtol=1e-12)
    scale = params[0, 2].exp()
    torch.testing.assert_close(grad[0, 1] * scale, slopes[0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(grad[0, 2], slopes[1], atol=1e-6, rtol=1e-6)
    assert (grad[0, 0] == 0).all()

    log_prob, grad = gradient(kind, params.float(), codes, 16)
    torch.testing.assert_close(log_prob.double(), expected, atol=4e-5, rtol=2e-6)
    torch.testing.assert_close(grad[0, 1].double() * scale, slopes[0], atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(grad[0, 2].double(), slopes[1], atol=2e-5, rtol=1e-5)

    shifted = params + torch.tensor([0, 1e-6, 0])[:, None]  # negative control: 1/30 of a bin
    change = (kind(1).log_prob(shifted, codes) - expected).abs()
    assert (change > 4e-5 + 2e-6 * expected.abs()).double().mean() > 0.3


def by_naive_float32(kind, params, codes, bits):
    """Compute the log-probability naively: in float32, as a difference of two CDFs."""
    logits, means, log_scales = params.float().chunk(3, dim=1)
    x = (2 * codes[:, None].float() / (2**bits - 1) - 1 - means) / log_scales.exp()
    half = 1 / (2**bits - 1) / log_scales.exp()
    cdf = torch.sigmoid if kind is LogisticMixture else torch.special.ndtr
    mass = (cdf(x + half) - cdf(x - half)).log()
    return torch.logsumexp(logits.log_softmax(1) + mass, dim=1)


@both
def test_float32_stays_within_a_bound_of_float64(kind, rng):
    params = random_params(rng, 10, 20_000, low=LOG_SCALE_FLOOR)
    codes = codes_near(rng, params, 16)
    exact = kind(10).log_prob(params, codes)
    bound = 3e-5 + 2e-6 * exact.abs()
    got = kind(10).log_prob(params.float(), codes)
    assert got.dtype == torch.float32
    assert ((got - exact).abs() < bound).all()
    naive = by_naive_float32(kind, params, codes, 16)  # negative control
    assert (~((naive - exact).abs() < bound)).double().mean() > 0.3


def test_half_precision_is_computed_in_float32(rng):
    params = random_params(rng, 2, 50).bfloat16()
    codes = codes_near(rng, params.double(), 16)
    got = LogisticMixture(2).log_prob(params, codes)
    assert torch.equal(got, LogisticMixture(2).log_prob(params.float(), codes))


@both
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_the_probabilities_of_all_codes_sum_to_one(kind, precision, bits, rng):
    tolerance = 2e-6
    for _ in range(5):
        params = random_params(rng, 4, 1).to(precision)
        params[0, 4] = 1.01  # a mean beyond the last code
        p = every_code(kind, params, bits).double().exp()
        assert abs(p.sum() - 1) < tolerance
        assert abs(p[:-1].sum() - 1) > 100 * tolerance  # negative control: without the last code


EXTREMES = torch.tensor(
    list(
        itertools.product(
            (-1e4, 0.0, 1e4), (-1e3, -1.0, 0.3, 1.0, 1e3), (-50.0, -11.0, -7.0, 0.0, 20.0)
        )
    )
).T


def is_finite(log_prob, grad):
    return torch.isfinite(log_prob[:, None]) & torch.isfinite(grad).all(1, keepdim=True)


@both
@pytest.mark.parametrize("bits", [1, 8, 16])
@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_log_prob_and_gradient_are_finite_at_the_extremes(kind, bits, precision):
    last = 2**bits - 1
    single = EXTREMES.to(precision)  # (3, 75)
    pairs = torch.stack([single, single.roll(7, 1), single.roll(31, 1)], 1).flatten(0, 1)
    for params in (single[None], pairs[None]):
        for code in sorted({0, 1 % (last + 1), last // 2, last - 1, last}):
            codes = torch.full((1, params.shape[2]), code)
            log_prob, grad = gradient(kind, params, codes, bits)
            assert is_finite(log_prob, grad).all()
            assert (log_prob <= 0).all()
            if code == last // 2 and bits > 1:  # negative control: these params are hard
                assert not torch.isfinite(by_naive_float32(kind, params, codes, bits)).all()


@both
@pytest.mark.parametrize("bits", [4, 16])
def test_gradients_agree_with_finite_differences(kind, bits, rng):
    params = random_params(rng, 2, 24, low=-4, spread=0.9)
    codes = codes_near(rng, params, bits)
    codes[0, :4] = torch.tensor([0, 2**bits - 1, 1, 2**bits - 2])
    distribution = kind(2, bits)
    _, grad = gradient(kind, params, codes, bits)
    for row in range(6):
        nudge = torch.zeros(6, 1, dtype=torch.float64)
        nudge[row] = 1e-5
        ahead = distribution.log_prob(params + nudge, codes)
        slope = (ahead - distribution.log_prob(params - nudge, codes)) / 2e-5
        torch.testing.assert_close(grad[:, row], slope, atol=2e-5, rtol=1e-5)
        if row >= 2:  # negative control: another param has another gradient
            assert not torch.allclose(grad[:, row - 2], slope, atol=1e-3)


@both
def test_a_scale_below_the_floor_counts_as_the_floor_and_has_no_gradient(kind, rng):
    params = random_params(rng, 1, 400, low=LOG_SCALE_FLOOR, high=LOG_SCALE_FLOOR)
    codes = codes_near(rng, params, 16)
    drawn = torch.from_numpy(rng.random((1, 400)))
    below, above = params.clone(), params.clone()
    below[:, 2], above[:, 2] = -50, LOG_SCALE_FLOOR + 0.1
    log_prob, grad = gradient(kind, below, codes, 16)
    assert torch.equal(log_prob, kind(1).log_prob(params, codes))
    assert torch.equal(kind(1).sample(below, drawn, PLAIN), kind(1).sample(params, drawn, PLAIN))
    assert (grad[0, 2] == 0).all()
    changed, grad = gradient(kind, above, codes, 16)  # negative control: above it the scale counts
    assert ((changed - log_prob).abs() > 1e-3).double().mean() > 0.5
    assert (grad[0, 2] != 0).double().mean() > 0.5


@both
def test_a_mixture_of_equal_components_is_one_component_and_a_single_logit_is_ignored(kind, rng):
    single = random_params(rng, 1, 500)
    codes = codes_near(rng, single, 16)
    drawn = torch.from_numpy(rng.random((1, 500)))
    triple = single.repeat_interleave(3, dim=1)
    other_logit = single.clone()
    other_logit[:, 0] = -9e3
    expected = kind(1).log_prob(single, codes)
    for params in (triple, other_logit):
        distribution = kind(params.shape[1] // 3)
        torch.testing.assert_close(distribution.log_prob(params, codes), expected)
        assert torch.equal(
            distribution.sample(params, drawn, PLAIN), kind(1).sample(single, drawn, PLAIN)
        )
    triple[:, 5] += 0.1  # negative control: one mean differs
    assert not torch.allclose(kind(3).log_prob(triple, codes), expected, atol=1e-2)


@both
def test_the_number_of_params_is_three_per_component_and_bounds_are_checked(kind):
    assert kind(10).n_params == 30
    assert kind(1).n_params == 3
    assert kind(1).bits == 16
    for components, bits in ((0, 16), (-1, 16), (1, 0), (1, 17)):
        with pytest.raises(ConfigError, match="found"):
            kind(components, bits)


def draw_by_sums(kind, params, drawn, bits):
    """Draw by summing scipy's probabilities; also return which uniforms lie on no edge."""
    samples = drawn.shape[1]
    p = np.stack(
        [by_scipy(kind, params, torch.full((1, samples), c), bits)[0] for c in range(2**bits)], -1
    )
    codes = sampling.inverse_cdf(torch.from_numpy(p), drawn[0])
    is_clear = (np.abs(p.cumsum(-1) - drawn[0].numpy()[:, None]) > 1e-12).all(-1)
    return codes[None], torch.from_numpy(is_clear)[None]


@both
@pytest.mark.parametrize("bits", [1, 4, 6, 8])
def test_a_draw_is_the_first_code_whose_summed_probability_exceeds_the_uniform(kind, bits, rng):
    params = random_params(rng, 3, 2_000)
    drawn = torch.from_numpy(rng.random((1, 2_000)))
    drawn[0, :100], drawn[0, 100:200] = 0, LARGEST
    got = kind(3, bits).sample(params, drawn, PLAIN)
    expected, is_clear = draw_by_sums(kind, params, drawn + HALF_CELL, bits)
    assert got.dtype == torch.int64
    assert is_clear.double().mean() > 0.9
    assert torch.equal(got[is_clear], expected[is_clear])
    if bits > 1:
        assert {0, 2**bits - 1} <= set(got.flatten().tolist())
    wrong = kind(3, bits).sample(params, drawn * 0.98, PLAIN)  # negative control
    assert (wrong != got).sum() > 10


def draw(kind, params, bits, draws, config=PLAIN, power=1.0):
    """Draw from one set of params (1, P, 1) many times."""
    noise = torch.from_numpy(np.random.default_rng(5).random((1, draws), dtype=np.float32))
    distribution = kind(params.shape[1] // 3, bits)
    return distribution.sample(params.expand(1, -1, draws), noise**power, config)[0].numpy()


FAULTS = ["temperature", "skewed uniforms", "shifted mean"]


def draw_with_fault(kind, params, bits, fault):
    """Draw 40,000 codes, with a deliberate fault or None."""
    config = SamplingConfig(temperature=1.1 if fault == "temperature" else 1.0)
    if fault == "shifted mean":
        params = params + mixture([0, 0], [0.02, 0.02], [0, 0])
    power = 1.05 if fault == "skewed uniforms" else 1.0
    return draw(kind, params, bits, 40_000, config, power)


@both
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_frequencies_are_the_probabilities_and_a_fault_is_noticed(kind, fault):
    params = mixture([0.3, -0.4], [-0.9, 0.35], [-2.0, -1.2])
    codes = draw_with_fault(kind, params, 4, fault)
    expected = every_code(kind, params, 4).exp().numpy() * len(codes)
    assert expected.min() > 5
    p = scipy.stats.chisquare(np.bincount(codes, minlength=16), expected).pvalue
    assert p > 1e-3 if fault is None else p < 1e-6


@both
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_16_bit_draws_follow_the_cdf_of_scipy_and_a_fault_is_noticed(kind, fault):
    params = mixture([0.3, -0.4], [-0.3, 0.2], [-3.5, -2.8])
    codes = draw_with_fault(kind, params, 16, fault)
    inside = np.random.default_rng(6).random(len(codes)) - 0.5
    weights, means, scales = softmax([0.3, -0.4]), (-0.3, 0.2), np.exp((-3.5, -2.8))

    def cdf(x):
        parts = zip(weights, means, scales, strict=True)
        return sum(w * density(kind).cdf(x, mean, scale) for w, mean, scale in parts)

    p = scipy.stats.kstest(value(codes + inside, 16), cdf).pvalue
    assert p > 1e-3 if fault is None else p < 1e-6


@both
@pytest.mark.parametrize("temperature", [0.01, 0.5, 2.0, 100.0])
def test_temperature_divides_the_logits_and_multiplies_the_scales(kind, temperature, rng):
    params = random_params(rng, 3, 2_000, low=-6)
    by_hand = params.clone()
    by_hand[:, :3] /= temperature
    by_hand[:, 6:] += math.log(temperature)
    drawn = torch.from_numpy(rng.random((1, 2_000)))
    got = kind(3, 8).sample(params, drawn, SamplingConfig(temperature=temperature))
    expected = kind(3, 8).sample(by_hand, drawn, PLAIN)
    assert (got == expected).double().mean() > 0.999  # except for rounding at an edge
    assert (got != kind(3, 8).sample(params, drawn, PLAIN)).double().mean() > 0.05


@both
def test_temperature_acts_on_the_floored_scale(kind, rng):
    params = mixture([0], [0.1], [-50])
    drawn = torch.from_numpy(rng.random((1, 2_000)))
    distribution = kind(1)

    def spread(temperature):
        config = SamplingConfig(temperature=temperature)
        codes = distribution.sample(params.expand(1, -1, 2_000), drawn, config)
        return codes.double().std()

    assert spread(100.0) / spread(10.0) == pytest.approx(10, rel=0.02)
    assert spread(1e-3) < spread(1.0)


@both
def test_greedy_selects_the_mean_of_the_highest_peak(kind):
    narrow = mixture([0.0, 1.0], [-0.5, 0.5], [-6.0, -4.0])  # the narrow one has the lower weight
    broad = mixture([0.0, 3.0], [-0.5, 0.5], [-6.0, -4.0])  # log peaks 6 and 7
    floored = mixture([0.0, 1.0], [-0.5, 0.5], [-50.0, -11.5])  # both count as -11
    params = torch.cat([narrow, broad, floored], dim=2)
    for config in (
        SamplingConfig(greedy=True),
        SamplingConfig(greedy=True, temperature=50.0),
    ):
        for uniform in (0.0, LARGEST):
            codes = kind(2).sample(params, torch.full((1, 3), uniform), config)
            assert codes.tolist() == [[16384, 49151, 49151]]


@both
@pytest.mark.parametrize("bits", [1, 4, 8, 16])
def test_greedy_selects_the_code_nearest_to_the_mean(kind, bits):
    codes = torch.arange(2**bits)[None]
    off_centre = torch.tensor([-0.49, 0.0, 0.49])[:, None].double() * 2 / (2**bits - 1)
    means = torch.from_numpy(value(codes, bits)) + off_centre  # (3, T)
    params = torch.stack([torch.zeros_like(means), means, torch.full_like(means, -3)], dim=1)
    drawn = torch.full_like(means, 0.5)
    greedy = SamplingConfig(greedy=True)
    assert torch.equal(kind(1, bits).sample(params, drawn, greedy), codes.expand(3, -1))
    params[:, 1] += 0.1 / (2**bits - 1)  # negative control: +0.49 of a step leaves the bin
    moved = kind(1, bits).sample(params, drawn, greedy)
    assert torch.equal(moved[2, :-1], codes[0, 1:])


@both
def test_greedy_stays_within_the_codes(kind):
    means = [-1e3, -1.01, 1.01, 1e3]
    params = torch.tensor([[0.0] * 4, means, [-3.0] * 4])[None]
    codes = kind(1).sample(params, torch.full((1, 4), 0.5), SamplingConfig(greedy=True))
    assert codes.tolist() == [[0, 0, 65535, 65535]]


@both
def test_a_larger_uniform_never_draws_a_lower_code(kind, rng):
    ordered = torch.from_numpy(np.sort(rng.random((1, 3_000))))
    ordered[0, 0], ordered[0, -1] = 0, LARGEST
    for _ in range(10):
        params = random_params(rng, 4, 1).expand(1, -1, 3_000)
        codes = kind(4).sample(params, ordered, PLAIN)
        assert (codes.diff() >= 0).all()
        assert codes.min() >= 0
        assert codes.max() <= 65535
        assert len(codes.unique()) > 10  # negative control: they do change
        falling = kind(4).sample(params, ordered.flip(1), PLAIN)
        assert torch.equal(falling.flip(1), codes)


@both
def test_the_ends_of_the_uniform_draw_possible_codes(kind, rng):
    params = random_params(rng, 2, 200)
    for uniform, beyond in ((0.0, -1), (LARGEST, 1)):
        codes = kind(2, 10).sample(params.float(), torch.full((1, 200), uniform), PLAIN)
        assert ((codes >= 0) & (codes < 1024)).all()
        assert torch.isfinite(kind(2, 10).log_prob(params, codes)).all()
        further = (codes + beyond).clamp(0, 1023)  # at most half of 2**-24 lies further out
        outside = by_scipy(kind, params, further, 10)[further != codes]
        assert (outside <= HALF_CELL * (1 + 1e-6)).all()


@both
def test_a_uniform_of_zero_is_as_far_from_the_mean_as_the_largest(kind):
    params = mixture([0], [0.25], [-5]).expand(1, -1, 2)
    codes = kind(1).sample(params, torch.tensor([[0.0, LARGEST]]), PLAIN)
    scales = (value(codes, 16)[0] - 0.25) / math.exp(-5)
    furthest = density(kind).isf(HALF_CELL)  # 17.3 scales of logistics, 5.4 of Gaussians
    assert scales.tolist() == pytest.approx([-furthest, furthest], abs=0.005)  # a code is 0.0045


@both
@pytest.mark.parametrize("bits", [1, 4, 16])
def test_a_uniform_on_an_edge_draws_the_code_above(kind, bits):
    params = mixture([0], [0.0], [-1]).expand(1, -1, 2)  # half lies below 0, the middle edge
    drawn = torch.tensor([[0.5, 0.5 - 2.0**-50]], dtype=torch.float64)
    codes = kind(1, bits).sample(params, drawn - HALF_CELL, PLAIN)
    assert codes.tolist() == [[2 ** (bits - 1), 2 ** (bits - 1) - 1]]


@both
def test_each_sample_of_a_batch_is_drawn_and_scored_alone(kind, rng):
    params = random_params(rng, 3, 60)[0].reshape(9, 4, 15).transpose(0, 1)  # (4, 9, 15)
    drawn = torch.from_numpy(rng.random((4, 15)))
    distribution = kind(3)
    codes = distribution.sample(params, drawn, PLAIN)
    log_prob = distribution.log_prob(params, codes)
    for b, t in itertools.product(range(4), (0, 7, 14)):
        alone = params[b : b + 1, :, t : t + 1]
        one = distribution.sample(alone, drawn[b : b + 1, t : t + 1], PLAIN)
        assert one.item() == codes[b, t]
        torch.testing.assert_close(distribution.log_prob(alone, one)[0, 0], log_prob[b, t])
    assert len(codes.unique()) > 30


@both
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize(
    "settings", [{"top_k": 5}, {"top_p": 0.9}, {"top_p": 1.0}, {"guidance": 2.0}]
)
def test_top_k_top_p_and_guidance_are_refused(kind, greedy, settings):
    params, drawn = torch.zeros(1, 3, 2), torch.zeros(1, 2)
    sampling = SamplingConfig(greedy=greedy, **settings)
    for check in (kind(1).check, lambda config: kind(1).sample(params, drawn, config)):
        with pytest.raises(ConditionError, match=r"categorical output.* use temperature"):
            check(sampling)
        check(SamplingConfig(greedy=greedy))  # negative control


@both
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("config", [PLAIN, SamplingConfig(greedy=True)], ids=["draw", "greedy"])
def test_a_param_that_is_not_finite_never_yields_a_plausible_number(kind, bad, config):
    codes = torch.tensor([[0, 1, 40_000, 65_534, 65_535]])
    for row in range(6):
        params = mixture([0, 1], [-0.1, 0.2], [-2, -3]).float().repeat(1, 1, 5)
        clean = kind(2).log_prob(params, codes)
        for t in range(5):
            params[0, row, t] = bad
            here = torch.arange(5) == t
            got = kind(2).log_prob(params, codes)
            if math.isnan(bad):
                assert torch.equal(got[0].isnan(), here)
            assert torch.equal(got[0, ~here], clean[0, ~here])
            drawn = kind(2).sample(params, torch.full((1, 5), 0.3), config)
            assert torch.equal(drawn[0] == -1, here)
            params[0, row, t] = 0.1
            clean = kind(2).log_prob(params, codes)
