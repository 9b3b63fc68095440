"""Output distributions for 16-bit samples: a mixture of logistics, or of Gaussians, cut into bins.

Input: `params` (B, P, T). Output: log-probabilities (B, T) or drawn codes (B, T). The interface is
that of `distributions.Categorical`; P depends on the components, not on n_classes. Called by
`distributions`.

Units: code c of 0 .. 2**bits - 1 has the value 2 c / (2**bits - 1) - 1 in [-1, 1]. Its bin extends
half a step to each side; the lowest and the highest bin include the whole tails. Means and scales
are in the unit of the values. A mean may have any value.

params along P, with M components: M logits of the weights, M means, M natural logs of the scales.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from wavenet.errors import ConditionError, ConfigError
from wavenet.sampling import SamplingConfig

# Lower bound of the natural log of a scale. exp(-11) = 1.67e-5 is 0.55 of a bin of 16
# bits: a narrower component would assign all probability to one bin, and a miss by a few bins would
# cost thousands of nats. A scale below the floor has no gradient.
LOG_SCALE_FLOOR = -11.0

MAX_BITS = 16

# Uniforms are multiples of 2**-24. Each stands for the cell of this width above it, and is moved to
# the middle of the cell. Otherwise a uniform of 0, one in 2**24, would draw the lowest code even if
# it is very unlikely: an audible click.
HALF_CELL = 2.0**-25

# In units of the scale, let w be the width of a bin and m its middle. The bin of a Gaussian is
# narrow if w < NARROW and |m| w < NARROW_TILT. For a narrow bin, density x width with two terms of
# a series is exact to 1e-6 nats. For other bins the difference of two CDFs is used; in float32 its
# error is at most 3e-5 nats or 1e-6 of the result, whichever is larger.
NARROW = 0.05
NARROW_TILT = 0.5


@dataclass(frozen=True)
class Family:
    """The functions of the logistic or the Gaussian of mean 0 and scale 1; both are symmetric."""

    cdf: Callable[[Tensor], Tensor]
    log_cdf: Callable[[Tensor], Tensor]
    log_bin: Callable[[Tensor, Tensor, Tensor], Tensor]  # upper edge, lower edge, log of width


class LogisticMixture:
    """A discretised mixture of logistics.

    The probability of code c is the sum over components of weight x (σ(upper) - σ(lower)), where
    upper and lower are the edges of its bin, measured from the mean in scales; weights are the
    softmax of the logits. The difference is not computed directly, to avoid cancellation: its log
    is log σ(upper) + log σ(-lower) + log(1 - e^-width).

    Args:
        components: 1 or more; with 1 the logit has no effect.
        bits: 1 to 16.
    Raises:
        ConfigError: components or bits out of range.
    Source: Salimans et al. 2017 (PixelCNN++), section 2.1; for 16-bit audio van den Oord et al.
        2017 (Parallel WaveNet), section 2.1.
    """

    def __init__(self, components: int, bits: int = 16):
        self.n_params = _count_params(components, bits)
        self.components = components
        self.bits = bits

    def log_prob(self, params: Tensor, codes: Tensor) -> Tensor:
        """Compute the log-probability, in nats, of each code.

        Args:
            params: (B, P, T): logits; means, -1e6 to 1e6; log scales, up to 60.
            codes: (B, T) int64, 0 to 2**bits - 1 (not checked).
        Returns:
            (B, T), float32 or the wider type of params; NaN where a param is NaN. Zero or below,
            apart from rounding: the error in float32 is below 3e-5 nats plus 2e-6 of the result.
        """
        return _log_prob(params, codes, self.components, self.bits, LOGISTIC)

    def check(self, config: SamplingConfig) -> None:
        """Check that this distribution supports the settings.

        Raises:
            ConditionError: top_k, top_p or guidance is given.
        """
        _check(config)

    def sample(self, params: Tensor, uniforms: Tensor, config: SamplingConfig) -> Tensor:
        """Draw codes: the first whose cumulative probability exceeds uniform + 2**-25, in float64.

        Temperature divides the logits and multiplies the scales. Greedy sampling returns the code
        at the mean of the component with the highest peak, weight / scale, at any temperature.

        Args:
            params: (B, P, T), as in `log_prob`; uniforms: (B, T), multiples of 2**-24 in [0, 1).
            config: temperature, greedy.
        Returns:
            (B, T) int64, 0 to 2**bits - 1; -1, which is not a code, if a param is not finite.
        Raises:
            ConditionError: top_k, top_p or guidance is given.
        """
        return _sample(params, uniforms, config, self.components, self.bits, LOGISTIC)


class GaussianMixture:
    """A discretised mixture of Gaussians; as `LogisticMixture`, with standard deviations as scales.

    Components = 1 is the single Gaussian, P = 3 in the same layout; its logit has no effect.

    Args:
        components: 1 or more.
        bits: 1 to 16.
    Raises:
        ConfigError: components or bits out of range.
    Source: Ping et al. 2019 (ClariNet), section 3.1, for one density; the bins by differences of
        the CDF are those of Salimans et al. 2017, section 2.1.
    """

    def __init__(self, components: int, bits: int = 16):
        self.n_params = _count_params(components, bits)
        self.components = components
        self.bits = bits

    def log_prob(self, params: Tensor, codes: Tensor) -> Tensor:
        """Compute the log-probability, in nats, of each code; as `LogisticMixture.log_prob`."""
        return _log_prob(params, codes, self.components, self.bits, GAUSSIAN)

    def check(self, config: SamplingConfig) -> None:
        """Check that this distribution supports the settings.

        Raises:
            ConditionError: top_k, top_p or guidance is given.
        """
        _check(config)

    def sample(self, params: Tensor, uniforms: Tensor, config: SamplingConfig) -> Tensor:
        """Draw codes (B, T) by the inverse CDF; as `LogisticMixture.sample`."""
        return _sample(params, uniforms, config, self.components, self.bits, GAUSSIAN)


def _check(sampling: SamplingConfig) -> None:
    if sampling.top_k is not None or sampling.top_p is not None or sampling.guidance != 1:
        raise ConditionError(
            "top-k, top-p and guidance need a categorical output, and this model has a mixture; "
            "omit them and use temperature"
        )


def _count_params(components: int, bits: int) -> int:
    if components < 1:
        raise ConfigError(f"a mixture needs 1 component or more, found {components}")
    if not 1 <= bits <= MAX_BITS:
        raise ConfigError(f"the bits of a mixture must lie in 1 to {MAX_BITS}, found {bits}")
    return 3 * components


def _split(params: Tensor, components: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits, means and floored log scales, each (B, M, T)."""
    assert params.shape[1] == 3 * components
    logits, means, log_scales = params.split(components, dim=1)
    return logits, means, log_scales.clamp(min=LOG_SCALE_FLOOR)


