"""Which of two ways to work is the faster one now: learned from what runs took.

Seconds a sample enter after every run, the way of the next run leaves. Whether a second thread
helps depends on the network, on the length of a run and on whatever else the machine is doing, so
the slower way is tried again: soon at first, and half as often each time it loses.
"""

import math

FIRST_LOOK, LAST_LOOK = 2, 64  # runs until the other way is tried


class Choice:
    """See the module. True is the way that is taken until more is known."""

    def __init__(self) -> None:
        self.best = True
        # seconds a sample, of the last two runs: one slow run may be an accident
        self._costs = {True: (math.inf, math.inf), False: (math.inf, math.inf)}
        self._gap = self._left = FIRST_LOOK

    def pick(self) -> bool:
        """Give the way for the next run."""
        return self.best if self._left > 0 else not self.best

    def note(self, way: bool, cost: float) -> None:
        """Learn what a run took."""
        self._costs[way] = (self._costs[way][1], cost)
        other_is_better = min(self._costs[not self.best]) < min(self._costs[self.best])
        if way == self.best:
            self._left = 0 if other_is_better else self._left - 1
        elif other_is_better:
            self.best, self._gap = way, FIRST_LOOK
            self._left = self._gap
        else:
            self._gap = min(2 * self._gap, LAST_LOOK)
            self._left = self._gap
