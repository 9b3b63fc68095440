"""Draws of mixtures: against sums of scipy's probabilities, and frequencies with controls."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import softmax

from tests.model import (
    LARGEST,
    PLAIN,
    both,
    by_scipy,
    density,
    every_code,
    mixture,
    random_params,
    value,
)
from wavenet import sampling
from wavenet.errors import ConditionError
from wavenet.model.mixtures import HALF_CELL
from wavenet.sampling import SamplingConfig


def summed(kind, params, drawn, bits):
    """Draw by summing scipy's probabilities; also say which uniforms lie on no edge."""
    samples = drawn.shape[1]
    p = np.stack(
        [by_scipy(kind, params, torch.full((1, samples), c), bits)[0] for c in range(2**bits)], -1
    )
    codes = sampling.inverse_cdf(torch.from_numpy(p), drawn[0])
    clear = (np.abs(p.cumsum(-1) - drawn[0].numpy()[:, None]) > 1e-12).all(-1)
    return codes[None], torch.from_numpy(clear)[None]


@both
@pytest.mark.parametrize("bits", [1, 4, 6, 8])
def test_a_draw_is_the_first_code_whose_summed_probability_exceeds_the_uniform(kind, bits, rng):
    params = random_params(rng, 3, 2_000)
    drawn = torch.from_numpy(rng.random((1, 2_000)))
    drawn[0, :100], drawn[0, 100:200] = 0, LARGEST
    got = kind(3, bits).sample(params, drawn, PLAIN)
    expected, clear = summed(kind, params, drawn + HALF_CELL, bits)
    assert got.dtype == torch.int64
    assert clear.double().mean() > 0.9
    assert torch.equal(got[clear], expected[clear])
    if bits > 1:
        assert {0, 2**bits - 1} <= set(got.flatten().tolist())
    wrong = kind(3, bits).sample(params, drawn * 0.98, PLAIN)  # the control
    assert (wrong != got).sum() > 10


def draw(kind, params, bits, draws, config=PLAIN, power=1.0):
    """Draw from one set of params (1, P, 1) many times."""
    noise = torch.from_numpy(np.random.default_rng(5).random((1, draws), dtype=np.float32))
    distribution = kind(params.shape[1] // 3, bits)
    return distribution.sample(params.expand(1, -1, draws), noise**power, config)[0].numpy()


FAULTS = ["temperature", "skewed uniforms", "shifted mean"]


def with_fault(kind, params, bits, fault):
    """Draw 40,000 codes, with a fault or with None."""
    config = SamplingConfig(temperature=1.1 if fault == "temperature" else 1.0)
    if fault == "shifted mean":
        params = params + mixture([0, 0], [0.02, 0.02], [0, 0])
    power = 1.05 if fault == "skewed uniforms" else 1.0
    return draw(kind, params, bits, 40_000, config, power)


@both
@pytest.mark.parametrize("check", [None, *FAULTS])
def test_frequencies_are_the_probabilities_and_a_fault_is_noticed(kind, fault):
    params = mixture([0.3, -0.4], [-0.9, 0.35], [-2.0, -1.2])
    codes = with_fault(kind, params, 4, fault)
    expected = every_code(kind, params, 4).exp().numpy() * len(codes)
    assert expected.min() > 5
    p = scipy.stats.chisquare(np.bincount(codes, minlength=16), expected).pvalue
    assert p > 1e-3 if fault is None else p < 1e-6


@both
@pytest.mark.parametrize("check", [None, *FAULTS])
def test_16_bit_draws_follow_the_cdf_of_scipy_and_a_fault_is_noticed(kind, fault):
    params = mixture([0.3, -0.4], [-0.3, 0.2], [-3.5, -2.8])
    codes = with_fault(kind, params, 16, fault)
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
    assert (got == expected).double().mean() > 0.999  # but for rounding at an edge
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
def test_greedy_takes_the_mean_of_the_highest_peak(kind):
    narrow = mixture([0.0, 1.0], [-0.5, 0.5], [-6.0, -4.0])  # the lighter one is the sharper
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
def test_greedy_takes_the_code_nearest_to_the_mean(kind, bits):
    codes = torch.arange(2**bits)[None]
    off_centre = torch.tensor([-0.49, 0.0, 0.49])[:, None].double() * 2 / (2**bits - 1)
    means = torch.from_numpy(value(codes, bits)) + off_centre  # (3, T)
    params = torch.stack([torch.zeros_like(means), means, torch.full_like(means, -3)], dim=1)
    drawn = torch.full_like(means, 0.5)
    greedy = SamplingConfig(greedy=True)
    assert torch.equal(kind(1, bits).sample(params, drawn, greedy), codes.expand(3, -1))
    params[:, 1] += 0.1 / (2**bits - 1)  # the control: +0.49 of a step leaves the bin
    moved = kind(1, bits).sample(params, drawn, greedy)
    assert torch.equal(moved[2, :-1], codes[0, 1:])


@both
def test_greedy_keeps_to_the_alphabet(kind):
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
        assert len(codes.unique()) > 10  # the control: they do move
        falling = kind(4).sample(params, ordered.flip(1), PLAIN)
        assert torch.equal(falling.flip(1), codes)


@both
def test_the_ends_of_the_uniform_draw_codes_that_can_be_drawn(kind, rng):
    params = random_params(rng, 2, 200)
    for uniform, beyond in ((0.0, -1), (LARGEST, 1)):
        codes = kind(2, 10).sample(params.float(), torch.full((1, 200), uniform), PLAIN)
        assert ((codes >= 0) & (codes < 1024)).all()
        assert torch.isfinite(kind(2, 10).log_prob(params, codes)).all()
        further = (codes + beyond).clamp(0, 1023)  # half of 2**-24 and no more is further out
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
def test_a_uniform_on_an_edge_belongs_to_the_code_above(kind, bits):
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
        assert one.index() == codes[b, t]
        torch.testing.assert_close(distribution.log_prob(alone, one)[0, 0], log_prob[b, t])
    assert len(codes.unique()) > 30


@both
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("given", [{"top_k": 5}, {"top_p": 0.9}, {"top_p": 1.0}])
def test_top_k_and_top_p_are_refused(kind, greedy, given):
    params, drawn = torch.zeros(1, 3, 2), torch.zeros(1, 2)
    with pytest.raises(ConditionError, match=r"categorical outputs .* use temperature"):
        kind(1).sample(params, drawn, SamplingConfig(greedy=greedy, **given))
    kind(1).sample(params, drawn, SamplingConfig(greedy=greedy))  # the control


@both
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("config", [PLAIN, SamplingConfig(greedy=True)], ids=["draw", "greedy"])
def test_a_param_that_is_not_finite_is_never_a_plausible_number(kind, bad, config):
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
