"""Events of the page: the interval between updates, and requests to stop a job.

`pace_chunks` joins chunks of audio. `StopRequests` stores the numbers of jobs that must stop.
Called by the tabs.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Seconds between two updates; the page processes about twenty per second, and would lose others.
UPDATE_SECONDS = 0.08


def pace_chunks(
    chunks: Iterable[Tensor], seconds: float = UPDATE_SECONDS, first_samples: int = 0
) -> Iterator[Tensor]:
    """Join chunks that arrive in quick succession, so that the page receives fewer updates.

    Args:
        chunks: 1-D tensors in order.
        seconds: minimum time between two yields; the remainder at the end does not wait.
        first_samples: minimum length of the first yield; less only if all chunks together are
            shorter.
    """
    pending: list[Tensor] = []
    last_yield: float | None = None
    for chunk in chunks:
        pending.append(chunk)
        if last_yield is None:
            is_due = sum(c.numel() for c in pending) >= first_samples
        else:
            is_due = time.monotonic() - last_yield >= seconds
        if is_due:
            yield torch.cat(pending)
            pending, last_yield = [], time.monotonic()
    if pending:
        yield torch.cat(pending)


class StopRequests:
    """The numbers of the jobs that must stop; safe to use from many threads.

    Gradio's own `cancels` does not work here: if its answer is late, the page mistakes the next
    job for the stopped one. The next job then ends early and can no longer be stopped (seen with
    Gradio 6.31).
    """

    MAX_KEPT = 1000  # numbers; none is removed when its job ends, so the oldest are dropped

    def __init__(self) -> None:
        self._numbers: dict[int, None] = {}

    def add(self, job_number: int | None) -> None:
        """Request that a job stops, even if it has not started; None does nothing."""
        if job_number is not None:
            self._numbers[job_number] = None
        for old in list(self._numbers)[: -self.MAX_KEPT]:
            self._numbers.pop(old, None)

    def __contains__(self, job_number: int) -> bool:
        return job_number in self._numbers


@dataclass(frozen=True)
class PageJobs:
    """The jobs of a tab; each page has one at a time, which it can stop or replace.

    Attributes:
        stopped: jobs that a visitor stopped.
        replaced: jobs whose visitor has started another one.
    """

    stopped: StopRequests = field(default_factory=StopRequests)
    replaced: StopRequests = field(default_factory=StopRequests)

    def is_wanted(self, job_number: int) -> bool:
        """Return whether a job must continue."""
        return job_number not in self.stopped and job_number not in self.replaced
