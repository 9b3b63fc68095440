"""Output distributions over the next code.

Input: `params` (B, P, T), the output of the last layer. Output: log-probabilities (B, T) or drawn
codes (B, T). Called by models, engines, training and likelihood.
"""

import torch
from torch import Tensor

from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.model.model_config import GaussianOutput, LogisticOutput, Output
from wavenet.sampling import SamplingConfig, draw_codes


class Categorical:
    """One logit per code."""

    def __init__(self, n_classes: int):
        self.n_params = n_classes

    def log_prob(self, params: Tensor, codes: Tensor) -> Tensor:
        """Compute the log-probability, in nats, of each code.

        Args:
            params: (B, P, T) logits; codes: (B, T) int64.
        Returns:
            (B, T), zero or below.
        """
        chosen = params.gather(1, codes[:, None]).squeeze(1)
        return chosen - torch.logsumexp(params, dim=1)

    def check(self, config: SamplingConfig) -> None:
        """Accept all settings: a categorical supports every sampling rule."""

    def sample(self, params: Tensor, uniforms: Tensor, config: SamplingConfig) -> Tensor:
        """Draw codes (B, T) from params (B, P, T) and uniforms (B, T) in [0, 1)."""
        return draw_codes(params.transpose(1, 2), uniforms, config)


Distribution = Categorical | LogisticMixture | GaussianMixture


def make_distribution(output: Output, bits: int) -> Distribution:
    """Build the distribution of a config, over 2**bits codes."""
    match output:
        case LogisticOutput():
            return LogisticMixture(output.components, bits)
        case GaussianOutput():
            return GaussianMixture(output.components, bits)
        case _:
            return Categorical(1 << bits)
