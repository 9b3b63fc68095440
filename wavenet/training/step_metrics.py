"""Loss and gradient norm of each step, read from the device without delaying it.

Input: `StepResult`s with tensors. Output: records with numbers. Reading a number from a GPU waits
until the GPU has finished all its work; it is then idle until the next launch. Therefore the
numbers of a step are copied while the next step runs, and read one step later. Called by `loop`.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from wavenet.errors import TrainingError


@dataclass(frozen=True)
class StepResult:
    """The outcome of one step.

    Attributes:
        record: the entries that need no reading from the device.
        values: (2,) loss in nats and norm of the gradient, on the device.
    """

    record: dict[str, Any]
    values: Tensor


class MetricsQueue:
    """Steps whose numbers are being copied from the device.

    Args:
        lag: number of steps that may be pending; 0 on a CPU, on which reading does not wait.
    """

    def __init__(self, lag: int):
        self._lag = lag
        self._pending: deque[tuple[dict[str, Any], Tensor, torch.cuda.Event | None]] = deque()

    def append(self, result: StepResult) -> None:
        """Start to copy the numbers of a step, without waiting."""
        event = None
        host = result.values.to("cpu", non_blocking=True)
        if result.values.is_cuda:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(result.values.device))
        self._pending.append((result.record, host, event))

    def pop(self, flush: bool = False) -> list[dict[str, Any]]:
        """Return the records of the steps beyond the lag, the oldest first.

        Args:
            flush: return the records of all steps.
        Raises:
            TrainingError: a loss or a gradient norm is not finite.
        """
        records = []
        while len(self._pending) > (0 if flush else self._lag):
            record, values, event = self._pending.popleft()
            if event is not None:
                event.synchronize()
            loss, gradient = check_finite(values, record["step"])
            numbers = {"loss_bits": loss / math.log(2), "gradient": gradient}
            records.append({"step": record["step"], **numbers, **record})
        return records


def check_finite(values: Tensor, step: int) -> tuple[float, float]:
    """Read loss and gradient norm (2,) of a step.

    Raises:
        TrainingError: one of the two is not finite.
    """
    loss, gradient = values.tolist()
    if not (math.isfinite(loss) and math.isfinite(gradient)):
        raise TrainingError(
            f"loss or gradient norm of step {step} is not finite (loss {loss}, gradient norm "
            f"{gradient}); the weights were not changed; start a new run with a lower learning rate"
        )
    return loss, gradient
