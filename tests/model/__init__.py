"""Params, codes and scipy's probabilities that the tests of mixtures share."""

import numpy as np
import pytest
import scipy.stats
import torch
from scipy.special import softmax

from wavenet.model.mixtures import LOG_SCALE_FLOOR, GaussianMixture, LogisticMixture
from wavenet.sampling import SamplingConfig

LARGEST = 1 - 2.0**-24  # the largest float32 below 1
PLAIN = SamplingConfig()
both = pytest.mark.parametrize("kind", [LogisticMixture, GaussianMixture])


def density(kind):
    return scipy.stats.logistic if kind is LogisticMixture else scipy.stats.norm


def value(codes, bits):
    return 2 * np.asarray(codes, dtype=np.float64) / (2**bits - 1) - 1


def random_params(rng, components, samples, low=-12.0, high=0.5, spread=1.2):
    """Make (1, P, T) float64 that float32 holds exactly; some scales lie below the floor."""
    shape = (components, samples)
    parts = [2 * rng.standard_normal(shape), rng.uniform(-spread, spread, shape)]
    parts.append(rng.uniform(low, high, shape))
    return torch.from_numpy(np.concatenate(parts)).float().double()[None]


def codes_near(rng, params, bits):
    """Choose codes within some scales of a component, and both ends."""
    _, means, log_scales = params[0].numpy().reshape(3, -1, params.shape[2])
    pick = (rng.integers(0, len(means), means.shape[1]), np.arange(means.shape[1]))
    x = means[pick] + 6 * np.exp(log_scales[pick]) * rng.standard_normal(means.shape[1])
    codes = np.clip(np.round((x + 1) / 2 * (2**bits - 1)), 0, 2**bits - 1).astype(np.int64)
    codes[::50], codes[1::50] = 0, 2**bits - 1
    return torch.from_numpy(codes)[None]


def by_scipy(kind, params, codes, bits):
    """Give probabilities (B, T) as differences of scipy's CDF, or of 1 - CDF right of the mean."""
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
    """Give the log-probabilities of all codes under params (1, P, 1)."""
    codes = torch.arange(2**bits)[None]
    return kind(params.shape[1] // 3, bits).log_prob(params.expand(1, -1, 2**bits), codes)[0]


def mixture(*rows):
    return torch.tensor(rows, dtype=torch.float64).flatten()[None, :, None]
