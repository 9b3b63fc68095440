"""Mixtures: log_prob and its gradients against scipy, 60 digits and finite differences."""

import itertools

import mpmath
import numpy as np
import pytest
import torch

from tests.model import PLAIN, both, by_scipy, codes_near, every_code, random_params, value
from wavenet.errors import ConfigError
from wavenet.model.mixtures import LOG_SCALE_FLOOR, GaussianMixture, LogisticMixture


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
    seen = torch.from_numpy(expected > 1e-290)  # further out the CDF is 0; see the next test
    assert seen.double().mean() > 0.5
    expected = torch.from_numpy(np.log(np.maximum(expected, 1e-300)))
    got = kind(components, bits).log_prob(params, codes)
    assert got.shape == codes.shape
    # the narrow bins of Gaussians are a series that leaves out 1e-6 nats
    atol = 1e-6 if kind is GaussianMixture else 1e-9
    torch.testing.assert_close(got[seen], expected[seen], atol=atol, rtol=1e-11)
    near = (codes + 1) % 2**bits  # the control: the code beside it has another probability
    other = kind(components, bits).log_prob(params, near)
    assert ((other - expected).abs()[seen] > 1e-3).double().mean() > 0.5


def in_60_digits(kind, params, code, bits):
    """Give the log of the mass of a bin under one component, and its gradients.

    They are to the mean, times the scale, and to the log scale. No end of the alphabet.
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
    """Make one component: 0 to 1e6 scales from its bin of 16 bits, 1e-8 to 1.8 scales wide.

    A third stands where the Gaussian changes from CDFs to a series.
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

    A model whose means start far off would never have moved.
    """
    params, codes = far_and_narrow(rng, 1_000)
    rows = zip(params[0].T.tolist(), codes[0].tolist(), strict=True)
    truth = torch.from_numpy(np.array([in_60_digits(kind, row, code, 16) for row, code in rows]))
    expected, slopes = truth[None, :, 0], truth.T[1:]
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

    moved = params + torch.tensor([0, 1e-6, 0])[:, None]  # the control: 1/30 of a bin
    moved_by = (kind(1).log_prob(moved, codes) - expected).abs()
    assert (moved_by > 4e-5 + 2e-6 * expected.abs()).double().mean() > 0.3


def in_plain_float32(kind, params, codes, bits):
    """Give the log-probability as first written down: in float32, a difference of two CDFs."""
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
    coarse = in_plain_float32(kind, params, codes, 16)  # the control
    assert (~((coarse - exact).abs() < bound)).double().mean() > 0.3


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
        assert abs(p[:-1].sum() - 1) > 100 * tolerance  # the control: the end of the alphabet


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
            if code == last // 2 and bits > 1:  # the control: these params are hard
                assert not torch.isfinite(in_plain_float32(kind, params, codes, bits)).all()


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
        if row >= 2:  # the control: another param has another gradient
            assert not torch.allclose(grad[:, row - 2], slope, atol=1e-3)


@both
def test_a_scale_below_the_floor_counts_as_the_floor_and_gets_no_gradient(kind, rng):
    params = random_params(rng, 1, 400, low=LOG_SCALE_FLOOR, high=LOG_SCALE_FLOOR)
    codes = codes_near(rng, params, 16)
    drawn = torch.from_numpy(rng.random((1, 400)))
    below, above = params.clone(), params.clone()
    below[:, 2], above[:, 2] = -50, LOG_SCALE_FLOOR + 0.1
    log_prob, grad = gradient(kind, below, codes, 16)
    assert torch.equal(log_prob, kind(1).log_prob(params, codes))
    assert torch.equal(kind(1).sample(below, drawn, PLAIN), kind(1).sample(params, drawn, PLAIN))
    assert (grad[0, 2] == 0).all()
    moved, grad = gradient(kind, above, codes, 16)  # the control: above it a scale counts
    assert ((moved - log_prob).abs() > 1e-3).double().mean() > 0.5
    assert (grad[0, 2] != 0).double().mean() > 0.5


@both
def test_a_mixture_of_equals_is_its_one_component_whose_logit_does_nothing(kind, rng):
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
    triple[:, 5] += 0.1  # the control: one mean differs
    assert not torch.allclose(kind(3).log_prob(triple, codes), expected, atol=1e-2)


@both
def test_sizes_are_counted_and_checked(kind):
    assert kind(10).n_params == 30
    assert kind(1).n_params == 3
    assert kind(1).bits == 16
    for components, bits in ((0, 16), (-1, 16), (1, 0), (1, 17)):
        with pytest.raises(ConfigError, match="found"):
            kind(components, bits)
