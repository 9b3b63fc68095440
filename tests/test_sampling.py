"""Drawing a code: the rules against hand-computed cases, the frequencies by chi-square."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from wavenet.errors import ConfigError
from wavenet.sampling import (
    SamplingConfig,
    draw_codes,
    inverse_cdf,
    probabilities,
    resolve_sampling,
)

LARGEST = 1 - 2.0**-24  # the largest float32 below 1
DRAWS = 100_000


def logs(*values):
    """Return logits whose softmax is these values."""
    return torch.tensor(values, dtype=torch.float64).log()


def peaked(n_classes, seed):
    """Return random logits; some codes are much likelier than others."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(2 * rng.standard_normal(n_classes))


def uniforms(seed):
    rng = np.random.default_rng([seed, 7])
    return torch.from_numpy(rng.random(DRAWS, dtype=np.float32))


def p_value(codes, p):
    """Test codes against probabilities; rare codes count as one."""
    counts = np.bincount(codes.numpy(), minlength=len(p)).astype(float)
    expected = p.numpy() * len(codes)
    common = expected >= 5
    if not common.all():
        counts = np.append(counts[common], counts[~common].sum())
        expected = np.append(expected[common], expected[~common].sum())
    if (counts[expected == 0] > 0).any():
        return 0.0
    counts, expected = counts[expected > 0], expected[expected > 0]
    return chisquare(counts, expected).pvalue


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(),
        SamplingConfig(temperature=0.3),
        SamplingConfig(temperature=1e-6),
        SamplingConfig(temperature=100.0),
        SamplingConfig(top_k=3),
        SamplingConfig(top_p=0.4),
        SamplingConfig(top_p=1e-9),
        SamplingConfig(temperature=1.7, top_k=9, top_p=0.8),
        SamplingConfig(greedy=True),
    ],
    ids=str,
)
def test_probabilities_sum_to_one(sampling):
    rng = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 7, 256, generator=rng) * 30
    p = probabilities(logits, sampling)
    assert p.dtype == torch.float64
    assert p.shape == logits.shape
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(-1), torch.ones(5, 7, dtype=torch.float64))


def test_greedy_selects_the_likeliest_code_and_the_first_of_equals():
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, 0.0, 2.0]])
    for uniform in (0.0, 0.5, LARGEST):
        codes = draw_codes(logits, torch.full((2,), uniform), SamplingConfig(greedy=True))
        assert codes.tolist() == [1, 0]


def test_temperature_divides_the_logits():
    p = probabilities(logs(0.8, 0.2), SamplingConfig(temperature=0.5))
    torch.testing.assert_close(p, torch.tensor([16 / 17, 1 / 17], dtype=torch.float64))
    flat = probabilities(logs(0.8, 0.2), SamplingConfig(temperature=100.0))
    torch.testing.assert_close(flat[0] / flat[1], torch.tensor(4**0.01, dtype=torch.float64))


def test_top_k_keeps_the_k_likeliest_codes():
    p = probabilities(logs(0.1, 0.4, 0.3, 0.2), SamplingConfig(top_k=2))
    torch.testing.assert_close(p, torch.tensor([0, 4 / 7, 3 / 7, 0], dtype=torch.float64))


def test_top_k_keeps_all_codes_that_tie_with_the_last_one_kept():
    logits = torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0])
    p = probabilities(logits, SamplingConfig(top_k=2))
    assert (p > 0).tolist() == [True, True, True, False, True]


@pytest.mark.parametrize("k", [4, 5, 1000])
def test_top_k_of_all_codes_changes_nothing(k):
    logits = logs(0.1, 0.4, 0.3, 0.2)
    assert torch.equal(
        probabilities(logits, SamplingConfig(top_k=k)), probabilities(logits, SamplingConfig())
    )


@pytest.mark.parametrize(
    ("p", "kept"), [(0.3, [1]), (0.51, [1, 2]), (0.74, [1, 2]), (0.76, [1, 2, 3]), (1.0, None)]
)
def test_top_p_keeps_codes_until_those_before_reach_p(p, kept):
    logits = logs(0.125, 0.5, 0.25, 0.125)
    if p == 0.76:
        kept = [0, 1, 2]  # of two equal probabilities, the lower code comes first
    found = probabilities(logits, SamplingConfig(top_p=p)).nonzero().flatten().tolist()
    assert found == ([0, 1, 2, 3] if kept is None else kept)


def test_a_code_that_begins_exactly_at_p_is_excluded():
    p = probabilities(torch.zeros(4), SamplingConfig(top_p=0.5))
    assert p.tolist() == [0.5, 0.5, 0.0, 0.0]


def test_top_k_comes_before_top_p():
    # of the two codes that top-k keeps, the first alone has 0.5 / 0.8 > 0.6 of the mass
    p = probabilities(logs(0.5, 0.3, 0.2), SamplingConfig(top_k=2, top_p=0.6))
    assert p.tolist() == [1.0, 0.0, 0.0]
    assert probabilities(logs(0.5, 0.3, 0.2), SamplingConfig(top_p=0.6)).count_nonzero() == 2


def test_temperature_comes_before_top_p():
    sampling = SamplingConfig(temperature=0.25, top_p=0.8)
    assert probabilities(logs(0.5, 0.3, 0.2), sampling).tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("uniform", [0.0, 0.5, LARGEST])
