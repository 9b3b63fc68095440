"""Batches as the training step takes them: on its device, ready before they are asked for.

Batches of `batches` enter, in their order; the same leave as `Fed`. For a GPU a thread collates the
next ones meanwhile, into memory that is pinned, so that they are copied while the GPU works and
nobody waits. On a CPU there is nothing to be gained: the threads of the step need all cores.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from wavenet.model.base import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.training.batches import Batch, Portion

AHEAD = 2  # batches that are collated before they are asked for


@dataclass(frozen=True)
class Fed:
    """A batch whose tensors lie on the device of the step.

    Attributes:
        codes: (B, T) int64; mask: (B, T) bool, true where a sample is a target.
        start: (B,) int64, on the CPU whatever the device: the model reads numbers from it.
        conditioning: of the batch.
        targets: how many samples are targets.
        heard: (B, T) int64, what the network hears in place of the codes; None: the codes.
    """

    codes: Tensor
    mask: Tensor
    start: Tensor
    conditioning: Conditioning
    targets: int
    heard: Tensor | None = None

    def to(self, device: torch.device) -> "Fed":
        """Copy to a device; from pinned memory nothing waits for that."""

        def move(part: Tensor) -> Tensor:
            return part.to(device, non_blocking=True)

        return self._mapped(move)

    def pinned(self) -> "Fed":
        """Copy to memory that a GPU can read by itself."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> "Fed":
        return replace(
            self,
            codes=change(self.codes),
            mask=change(self.mask),
            conditioning=self.conditioning.map_tensors(change),
            heard=None if self.heard is None else change(self.heard),
        )


def gather(batch: Batch, model: AutoregressiveModel[Any]) -> Fed:
    """Look up the conditions of a batch; all of it stays on the CPU.

    Args:
        model: whose condition network is going to run, and to learn; nothing runs here.
    Raises:
        ConditionError: a label of the model is missing.
    """
    names = [c.name for c in (*model.config.labels, *model.config.globals)]
    labels = [{name: row[name] for name in names if name in row} for row in batch.labels]
    conditioning = model.conditioning(
        labels, batch.totals, batch.local, batch.first, torch.device("cpu")
    )
    targets = int(batch.mask.sum())
    return Fed(batch.codes, batch.mask, batch.start, conditioning, targets, batch.heard)


def feed(
    batches: Iterator[Portion[Batch]], model: AutoregressiveModel[Any], device: torch.device
) -> Generator[Portion[Fed], None, None]:
    """Yield steps with their batches on a device, in their order; close it to end its thread.

    Raises:
        DataError, ConditionError: as of `batches` and `gather`, when the batch is asked for.
    """
    if device.type != "cuda":
        for step in batches:
            yield Portion([gather(part, model).to(device) for part in step.parts], step.targets)
        return

    def prepare() -> Portion[Fed]:
        # pinning belongs to the GPU that is current in this thread
        with torch.cuda.device(device):
            step = next(batches)
            return Portion([gather(part, model).pinned() for part in step.parts], step.targets)

    # one thread: the batches are made one after the other, as they would be without it
    pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
    try:
        waiting: deque[Future[Portion[Fed]]] = deque(pool.submit(prepare) for _ in range(AHEAD))
        while True:
            fed = waiting.popleft().result()
            waiting.append(pool.submit(prepare))
            yield Portion([part.to(device) for part in fed.parts], fed.targets)
    finally:
        pool.shutdown(cancel_futures=True)
