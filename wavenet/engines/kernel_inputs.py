"""What `cpu` and `gpu` share: sampling settings as numbers, the kind of output, the input layer.

Input: a model or sampling settings. Output: plain numbers and one tensor. Called by the packages
`engines.cpu` and `engines.gpu`.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from wavenet.errors import ModelUnsupported
from wavenet.model.distributions import Categorical
from wavenet.model.layers import ScalarInput
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig

CATEGORICAL, LOGISTIC, GAUSSIAN = 0, 1, 2  # families of output distributions


class SamplingRules(NamedTuple):
    """`SamplingConfig` as numbers; top_k 0, top_p 1 and guidance 1 mean off."""

    temperature: float
    top_k: int
    top_p: float
    greedy: bool
    guidance: float


def make_sampling_rules(sampling: SamplingConfig) -> SamplingRules:
    """Convert settings to numbers."""
    return SamplingRules(
        float(sampling.temperature),
        int(sampling.top_k or 0),
        1.0 if sampling.top_p is None else float(sampling.top_p),
        bool(sampling.greedy),
        float(sampling.guidance),
    )


def output_family(model: WaveNet) -> int:
    """Return the family of the output distribution: CATEGORICAL, LOGISTIC or GAUSSIAN.

    Raises:
        ModelUnsupported: the compiled engines do not support this distribution.
    """
    match model.distribution:
        case Categorical():
            return CATEGORICAL
        case LogisticMixture():
            return LOGISTIC
        case GaussianMixture():
            return GAUSSIAN
        case other:
            raise ModelUnsupported(
                "the compiled engines draw from a categorical, logistic or Gaussian output, found "
                f"{type(other).__name__}; use the engine cached"
            )


def embedding_rows(model: WaveNet) -> Tensor:
    """Return the weights of the input layer as rows.

    Returns:
        (n_classes, R), one row per code; for a `ScalarInput`
        two rows, its weight and its bias, (2, R).
    """
    if isinstance(model.embedding, ScalarInput):
        return torch.stack([model.embedding.weight[:, 0], model.embedding.bias])
    return model.embedding.weight
