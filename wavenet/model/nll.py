"""The negative log-likelihood of codes under predicted distributions, summed over targets.

Input: params, codes and a mask. Output: nats. Called by `training.cpu_loss` for each clip, and by
models for a whole batch.
"""

import torch.nn.functional as F
from torch import Tensor

from wavenet.model.distributions import Categorical, Distribution


def sum_nll(
    distribution: Distribution,
    params: Tensor,
    codes: Tensor,
    mask: Tensor,
    mask_only: bool = False,
) -> Tensor:
    """Sum the negative log-likelihood, in nats, of the codes that are targets.

    Args:
        distribution: of the model.
        params: (N, P); codes: (N,) int64; mask: (N,) bool, true where a code is a target.
        mask_only: compute the log-likelihood of all codes and mask it, instead of selecting the
            targets first; a selection would wait for the GPU, to read the number of targets.
    """
    params = params.float()
    if isinstance(distribution, Categorical):
        # the same result from one fused operation
        return F.cross_entropy(params, codes.masked_fill(~mask, -100), reduction="sum")
    if mask_only:
        log_probs = distribution.log_prob(params.t()[None], codes[None])
        return -log_probs.masked_fill(~mask, 0).sum()
    return -distribution.log_prob(params[mask].t()[None], codes[mask][None]).sum()