def _upper_edges(codes: Tensor, bits: int) -> Tensor:
    """Return the upper edges of the bins of codes, float64; bin code - 1 ends where it begins."""
    return (2 * codes.to(torch.float64) + 1) / (2**bits - 1) - 1


def _log_prob(params: Tensor, codes: Tensor, components: int, bits: int, family: Family) -> Tensor:
    kind = torch.promote_types(params.dtype, torch.float32)
    logits, means, log_scales = _split(params.to(kind), components)
    codes = codes[:, None]  # (B, 1, T)
    # In float32 the distance of a bin from a mean of 1 would have 8 bits left; hence float64.
    centres, per_scale = means.to(torch.float64), (-log_scales).exp()
    upper = (_upper_edges(codes, bits) - centres).to(kind) * per_scale  # (B, M, T)
    lower = (_upper_edges(codes - 1, bits) - centres).to(kind) * per_scale
    log_width = math.log(2 / (2**bits - 1)) - log_scales
    log_mass = torch.where(
        codes == 0,
        family.log_cdf(upper),
        torch.where(
            codes == 2**bits - 1,
            family.log_cdf(-lower),
            family.log_bin(upper, lower, log_width),
        ),
    )
    return torch.logsumexp(torch.log_softmax(logits, dim=1) + log_mass, dim=1)


def _log_bin_logistic(upper: Tensor, lower: Tensor, log_width: Tensor) -> Tensor:
    return logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(-log_width.exp()))


