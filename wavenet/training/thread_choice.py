"""The number of CPU threads of a training, chosen by the measured speed of its own steps.

Input: samples and seconds of every step. Output: the number of threads of the next step, a sentence
when the number changes, and the speed of the last minute. Another program on the same cores can
make more threads slower than one. Therefore all candidates are measured at the start, at an
interval, and when the speed falls. The steps of a measurement are steps of the training, so none is
lost. Called by `loop`; this file imports no torch, because `use_passive_waits` has to be called
before torch is loaded.
"""

import os
from collections import deque
from collections.abc import Sequence

SPEED_SECONDS = 60.0  # the speed of a training is that of this time
MIN_SPEED_SECONDS = 20.0  # a fall of the speed is noticed after this time
FALLEN_SPEED = 0.6  # fraction of the best speed below which the candidates are measured again
MIN_GAIN = 1.1  # more threads are chosen only if they are faster by this factor
MEASURED_SECONDS = 0.3  # of the steps with one candidate, in each round
ROUNDS = 2  # the faster round of a candidate counts, because one slow round may be an accident
INTERVAL = 300.0  # seconds until the candidates are measured again
# of the time of a training: measurements of long steps are rarer, but a fall may bring them forward
MAX_MEASURED_SHARE, MAX_SHARE_AFTER_FALL = 0.05, 0.2


def use_passive_waits() -> None:
    """Set OpenMP threads to sleep while they wait, unless the user has chosen otherwise.

    By default a waiting thread occupies its core. If another program needs that core, a step is up
    to 20 times slower. Without effect if torch is loaded already.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def thread_candidates(limit: int) -> tuple[int, ...]:
    """Return the numbers of threads to measure: the powers of two below a limit, and the limit."""
    return (*(2**n for n in range((limit - 1).bit_length())), limit)


class RecentSpeed:
    """The speed of the last minute.

    Args:
        start: the time of the clock before the first step, in seconds.
    """

    def __init__(self, start: float):
        self._ends: deque[tuple[float, int]] = deque([(start, 0)])  # time and samples up to it

    def record(self, now: float, samples: int) -> float:
        """Record the end of a step; return samples per second.

        Args:
            now: time of the clock after the step.
            samples: of the step.
        """
        self._ends.append((now, self._ends[-1][1] + samples))
        while len(self._ends) > 2 and now - self._ends[1][0] >= SPEED_SECONDS:
            self._ends.popleft()
        (begin, before), (end, after) = self._ends[0], self._ends[-1]
        return (after - before) / max(end - begin, 1e-9)


class ThreadChoice:
    """Chooses the number of threads of each step.

    Args:
        candidates: numbers of threads, rising. With one candidate nothing is measured.

    Attributes:
        threads: of the next step.
    """

    def __init__(self, candidates: Sequence[int]):
        self._candidates = tuple(candidates)
        self.threads = self._candidates[0]
        self._chosen: int | None = None
        self._clock = 0.0  # seconds of all steps so far
        self._recent, self._best_speed = RecentSpeed(0.0), 0.0
        self._earliest = self._latest = 0.0  # times of the next measurement
        self._start_measuring()

    def record(self, samples: int, seconds: float) -> str | None:
        """Record a step with `threads` threads, and choose the number for the next step.

        Returns:
            a sentence if the number of threads was chosen for the first time or has changed.
        """
        if len(self._candidates) == 1:
            return None
        self._clock += seconds
        if self._pending:
            return self._record_measured(samples, seconds)
        speed = self._recent.record(self._clock, samples)
        if self._clock >= self._earliest:
            has_fallen = speed < FALLEN_SPEED * self._best_speed
            self._best_speed = max(self._best_speed, speed)
            if has_fallen or self._clock >= self._latest:
                self._start_measuring()
        return None

    def _start_measuring(self) -> None:
        self._began = self._clock
        self._pending = list(self._candidates) * ROUNDS
        self._speeds = dict.fromkeys(self._candidates, 0.0)
        self._start_candidate()

    def _start_candidate(self) -> None:
        self.threads = self._pending[0]
        self._is_first, self._samples, self._seconds = True, 0, 0.0

    def _record_measured(self, samples: int, seconds: float) -> str | None:
        if self._is_first:  # not measured: threads are started, and memory is allocated
            self._is_first = False
            return None
        self._samples, self._seconds = self._samples + samples, self._seconds + seconds
        if self._seconds < MEASURED_SECONDS:
            return None
        speed = self._samples / self._seconds
        self._speeds[self.threads] = max(self._speeds[self.threads], speed)
        del self._pending[0]
        if self._pending:
            self._start_candidate()
            return None
        return self._choose()

    def _choose(self) -> str | None:
        """Choose a candidate by the measured speeds."""
        previous, best = self._chosen, self._candidates[0]
        for threads in self._candidates[1:]:
            if self._speeds[threads] >= MIN_GAIN * self._speeds[best]:
                best = threads
        self.threads = self._chosen = best
        self._best_speed = self._speeds[best]
        self._recent = RecentSpeed(self._clock)
        duration = self._clock - self._began
        self._earliest = self._clock + max(MIN_SPEED_SECONDS, duration / MAX_SHARE_AFTER_FALL)
        self._latest = self._clock + max(INTERVAL, duration / MAX_MEASURED_SHARE)
        return None if best == previous else self._describe(best, previous)

    def _describe(self, best: int, previous: int | None) -> str:
        speeds = ", ".join(f"{s:,.0f} with {n}" for n, s in self._speeds.items())
        before = "" if previous is None else f" instead of {previous}"
        plural = "" if best == 1 else "s"
        return f"training with {best} CPU thread{plural}{before}; samples/s by threads: {speeds}"
