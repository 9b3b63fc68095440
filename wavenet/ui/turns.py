"""One turn at a time for jobs that run a model, in the order of their requests.

Gradio's own queue hides its state from the functions of the studio; here a waiting job knows its
place and can tell the page. Input: requests for a turn. Output: the number of jobs before, and an
estimate of the time. Called by all callbacks and API functions that run a model.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import fmean
from threading import Condition, Timer

from wavenet.errors import ConditionError
from wavenet.ui.server.free_memory import release_memory

MAX_WAITING = 16  # each job that waits holds a thread of the server
UPDATE_SECONDS = 0.5  # between two reports of a waiting job
IDLE_SECONDS = 2.0  # after a job, until memory is returned to the system
_KEPT_DURATIONS = 8  # of the last jobs, for the estimate


class Turn:
    """The request of one job."""

    def __init__(self, turns: "Turns") -> None:
        self._turns = turns

    def wait(self) -> Iterator[tuple[int, float | None]]:
        """Wait for the turn.

        Yields:
            The number of jobs before this one, and the estimated seconds until the turn, None if
            they are unknown: before the first job has ended, or if the current one lasts longer;
            at once and then every `UPDATE_SECONDS`.
        """
        yield from self._turns.wait_for(self)


class Turns:
    """Gives turns one after the other; safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = Condition()
        self._requests: list[Turn] = []  # the first has its turn
        self._durations: deque[float] = deque(maxlen=_KEPT_DURATIONS)
        self._began: float | None = None  # the current turn
        self._release: Timer | None = None

    @contextmanager
    def request(self) -> Iterator[Turn]:
        """Request a turn; it ends with the context, also if it was never reached.

        Raises:
            ConditionError: too many jobs wait.
        """
        turn = Turn(self)
        with self._changed:
            if len(self._requests) > MAX_WAITING:
                raise ConditionError(
                    f"the studio is busy: {MAX_WAITING} jobs wait for their turn; try again later"
                )
            self._requests.append(turn)
        try:
            yield turn
        finally:
            with self._changed:
                if self._requests[0] is turn and self._began is not None:
                    self._durations.append(self._clock() - self._began)
                    self._began = None
                self._requests.remove(turn)
                self._changed.notify_all()
            self._release_memory_later()

    def _release_memory_later(self) -> None:
        """Return memory to the system when no job has followed for a while.

        This needs most of a second, for which the next job would wait.
        """
        with self._changed:
            if self._release is not None:
                self._release.cancel()
            self._release = Timer(IDLE_SECONDS, release_memory)
            self._release.daemon = True
            self._release.start()

    def waiting(self) -> int:
        """Return the number of jobs that wait or have their turn."""
        with self._changed:
            return len(self._requests)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn without reports, and hold it in the context."""
        with self.request() as request:
            for _ in request.wait():
                pass
            yield

    def wait_for(self, turn: Turn) -> Iterator[tuple[int, float | None]]:
        """Yield the place of a request until it has its turn, as in `Turn.wait`."""
        while True:
            with self._changed:
                place = self._requests.index(turn)
                if place == 0:
                    self._began = self._clock()
                    return
                report = place, self._estimate(place)
            yield report
            with self._changed:
                if self._requests[0] is not turn:
                    self._changed.wait(UPDATE_SECONDS)

    def _estimate(self, place: int) -> float | None:
        if not self._durations:
            return None
        mean = fmean(self._durations)
        elapsed = 0.0 if self._began is None else self._clock() - self._began
        if elapsed >= mean:  # the current turn lasts longer than the others
            return None
        return mean - elapsed + (place - 1) * mean


def describe_place(place: int, seconds: float | None) -> str:
    """Return a sentence about a waiting job, from the numbers that `Turn.wait` yields."""
    jobs = "1 job" if place == 1 else f"{place} jobs"
    about = "" if seconds is None else f", about {max(1, round(seconds))} s"
    return f"Waiting: {jobs} before you{about}."