def _log_cdf_gaussian(x: Tensor) -> Tensor:
    """Compute log Φ; the gradient of torch.special.log_ndtr is wrong in float32 below -30."""
    left, right = x.clamp(max=0), x.clamp(min=0)
    return torch.where(
        x < 0,
        torch.log(torch.special.erfcx(left * -math.sqrt(0.5)) / 2) - left.square() / 2,
        torch.log1p(torch.erfc(right * math.sqrt(0.5)) / -2),
    )


def _log_bin_gaussian(upper: Tensor, lower: Tensor, log_width: Tensor) -> Tensor:
    """Compute log(Φ(upper) - Φ(lower)): from both CDFs, or for a narrow bin from a series."""
    # Mirror the bin to the left of the mean, where Φ is not near 1.
    upper, lower = torch.minimum(upper, -lower), torch.minimum(lower, -upper)
    middle, width = (upper + lower) / 2, log_width.exp()
    tilt = -middle * width
    tilt_squared = tilt.clamp(max=NARROW_TILT).square()
    narrow = (
        log_width
        - (middle.square() + math.log(2 * math.pi)) / 2
        + (tilt_squared - width.square()) / 24
        - tilt_squared.square() / 2880
    )
    # The gap of a bin that is not narrow is 0.039 or more. The clamp keeps gradients finite for
    # narrow bins, and for bins beyond 1e5 scales, whose gap may be rounded to 0. The latter have
    # billions of nats, and the clamp changes these by at most 3.7 nats.
    above = _log_cdf_gaussian(upper)
    gap = (above - _log_cdf_gaussian(lower)).clamp(min=NARROW / 2)
    wide = above + torch.log(-torch.expm1(-gap))
    return torch.where((width < NARROW) & (tilt < NARROW_TILT), narrow, wide)


def _cdf_gaussian(x: Tensor) -> Tensor:
    """Compute Φ; torch.special.ndtr is 0 below -8.3, where erfc is not."""
    return torch.erfc(x * -math.sqrt(0.5)) / 2


LOGISTIC = Family(torch.sigmoid, logsigmoid, _log_bin_logistic)
GAUSSIAN = Family(_cdf_gaussian, _log_cdf_gaussian, _log_bin_gaussian)


def _sample(
    params: Tensor,
    uniforms: Tensor,
    sampling: SamplingConfig,
    components: int,
    bits: int,
    family: Family,
) -> Tensor:
    _check(sampling)
    logits, means, log_scales = _split(params.to(torch.float64), components)
    if sampling.greedy:
        codes = _highest_peak(logits, means, log_scales, bits)
    else:
        weights = (logits / sampling.temperature).softmax(dim=1)
        scales = log_scales.exp() * sampling.temperature
        codes = _inverse_cdf(weights, means, scales, uniforms, bits, family)
    return codes.masked_fill(~params.isfinite().all(dim=1), -1)


def _highest_peak(logits: Tensor, means: Tensor, log_scales: Tensor, bits: int) -> Tensor:
    """Return the code (B, T) at the mean of the component of the largest weight / scale."""
    best = (logits - log_scales).argmax(dim=1, keepdim=True)
    mean = means.gather(1, best).squeeze(1).clamp(-1, 1)
    # An edge belongs to the bin above; the upper end belongs to the last bin.
    return ((mean + 1) / 2 * (2**bits - 1) + 0.5).to(torch.int64)


def _inverse_cdf(
    weights: Tensor,
    means: Tensor,
    scales: Tensor,
    uniforms: Tensor,
    bits: int,
    family: Family,
) -> Tensor:
    """Find, by bisection, the first code (B, T) whose cumulative probability exceeds the level."""
    levels = uniforms.to(torch.float64) + HALF_CELL
    low = torch.zeros_like(levels, dtype=torch.int64)
    high = torch.full_like(low, 2**bits - 1)
    # The last code is never tested; it contains the upper tail.
    for _ in range(bits):
        middle = (low + high) // 2
        edges = _upper_edges(middle, bits)[:, None]  # (B, 1, T)
        cumulative = (weights * family.cdf((edges - means) / scales)).sum(dim=1)
        exceeds = cumulative > levels
        high = torch.where(exceeds, middle, high)
        low = torch.where(exceeds, low, middle + 1)
    return low
