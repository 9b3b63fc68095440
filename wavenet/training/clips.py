"""The loss of a batch on a CPU and its gradient, clip by clip, several at a time.

Clips do not depend on each other, so that a thread for each serves better than all threads for one
product: nobody waits at the end of every product, and padding is not computed. Clip by clip also
needs less memory, for which the gradient of a clip is computed with its loss, before the next clip.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from wavenet.model.base import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.model.distributions import Categorical
from wavenet.model.wavenet import WaveNet
from wavenet.training.stack import gated_output, make_blocks

ROWS = 128  # clips are counted in so many samples: a product of a new size is first compiled

Gradients = Sequence[Tensor | None]
Work = Callable[[int], tuple[Tensor, Gradients]]  # a clip -> its loss and the gradient


class _Loss(torch.autograd.Function):
    """Run the work of all clips -> the sum of their losses; their gradients are there already."""

    @staticmethod
    def forward(ctx: Any, work: Work, clips: int, *parameters: Tensor) -> Tensor:
        total = torch.zeros(())
        grads: list[Tensor | None] = [None] * len(parameters)
        for loss, new in _run(work, clips):
            total = total + loss
            for n, grad in enumerate(new):
                if grad is not None:
                    before = grads[n]
                    grads[n] = grad if before is None else before.add_(grad)
        ctx.grads = grads
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Any, ...]:
        return (None, None, *(None if g is None else g * factor for g in ctx.grads))


def total_nll(
    model: WaveNet,
    codes: Tensor,
    mask: Tensor,
    start: Tensor,
    conditioning: Conditioning,
    heard: Tensor,
) -> Tensor:
    """Add up the negative log-likelihood, in nats, over the targets of a batch.

    Products are in the type of autocast, where that is on.

    Args:
        model: on the CPU.
        codes: (B, T) int64; mask: (B, T), true where a sample is a target; start: as in `WaveNet`.
        conditioning: of the batch.
        heard: (B, T) int64, what the network hears: the codes, or something close to them.
    """
    wide, bf16 = model.skip.weight.dtype, torch.is_autocast_enabled("cpu")
    blocks = make_blocks(model, torch.get_autocast_dtype("cpu") if bf16 else wide)
    parameters = [p for p in model.parameters() if p.requires_grad]
    wanted = torch.is_grad_enabled() and bool(parameters)
    # neither padding nor context reaches the post-net, but for what fills up whole rows
    codes, heard, mask = (F.pad(x, (0, -x.shape[1] % ROWS)) for x in (codes, heard, mask))
    rows = mask.unflatten(1, (-1, ROWS)).any(2)
    begins = rows.int().argmax(1) * ROWS
    ends = (rows * torch.arange(1, rows.shape[1] + 1)).amax(1).clamp(min=1) * ROWS

    def work(n: int) -> tuple[Tensor, Gradients]:
        begin, end = int(begins[n]), int(ends[n])
        # what a thread casts for itself must not be freed by another one
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False)
        with torch.set_grad_enabled(wanted), autocast:
            gated = gated_output(
                model, blocks, heard[n, :end], conditioning.select([n]), int(start[n])
            )
            params = model.output_params(gated[begin:] if begin else gated)
            loss = nll(model, params, codes[n, begin:end], mask[n, begin:end])
        if not wanted:
            return loss, []
        return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    total: Tensor = _Loss.apply(work, len(codes), *parameters)  # type: ignore[no-untyped-call]
    return total


def nll(
    model: AutoregressiveModel[Any],
    params: Tensor,
    codes: Tensor,
    mask: Tensor,
    whole: bool = False,
) -> Tensor:
    """Add up the negative log-likelihood, in nats, of the codes (N,) of a mask; params: (N, P).

    Args:
        whole: compute what is no target, too, and leave it out of the sum. To pick out the targets,
            a GPU would have to be asked how many there are, and waited for.
    """
    params = params.float()
    if isinstance(model.distribution, Categorical):
        # the same, as one fused operation
        return F.cross_entropy(params, codes.masked_fill(~mask, -100), reduction="sum")
    if whole:
        found = model.distribution.log_prob(params.t()[None], codes[None])
        return -found.masked_fill(~mask, 0).sum()
    return -model.distribution.log_prob(params[mask].t()[None], codes[mask][None]).sum()


def _run(work: Work, clips: int) -> list[tuple[Tensor, Gradients]]:
    """Do the work of all clips, the threads of torch divided among those that run together."""
    threads = torch.get_num_threads()
    done: list[tuple[Tensor, Gradients]] = []
    for first in range(0, clips, threads):
        together = range(first, min(clips, first + threads))
        if len(together) == 1:
            done.append(work(first))
            continue

        def alone(n: int, each: int = threads // len(together)) -> tuple[Tensor, Gradients]:
            torch.set_num_threads(each)  # of this thread
            return work(n)

        try:
            with ThreadPoolExecutor(len(together)) as pool:
                done += pool.map(alone, together)
        finally:
            torch.set_num_threads(threads)  # for threads yet to come
    return done
