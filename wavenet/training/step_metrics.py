"""Losses and gradients of steps, fetched from the device when they are there.

To ask a GPU for a number is to wait until it has done everything that it was given; then it idles
until it is given more. So the numbers of a step are copied away while the next one runs, and read
one step late. What a step reports enters as tensors, whole records leave.
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
    """What one step found.

    Attributes:
        record: what is known of the step already.
        values: (2,) loss in nats and norm of the gradient, on the device.
    """

    record: dict[str, Any]
    values: Tensor


class MetricsQueue:
    """Steps whose numbers are on their way.

    Args:
        late: how many may be; 0 on a CPU, where there is nothing to wait for.
    """

    def __init__(self, late: int):
        self._late = late
        self._waiting: deque[tuple[dict[str, Any], Tensor, torch.cuda.Event | None]] = deque()

    def add(self, result: StepResult) -> None:
        """Take a step's numbers; the copy begins, nobody waits."""
        event = None
        host = result.values.to("cpu", non_blocking=True)
        if result.values.is_cuda:
            event = torch.cuda.Event()
            event.record(torch.cuda.current_stream(result.values.device))
        self._waiting.append((result.record, host, event))

    def take(self, everything: bool = False) -> list[dict[str, Any]]:
        """Give the records that are late enough, or all of them, the oldest first.

        Raises:
            TrainingError: a loss or a gradient is not finite.
        """
        records = []
        while len(self._waiting) > (0 if everything else self._late):
            record, values, event = self._waiting.popleft()
            if event is not None:
                event.synchronize()
            loss, gradient = check_finite(values, record["step"])
            found = {"loss_bits": loss / math.log(2), "gradient": gradient}
            records.append({"step": record["step"], **found, **record})
        return records


def check_finite(values: Tensor, step: int) -> tuple[float, float]:
    """Read loss and gradient (2,) of a step.

    Raises:
        TrainingError: one of the two is not finite.
    """
    loss, gradient = values.tolist()
    if not (math.isfinite(loss) and math.isfinite(gradient)):
        raise TrainingError(
            f"the loss of step {step} is not finite (loss {loss}, gradient {gradient}); "
            "the weights were left as they were; start a new run with a lower learning rate"
        )
    return loss, gradient
