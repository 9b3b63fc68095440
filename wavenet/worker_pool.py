"""Who has which task, and what becomes of those whose worker died.

A task belongs to the worker that took it until its record is there. What a dead worker had is made
again in smaller and smaller groups, so that a task which kills its worker is found out in the end,
and one that did nothing costs little. Called by `crew` and `cluster`, which know what a worker is.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from wavenet.batch.clip_worker import Session
from wavenet.batch.clip_writer import failure_record
from wavenet.batch.tasks import ClipTask
from wavenet.errors import WaveNetError

SPLIT = 4  # groups that what a dead worker had is made again in
MOST_STILLBORN = 3  # workers in a row that ended before they said a word


@dataclass(eq=False)
class Hand:
    """What a worker has.

    Attributes:
        taken: tasks without a record, by line.
        group: all that it may take, where its tasks may kill it; alone: there was but one.
        idle: it was told that there is nothing to take, and has made what it had.
        spoke: it has said a word.
    """

    taken: dict[int, ClipTask] = field(default_factory=dict)
    group: deque[ClipTask] | None = None
    alone: bool = False
    idle: bool = False
    spoke: bool = False

    @property
    def is_busy(self) -> bool:
        """Say whether its death would leave something to be made again."""
        return bool(self.taken or self.group)


class Loans:
    """The tasks of a session, lent to workers.

    Args:
        max_retries: of a task whose worker was killed while it had nothing else.
    """

    def __init__(self, session: Session, max_retries: int):
        self._session, self._retries = session, max_retries
        self._suspects: deque[list[ClipTask]] = deque()
        self._deaths: dict[int, int] = {}  # of workers, by the line of a task they had
        self._ended = False  # there are no more tasks
        self._stillborn = 0

    @property
    def has_more(self) -> bool:
        """Say whether there may be something to take."""
        return bool(self._suspects) or not self._ended

    def lend(self, hand: Hand) -> ClipTask | None:
        """Give a task; None when there is none for this worker until it is idle."""
        if self._suspects and hand.group is None and not hand.taken:
            hand.group = deque(self._suspects.popleft())
            hand.alone = len(hand.group) == 1
        if hand.group is not None:
            task = hand.group.popleft() if hand.group else None
        elif self._suspects or self._ended:
            return None  # it finishes what it has, and then takes suspects
        else:
            task = self._session.take()
            self._ended = task is None
        if task is not None:
            hand.taken[task.line] = task
        return task

    def hear(self, hand: Hand, what: str, *content: Any) -> None:
        """Take what a worker says.

        Args:
            what: take, put (line, record), back (line; it was not begun), report (seconds), say
                (sentence), idle, or broken (error).
        Raises:
            WaveNetError: what ends all work.
        """
        self._stillborn, hand.spoke = 0, True
        if what == "put":
            line, record = content
            self._session.put(hand.taken.pop(line), record)
        elif what == "back":
            del hand.taken[content[0]]
        elif what == "report":
            self._session.report(*content)
        elif what == "say":
            self._session.say(*content)
        elif what == "idle":
            hand.idle, hand.group, hand.alone = True, None, False
        elif what == "broken":
            raise content[0]

    def take_back(self, hand: Hand, how: str, advice: str) -> None:
        """Take what a dead worker had.

        Args:
            how: it died, such as "exit -9"; advice: what to do if none can begin.
        Raises:
            WaveNetError: workers cannot begin at all.
        """
        self._stillborn += not hand.spoke
        if self._stillborn >= MOST_STILLBORN:
            raise WaveNetError(
                f"{MOST_STILLBORN} workers in a row ended as they began ({how}); {advice}"
            )
        taken = list(hand.taken.values())
        if hand.alone and taken and self._is_given_up(taken[0]):
            taken = []
        size = -(-len(taken) // SPLIT)
        self._suspects += [taken[at : at + size] for at in range(0, len(taken), size or 1)]
        if hand.group:
            self._suspects.append(list(hand.group))
        if taken:
            self._session.say(
                f"a worker was killed ({how}); what it had under way is made again, "
                f"{len(taken)} in all"
            )

    def _is_given_up(self, task: ClipTask) -> bool:
        """Count the death of a worker that had this task alone."""
        deaths = self._deaths[task.line] = self._deaths.get(task.line, 0) + 1
        if deaths <= self._retries:
            return False
        times = "" if deaths == 1 else f" {deaths} times"
        self._session.put(task, failure_record(task, f"it killed its worker{times}"))
        return True
