"""Scheduled sampling: a growing share of the input codes are the model's own samples.

In training, the past of every sample is that of a recording (teacher forcing); in generation, it is
what the model has drawn. Small errors lead to pasts that no recording has, on which the model was
never trained. Here some input codes are replaced by codes that the model draws itself; the targets
stay those of the recording. The share grows linearly from 0 in the first step to
`scheduled_sampling` in the last.

To draw one code after the other would take as long as a generation. Instead all codes are drawn in
parallel from the predictions that have the recording as their past, so a drawn code does not depend
on the codes drawn before it. A step then has two forward passes, the first without gradient.

The replaced past is not the past of the targets, so the objective is not a likelihood any more: the
best predictions under it are not those of the data. Called by `task`.

Sources: Bengio et al. 2015, "Scheduled Sampling for Sequence Prediction with Recurrent Neural
Networks"; in parallel: Mihaylova and Martins 2019, "Scheduled Sampling for Transformers"; the bias:
Huszar 2015, "How (not) to Train your Generative Model".
"""

from typing import Any

import torch
from torch import Tensor

from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.sampling import SamplingConfig
from wavenet.training.prefetch import EncodedBatch


def own_share(step: int, steps: int, largest: float) -> float:
    """Return the share of own samples in a step.

    Args:
        step: index of the step, from 0.
        steps: of the whole training.
        largest: the share in the last step.
    """
    return largest * min(1.0, step / max(1, steps - 1))


@torch.no_grad()
def replace_by_own_samples(
    model: AutoregressiveModel[Any], batch: EncodedBatch, input_codes: Tensor
) -> Tensor:
    """Return the input codes (B, T), with the model's own samples where a draw is not -1.

    Args:
        batch: with `own_draws`.
        input_codes: (B, T) int64, the input of the model: the codes, or the codes with noise.
    """
    assert batch.own_draws is not None
    params = model(input_codes, batch.conditioning, batch.start).float()
    # the code at t is drawn from the prediction of t, and is the input of the prediction of t + 1
    drawn = model.distribution.sample(params, batch.own_draws.clamp(min=0), SamplingConfig())
    return torch.where(batch.own_draws >= 0, drawn, input_codes)
