"""The output distribution: what the last layer's numbers mean.

`params` (B, P, T) enter; log-probabilities (B, T) or drawn codes (B, T) leave.
"""

import torch
from torch import Tensor

from wavenet import sampling
from wavenet.config import GaussianOutput, LogisticOutput, Output, SamplingConfig
from wavenet.model.mixtures import GaussianMixture, LogisticMixture


class Categorical:
    """One logit per class of the alphabet."""

    def __init__(self, n_classes: int):
        self.n_params = n_classes

    def log_prob(self, params: Tensor, codes: Tensor) -> Tensor:
        """Give the log-probability, in nats, of each code.

        Args:
            params: (B, P, T) logits; codes: (B, T) int64.
        Returns:
            (B, T), zero or below.
        """
        chosen = params.gather(1, codes[:, None]).squeeze(1)
        return chosen - torch.logsumexp(params, dim=1)

    def check(self, config: SamplingConfig) -> None:
        """Take any settings: classes can be drawn in every way."""

    def sample(self, params: Tensor, uniforms: Tensor, config: SamplingConfig) -> Tensor:
        """Draw codes (B, T) from params (B, P, T) and uniforms (B, T) in [0, 1)."""
        return sampling.draw(params.transpose(1, 2), uniforms, config)


Distribution = Categorical | LogisticMixture | GaussianMixture


def make_distribution(output: Output, bits: int) -> Distribution:
    """Make the distribution that a config asks for, over 2**bits classes."""
    match output:
        case LogisticOutput():
            return LogisticMixture(output.components, bits)
        case GaussianOutput():
            return GaussianMixture(output.components, bits)
        case _:
            return Categorical(1 << bits)
