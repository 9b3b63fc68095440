"""The excess: entropies by hand, a mean of 0 for exact predictions, equal windows."""

import math

import pytest
import torch

from tests.conftest import tiny_config
from tests.detection.conftest import even_noise
from wavenet.detection.surprise_excess import compute_excess, excess_windows, expected_nats
from wavenet.generation.generate import generate_waveforms
from wavenet.generation.request import GenerationRequest
from wavenet.model.distributions import Categorical
from wavenet.model.mixtures import GaussianMixture, LogisticMixture


def test_the_expected_surprise_of_a_categorical_is_its_entropy():
    probabilities = torch.tensor([0.5, 0.25, 0.125, 0.125])
    params = (7 + probabilities.log())[None, :, None]  # a constant changes no probability
    expected = expected_nats(Categorical(4), params)
    assert expected.shape == (1, 1)
    assert expected.item() == pytest.approx(1.75 * math.log(2), rel=1e-6)


@pytest.mark.parametrize("kind", [LogisticMixture, GaussianMixture])
def test_the_expected_surprise_of_one_component_is_the_sum_over_all_codes(kind):
    distribution = kind(1, bits=10)
    params = torch.tensor([0.3, 0.1, -3.0])[None, :, None]
    codes = torch.arange(1024)[None]
    log_probabilities = distribution.log_prob(params.expand(-1, -1, 1024), codes)
    entropy = -(log_probabilities.exp() * log_probabilities).sum()
    assert expected_nats(distribution, params).item() == pytest.approx(float(entropy), abs=0.01)


def test_the_expected_surprise_of_a_mixture_is_an_upper_bound():
    distribution = LogisticMixture(2, bits=8)
    params = torch.tensor([0.0, 0.0, -0.1, 0.1, -3.0, -2.0])[None, :, None]
    codes = torch.arange(256)[None]
    log_probabilities = distribution.log_prob(params.expand(-1, -1, 256), codes)
    entropy = float(-(log_probabilities.exp() * log_probabilities).sum())
    bound = expected_nats(distribution, params).item()
    assert entropy < bound < entropy + math.log(2)


def test_a_narrow_component_expects_no_negative_surprise():
    params = torch.tensor([0.0, 0.0, -20.0])[None, :, None]
    assert expected_nats(GaussianMixture(1), params).item() >= 0


def test_the_mean_excess_of_what_the_model_generates_is_0(make_checkpoint):
    """The deviation of the mean is below 0.05 bits: chance of a false failure below 1e-6."""
    loaded = make_checkpoint(tiny_config(conditions="label"))
    request = GenerationRequest(2000, {"digit": "a"}, seed=1)
    (waveform,) = generate_waveforms(loaded, [request], engine="cached")
    excess = compute_excess(loaded, waveform, {"digit": "a"})
    assert (excess.dtype, excess.shape) == (torch.float32, (2000,))
    assert float(excess.std()) / 2000**0.5 < 0.05
    assert abs(float(excess.mean())) < 0.25
    other = compute_excess(loaded, even_noise(0.5, seed=3), {"digit": "a"})
    assert float(other.mean()) > 0.3, "control: of other sound it is not"


def test_windows_join_to_the_whole(make_checkpoint):
    loaded = make_checkpoint(tiny_config(conditions="label"))
    waveform = even_noise(0.1, seed=2)
    whole = compute_excess(loaded, waveform, {"digit": "a"})
    parts = list(excess_windows(loaded, waveform, {"digit": "a"}, window=100))
    assert [len(part) for part in parts] == [100] * 8
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-4, rtol=0)
