"""The excess of every sample: its surprise minus the surprise that the model itself expects.

A noisy sound needs many bits per sample, and the model knows that: it expects the entropy of its
prediction. Only surprise beyond that shows that something is wrong. For a sound that the model
describes well, the mean excess is 0.

Input: a checkpoint, a waveform and condition values. Output: bits per sample. Called by `events`
and `calibration`.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.devices import device_errors
from wavenet.likelihood.score import compute_surprise, predict_recording
from wavenet.model.conditioning import ConditionValue
from wavenet.model.distributions import Categorical, Distribution
from wavenet.model.mixtures import LOG_SCALE_FLOOR, LogisticMixture

LOGISTIC_ENTROPY = 2.0  # nats, of the logistic of scale 1
GAUSSIAN_ENTROPY = 0.5 * math.log(2 * math.pi * math.e)  # nats, of the Gaussian of deviation 1


def compute_excess(
    checkpoint: Checkpoint,
    waveform: Tensor,
    conditions: Mapping[str, ConditionValue] | None = None,
) -> Tensor:
    """Return the excess of every sample of a recording, (T,) float32 bits.

    Args:
        checkpoint: a loaded model.
        waveform: (T,) float32 in [-1, 1], at the model's rate.
        conditions: the condition values by name.
    Raises:
        ConditionError: as in `likelihood.score.score`.
    """
    return torch.cat(list(excess_windows(checkpoint, waveform, conditions)))


@torch.no_grad()
def excess_windows(
    checkpoint: Checkpoint,
    waveform: Tensor,
    conditions: Mapping[str, ConditionValue] | None = None,
    window: int | None = None,
) -> Iterator[Tensor]:
    """Yield the excess of a recording window by window; arguments and errors of `compute_excess`.

    Args:
        window: samples predicted at a time; None: that of `likelihood.score`.
    Yields:
        (n,) float32, the excess of the next samples in bits.
    """
    rows = [conditions or {}]
    for params, codes in predict_recording(checkpoint, waveform, rows, window=window):
        surprise = compute_surprise(checkpoint, params, codes)[0]
        with device_errors():
            expected = expected_nats(checkpoint.model.distribution, params)[0].float().cpu()
        yield surprise - expected / math.log(2)


def expected_nats(distribution: Distribution, params: Tensor) -> Tensor:
    """Return the surprise that a prediction expects: its entropy in nats.

    The entropy of a mixture has no closed form; the result is its upper bound: the mean entropy of
    the components plus the entropy of their weights.

    Args:
        distribution: of the model.
        params: (B, P, T).
    Returns:
        (B, T), 0 or above.
    Source: Cover and Thomas 2006, sections 2.1 and 8.1 (the entropy of quantised values).
    """
    if isinstance(distribution, Categorical):
        return _entropy(params)
    kind = torch.promote_types(params.dtype, torch.float32)
    logits, _, log_scales = params.to(kind).split(distribution.components, dim=1)
    is_logistic = isinstance(distribution, LogisticMixture)
    of_shape = LOGISTIC_ENTROPY if is_logistic else GAUSSIAN_ENTROPY
    log_bin = math.log(2 / (2**distribution.bits - 1))
    of_components = log_scales.clamp(min=LOG_SCALE_FLOOR) + of_shape - log_bin
    mean = (logits.softmax(1) * of_components.clamp(min=0)).sum(1)
    entropy: Tensor = mean + _entropy(logits)
    return entropy


def _entropy(logits: Tensor) -> Tensor:
    """Return the entropy (B, T) in nats of the softmax of logits (B, P, T)."""
    log_probabilities = logits.log_softmax(1)
    return -(log_probabilities.exp() * log_probabilities).sum(1).clamp(max=0)
