"""The loss of a batch and its gradient on a CPU, for a WaveNet: clips in parallel, each alone.

Input: a batch of codes and its conditioning. Output: nats, with gradients. Clips do not depend on
each other. One thread per clip is faster than all threads on one matrix product: threads do not
wait for each other after every product, and padding is not computed. It also needs less memory,
because the gradient of a clip is computed with its loss, before the next clip. Called by `task`,
for the models that `supports` accepts and batches of at least `SHORTEST_BATCH` samples.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.model.conditioning import Conditioning
from wavenet.model.nll import sum_nll
from wavenet.model.wavenet import WaveNet
from wavenet.training.fused_blocks import cast_blocks, fused_hidden_states
from wavenet.training.summed_loss import Gradients, sum_losses

# Clip lengths are rounded up to a multiple of this: the first product of each new size is slow.
SAMPLE_MULTIPLE = 128
# Shorter batches are faster as a whole: 2 to 5 times at 48 to 200 samples, which would be padded.
SHORTEST_BATCH = 256  # samples

ClipLoss = Callable[[int], tuple[Tensor, Gradients]]  # index of a clip -> its loss and gradient


def supports(model: nn.Module) -> TypeGuard[WaveNet]:
    """Return whether `clipwise_nll` can compute the loss of this kind of model."""
    return isinstance(model, WaveNet)


def clipwise_nll(
    model: WaveNet,
    codes: Tensor,
    mask: Tensor,
    start: Tensor,
    conditioning: Conditioning,
    input_codes: Tensor,
) -> Tensor:
    """Sum the negative log-likelihood, in nats, over the targets of a batch.

    Matrix products use the dtype of autocast if it is enabled.

    Args:
        model: on the CPU.
        codes: (B, T) int64; mask: (B, T), true where a sample is a target; start: as in `WaveNet`.
        conditioning: of the batch.
        input_codes: (B, T) int64, the input of the model: the codes, or the codes with noise.
    """
    full_dtype, bf16 = model.skip.weight.dtype, torch.is_autocast_enabled("cpu")
    blocks = cast_blocks(model, torch.get_autocast_dtype("cpu") if bf16 else full_dtype)
    parameters = [p for p in model.parameters() if p.requires_grad]
    needs_grad = torch.is_grad_enabled() and bool(parameters)
    # The output layers are computed from the first target to the last only; both ends are extended
    # to multiples of `SAMPLE_MULTIPLE`.
    pad = -codes.shape[1] % SAMPLE_MULTIPLE
    codes, input_codes, mask = (F.pad(x, (0, pad)) for x in (codes, input_codes, mask))
    has_targets = mask.unflatten(1, (-1, SAMPLE_MULTIPLE)).any(2)
    begins = has_targets.int().argmax(1) * SAMPLE_MULTIPLE
    counts = has_targets * torch.arange(1, has_targets.shape[1] + 1)
    ends = counts.amax(1).clamp(min=1) * SAMPLE_MULTIPLE

    def clip_loss(n: int) -> tuple[Tensor, Gradients]:
        begin, end = int(begins[n]), int(ends[n])
        # no cache: another thread could free the weights that this thread has cast
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=bf16, cache_enabled=False)
        with torch.set_grad_enabled(needs_grad), autocast:
            gated = fused_hidden_states(
                model, blocks, input_codes[n, :end], conditioning.select([n]), int(start[n])
            )
            params = model.output_params(gated[begin:] if begin else gated)
            loss = sum_nll(model.distribution, params, codes[n, begin:end], mask[n, begin:end])
        if not needs_grad:
            return loss, []
        return loss.detach(), torch.autograd.grad(loss, parameters, allow_unused=True)

    return sum_losses(_compute_clips(clip_loss, len(codes)), parameters)


def _compute_clips(clip_loss: ClipLoss, clips: int) -> list[tuple[Tensor, Gradients]]:
    """Compute as many clips in parallel as torch has threads, one clip per thread.

    If fewer clips are left at the end, the threads are divided equally among them, rounded down.
    """
    threads = torch.get_num_threads()
    results: list[tuple[Tensor, Gradients]] = []
    for first in range(0, clips, threads):
        parallel = range(first, min(clips, first + threads))
        if len(parallel) == 1:
            results.append(clip_loss(first))
            continue

        def in_thread(
            n: int, own_threads: int = threads // len(parallel)
        ) -> tuple[Tensor, Gradients]:
            torch.set_num_threads(own_threads)  # of this thread
            return clip_loss(n)

        try:
            with ThreadPoolExecutor(len(parallel)) as pool:
                results += pool.map(in_thread, parallel)
        finally:
            torch.set_num_threads(threads)  # of threads started later
    return results
