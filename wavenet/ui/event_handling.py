"""Events of the page: their queues, the interval between updates, and requests to stop a run.

The tabs pass the queue settings to their event listeners. `pace_chunks` joins chunks of audio.
`StopRequests` stores the numbers of runs that must stop. Called by the tabs and the public API.
"""

import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

# One event at a time runs a model. Signal analysis has a separate queue, so that its plots do not
# wait for another user's model.
MODEL_QUEUE: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": 1}
SIGNAL_QUEUE: dict[str, Any] = {"concurrency_id": "signal", "concurrency_limit": 1}
# Seconds between two updates; the page processes about twenty per second, and would lose others.
UPDATE_SECONDS = 0.08


def pace_chunks(
    waveforms: Iterable[Tensor], seconds: float = UPDATE_SECONDS, first_samples: int = 0
) -> Iterator[Tensor]:
    """Join chunks that arrive less than `seconds` after the previous yield.

    Args:
        waveforms: 1-D chunks in order.
        seconds: minimum time between two yields; the remainder at the end does not wait.
        first_samples: minimum length of the first yield; less only if all chunks together are
            shorter.
    """
    pending: list[Tensor] = []
    last_yield: float | None = None
    for waveform in waveforms:
        pending.append(waveform)
        if last_yield is None:
            is_due = sum(chunk.numel() for chunk in pending) >= first_samples
        else:
            is_due = time.monotonic() - last_yield >= seconds
        if is_due:
            yield torch.cat(pending)
            pending, last_yield = [], time.monotonic()
    if pending:
        yield torch.cat(pending)


class StopRequests:
    """The numbers of the runs that must stop; safe to use from many threads.

    Gradio's own `cancels` does not work here: if its answer is late, the page mistakes the next
    run for the stopped one. The next run then ends early and can no longer be stopped (seen with
    Gradio 6.31).
    """

    MAX_KEPT = 1000  # numbers; none is removed when its run ends, so the oldest are dropped

    def __init__(self) -> None:
        self._runs: dict[int, None] = {}

    def add(self, run: int | None) -> None:
        """Request that a run stops, even if it has not started; None does nothing."""
        if run is not None:
            self._runs[run] = None
        for old in list(self._runs)[: -self.MAX_KEPT]:
            self._runs.pop(old, None)

    def __contains__(self, run: int) -> bool:
        return run in self._runs