def test_a_code_of_probability_zero_is_never_drawn(dtype, uniform):
    rng = np.random.default_rng(3)
    p = torch.from_numpy(rng.random((2_000, 12))).to(dtype)
    p[torch.from_numpy(rng.random((2_000, 12)) < 0.6)] = 0
    p[:, 5] += 0.1
    p[:1_000, 6:] = 0  # nothing at the end
    p[1_000:, :5] = 0  # nothing at the beginning
    p = p / p.sum(-1, keepdim=True)
    codes = inverse_cdf(p, torch.full((2_000,), uniform))
    assert (p.gather(1, codes[:, None]) > 0).all()


@pytest.mark.parametrize("uniform", [0.0, LARGEST])
@pytest.mark.parametrize(
    "sampling", [SamplingConfig(top_k=1), SamplingConfig(top_k=4), SamplingConfig(top_p=0.3)]
)
def test_an_excluded_code_is_never_drawn(sampling, uniform):
    logits = torch.stack([peaked(32, seed) for seed in range(200)])
    allowed = probabilities(logits, sampling) > 0
    codes = draw_codes(logits, torch.full((200,), uniform), sampling)
    assert allowed.gather(1, codes[:, None]).all()
    outermost = allowed.int().argmax(1) if uniform == 0 else 31 - allowed.flip(1).int().argmax(1)
    assert torch.equal(codes, outermost)


def test_the_ends_of_the_uniform_reach_the_first_and_the_last_code():
    codes = draw_codes(torch.zeros(2, 256), torch.tensor([0.0, LARGEST]), SamplingConfig())
    assert codes.tolist() == [0, 255]


def test_a_uniform_on_an_edge_of_the_cdf_draws_the_code_above():
    p = torch.full((4, 4), 0.25)
    assert inverse_cdf(p, torch.tensor([0.0, 0.25, 0.5, 0.75])).tolist() == [0, 1, 2, 3]


def test_a_rounded_sum_of_probabilities_does_not_change_the_draws():
    p = probabilities(peaked(32, 0), SamplingConfig())
    drawn = torch.linspace(0, LARGEST, 500)
    whole = inverse_cdf(p.expand(500, -1), drawn)
    for scale in (0.5, 2.0):  # much more than rounding, and exact factors
        assert torch.equal(inverse_cdf((p * scale).expand(500, -1), drawn), whole)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(
    "sampling",
    [SamplingConfig(), SamplingConfig(temperature=0.7, top_k=12), SamplingConfig(top_p=0.9)],
    ids=["plain", "top_k", "top_p"],
)
def test_draws_have_the_frequencies_of_the_probabilities(sampling, seed):
    logits = peaked(24, seed)
    codes = draw_codes(logits.expand(DRAWS, -1), uniforms(seed), sampling)
    assert p_value(codes, probabilities(logits, sampling)) > 1e-4


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("error", ["temperature", "last code lost", "shifted"])
def test_the_test_of_frequencies_detects_an_error(error, seed):
    logits = peaked(24, seed)
    logits[-1] = logits.mean()  # likely enough, so that its loss is detected
    wrong = logits.clone()
    if error == "last code lost":
        wrong[-1] = -torch.inf
    sampling = SamplingConfig(temperature=1.05 if error == "temperature" else 1.0)
    codes = draw_codes(wrong.expand(DRAWS, -1), uniforms(seed), sampling)
    if error == "shifted":
        codes = (codes + 1) % 24
    assert p_value(codes, probabilities(logits, SamplingConfig())) < 1e-6


weights = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=40).filter(
    lambda values: sum(values) > 1e-3
)


@given(weights, st.lists(st.floats(0, LARGEST, width=32), min_size=2, max_size=20))
def test_a_larger_uniform_never_draws_a_lower_code(values, drawn):
    p = torch.tensor(values, dtype=torch.float64)
    p = p / p.sum()
    ordered = torch.tensor(sorted(drawn))
    codes = inverse_cdf(p.expand(len(drawn), -1), ordered)
    assert (codes.diff() >= 0).all()
    assert (p[codes] > 0).all()


@given(weights, st.floats(0, LARGEST, width=32))
def test_the_code_drawn_is_the_first_whose_cumulative_probability_exceeds_the_uniform(values, u):
    p = torch.tensor(values, dtype=torch.float64)
    code = int(inverse_cdf(p / p.sum(), torch.tensor(u)))
    below, included = float(p[:code].sum()), float(p[: code + 1].sum())
    total = float(p.sum())
    assert below <= u * total * (1 + 1e-9) + 1e-12
    assert included >= u * total * (1 - 1e-9) - 1e-12


def test_settings_of_a_caller_replace_the_defaults_one_by_one():
    defaults = SamplingConfig(temperature=0.8, guidance=1.5)
    assert resolve_sampling(defaults, temperature=None, top_k=None) == defaults
    found = resolve_sampling(defaults, temperature=1.2, top_k=5, guidance=None)
    assert found == SamplingConfig(temperature=1.2, top_k=5, guidance=1.5)
    with pytest.raises(ConfigError, match=r"top_k: .*found 0"):
        resolve_sampling(defaults, top_k=0)
