"""The probability of a code under a continuous distribution of the amplitude.

A code stands for the interval between the midpoints to the amplitudes of its neighbours; the lowest
and the highest code also stand for everything beyond. Input: prediction, scale and codes. Output:
log-probabilities. For one prediction the probabilities of all codes sum to 1. In contrast to
`mixtures`, the intervals need not have equal widths. Called by `linear_prediction` and
`evaluation.baselines`.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from wavenet.model.mixtures import GAUSSIAN, LOGISTIC

Residual = Literal["gaussian", "logistic"]


class CodeIntervals(nn.Module):
    """The intervals of all codes, and the distribution of the difference from the prediction.

    Args:
        levels: (K,), the amplitude of each code, increasing; K is 2 or more.
        residual: the distribution; its scale is the standard deviation of a Gaussian, or the scale
            of a logistic.
    """

    edges: Tensor
    log_widths: Tensor

    def __init__(self, levels: Tensor, residual: Residual):
        super().__init__()
        self.family = LOGISTIC if residual == "logistic" else GAUSSIAN
        # the two outer edges are infinite; finite numbers, which are not used, avoid NaN
        edges = torch.cat([levels[:1], (levels[1:] + levels[:-1]) / 2, levels[-1:]])
        self.register_buffer("edges", edges, persistent=False)
        self.register_buffer("log_widths", edges.diff().log(), persistent=False)

    def log_probs(self, prediction: Tensor, scale: Tensor, codes: Tensor) -> Tensor:
        """Compute the log-probability (..), in nats, of each code.

        Args:
            prediction, scale: (..), in the unit of the levels; the scale is above 0.
            codes: (..) int64, 0 to K - 1.
        """
        lower = (self.edges[codes] - prediction) / scale
        upper = (self.edges[codes + 1] - prediction) / scale
        inner = self.family.log_bin(upper, lower, self.log_widths[codes] - scale.log())
        first, last = codes == 0, codes == len(self.log_widths) - 1
        outer = torch.where(first, self.family.log_cdf(upper), self.family.log_cdf(-lower))
        return torch.where(first | last, outer, inner)
