"""Batches on the device of the training step, prepared in advance.

Input: the micro-batches of `training_batches`. Output: the same micro-batches in the same order, as
`EncodedBatch`. For a GPU, a thread collates the next batches into pinned memory, so that they are
copied while the GPU computes and the step does not wait. On a CPU nothing is prefetched: the step
needs all cores. Called by `task`.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.training.batches import Batch, MicroBatches

PREFETCHED_STEPS = 2  # steps whose batches are collated before they are requested


@dataclass(frozen=True)
class EncodedBatch:
    """A batch with encoded conditions: on the CPU at first, later on the device of the step.

    Attributes:
        codes: (B, T) int64; mask: (B, T) bool, true where a sample is a target.
        start: (B,) int64, always on the CPU: the model reads numbers from it.
        conditioning: of the batch.
        targets: number of targets of this batch.
        input_codes: (B, T) int64, the input of the model instead of the codes; None: the codes.
        own_draws: (B, T), as in `Batch`.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    conditioning: Conditioning
    targets: int
    input_codes: Tensor | None = None
    own_draws: Tensor | None = None

    def to(self, device: torch.device) -> "EncodedBatch":
        """Copy to a device; from pinned memory, without waiting."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return self._mapped(move)

    def pinned(self) -> "EncodedBatch":
        """Copy to pinned memory, from which a GPU can copy without the CPU."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "EncodedBatch":
        return replace(
            self,
            codes=change(self.codes),
            mask=change(self.mask),
            conditioning=self.conditioning.map_tensors(change),
            input_codes=None if self.input_codes is None else change(self.input_codes),
            own_draws=None if self.own_draws is None else change(self.own_draws),
        )


def encode_batch(batch: Batch, model: AutoregressiveModel[Any]) -> EncodedBatch:
    """Encode the conditions of a batch; all tensors stay on the CPU.

    Args:
        model: its conditions; its condition network is run by the step, not here.
    Raises:
        ConditionError: a value of a condition is missing.
    """
    names = [c.name for c in (*model.config.labels, *model.config.globals)]
    values = [{name: row[name] for name in names if name in row} for row in batch.conditions]
    conditioning = model.conditioning(
        values,
        batch.total_samples,
        batch.frame_features,
        batch.first_frame,
        torch.device("cpu"),
    )
    targets = int(batch.mask.sum())
    return EncodedBatch(
        batch.codes,
        batch.mask,
        batch.start,
        conditioning,
        targets,
        batch.input_codes,
        batch.own_draws,
    )


def prefetch_batches(
    steps: Iterator[MicroBatches[Batch]], model: AutoregressiveModel[Any], device: torch.device
) -> Generator[MicroBatches[EncodedBatch], None, None]:
    """Yield the micro-batches of each step on a device; closing the generator ends its thread.

    Raises:
        DataError, ConditionError: as `training_batches` and `encode_batch`; raised when the
            step is requested.
    """
    if device.type != "cuda":
        for step in steps:
            on_device = [encode_batch(batch, model).to(device) for batch in step.batches]
            yield MicroBatches(on_device, step.step_targets)
        return

    def prepare() -> MicroBatches[EncodedBatch]:
        # pinned memory belongs to the GPU that is current in this thread
        with torch.cuda.device(device):
            step = next(steps)
            pinned = [encode_batch(batch, model).pinned() for batch in step.batches]
            return MicroBatches(pinned, step.step_targets)

    # a single thread keeps the order of the steps
    pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
    try:
        pending: deque[Future[MicroBatches[EncodedBatch]]] = deque(
            pool.submit(prepare) for _ in range(PREFETCHED_STEPS)
        )
        while True:
            ready = pending.popleft().result()
            pending.append(pool.submit(prepare))
            yield MicroBatches([batch.to(device) for batch in ready.batches], ready.step_targets)
    finally:
        pool.shutdown(cancel_futures=True)
