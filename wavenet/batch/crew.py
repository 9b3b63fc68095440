"""Several workers, each a process: one that is killed takes nothing with it but time.

A task belongs to the worker that took it until its record is there. What a dead worker had is made
again in smaller and smaller groups, so that a task which kills its worker is found out in the end,
and one that did nothing costs little.
"""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from wavenet.batch.finish import Place, failed
from wavenet.batch.tasks import Settings, Task
from wavenet.batch.work import Session, Worker
from wavenet.errors import WaveNetError

SPLIT = 4  # groups that what a dead worker had is made again in
MOST_STILLBORN = 3  # workers in a row that ended before they said a word
_SPAWN = multiprocessing.get_context("spawn")


@dataclass(eq=False)
class _Member:
    """A process at work.

    Attributes:
        taken: tasks without a record, by line.
        group: all that it may take, where its tasks may kill it; alone: there was but one.
    """

    process: Any
    pipe: Connection
    taken: dict[int, Task] = field(default_factory=dict)
    group: deque[Task] | None = None
    alone: bool = False
    idle: bool = False
    spoke: bool = False


def run_crew(
    settings: Settings, where: Place, count: int, session: Session, max_retries: int
) -> None:
    """Make all that `session.take` gives on so many processes.

    Raises:
        FolderError: nothing more can be written.
        WaveNetError: workers cannot begin at all.
    """
    from wavenet.engines.cpu_threads import available_cores  # with numba, which takes a second

    if where.threads is None and 2 * count > available_cores():
        where = replace(where, threads=1)
    crew = _Crew(settings, where, session, max_retries)
    try:
        for _ in range(count):
            crew.hire()
        while crew.members:
            crew.attend()
    finally:
        crew.dismiss()


class _Crew:
    def __init__(self, settings: Settings, where: Place, session: Session, max_retries: int):
        self.members: list[_Member] = []
        self._settings, self._where, self._session = settings, where, session
        self._retries = max_retries
        self._suspects: deque[list[Task]] = deque()
        self._deaths: dict[int, int] = {}  # of workers, by the line of a task they had
        self._ended = False  # there are no more tasks
        self._stillborn = 0

    def hire(self) -> None:
        here, there = _SPAWN.Pipe()
        process = _SPAWN.Process(
            target=_serve, args=(there, self._settings, self._where, os.getpid()), daemon=True
        )
        with _deaf():  # while it loads, Ctrl-C is for this process alone
            process.start()
        there.close()
        self.members.append(_Member(process, here))

    def attend(self) -> None:
        """Answer whoever has something to say, and see who is gone."""
        pipes = {member.pipe: member for member in self.members}
        ends = {member.process.sentinel: member for member in self.members}
        for found in wait([*pipes, *ends]):
            member = pipes.get(found) or ends[found]  # type: ignore[call-overload]
            if member not in self.members:
                continue
            try:
                while member.pipe.poll():
                    self._answer(member, *member.pipe.recv())
            except (EOFError, OSError):
                self._bury(member)
                continue
            if member in self.members and not member.process.is_alive():
                self._bury(member)
        self._let_go()

    def dismiss(self) -> None:
        """End all processes."""
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.join()
            member.pipe.close()
        self.members.clear()

    def _answer(self, member: _Member, what: str, *content: Any) -> None:
        self._stillborn, member.spoke = 0, True
        if what == "take":
            member.pipe.send(self._next(member))
        elif what == "put":
            task, record = content
            member.taken.pop(task.line, None)
            self._session.put(task, record)
        elif what == "report":
            self._session.report(*content)
        elif what == "say":
            self._session.say(*content)
        elif what == "idle":
            member.idle, member.group, member.alone = True, None, False
        elif what == "broken":
            raise content[0]

    def _next(self, member: _Member) -> Task | None:
        if self._suspects and member.group is None and not member.taken:
            member.group = deque(self._suspects.popleft())
            member.alone = len(member.group) == 1
        if member.group is not None:
            task = member.group.popleft() if member.group else None
        elif self._suspects or self._ended:
            return None  # it finishes what it has, and then takes suspects
        else:
            task = self._session.take()
            self._ended = task is None
        if task is not None:
            member.taken[task.line] = task
        return task

    def _let_go(self) -> None:
        """Begin again with who is idle, as long as there is work; else let them go."""
        busy = any(member.taken or member.group for member in self.members)
        for member in [m for m in self.members if m.idle]:
            if self._suspects or not self._ended:
                member.idle = False
                with suppress(OSError):  # it is gone, and will be found so
                    member.pipe.send(True)
            elif not busy:
                with suppress(OSError):
                    member.pipe.send(False)
                self.members.remove(member)
                member.process.join()
                member.pipe.close()

    def _bury(self, member: _Member) -> None:
        """Take back what a dead worker had, and replace it."""
        self.members.remove(member)
        member.pipe.close()
        member.process.join()
        self._stillborn += not member.spoke
        if self._stillborn >= MOST_STILLBORN:
            raise WaveNetError(
                f"{MOST_STILLBORN} workers in a row ended as they began (exit "
                f"{member.process.exitcode}); try fewer, --workers 1 says most"
            )
        taken = list(member.taken.values())
        if member.alone and taken and self._is_given_up(taken[0]):
            taken = []
        size = -(-len(taken) // SPLIT)
        self._suspects += [taken[at : at + size] for at in range(0, len(taken), size or 1)]
        if member.group:
            self._suspects.append(list(member.group))
        if taken:
            self._session.say(
                f"a worker was killed (exit {member.process.exitcode}); what it had under way is "
                f"made again, {len(taken)} in all"
            )
        if self._suspects or not self._ended:
            self.hire()

    def _is_given_up(self, task: Task) -> bool:
        """Count the death of a worker that had this task alone."""
        deaths = self._deaths[task.line] = self._deaths.get(task.line, 0) + 1
        if deaths <= self._retries:
            return False
        times = "" if deaths == 1 else f" {deaths} times"
        self._session.put(task, failed(task, f"it killed its worker{times}"))
        return True


def _serve(pipe: Connection, settings: Settings, where: Place, parent: int) -> None:
    """Be a worker: make clips until the parent lets go, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what that means

    def send(*message: Any) -> None:
        if os.getppid() != parent:
            os._exit(1)
        pipe.send(message)

    def take() -> Task | None:
        send("take")
        task: Task | None = pipe.recv()
        return task

    session = Session(
        take,
        lambda task, record: send("put", task, record),
        lambda seconds: send("report", seconds),
        lambda sentence: send("say", sentence),
    )
    worker = Worker(settings, where)
    try:
        while True:
            worker.work(session)
            send("idle")
            if not pipe.recv():
                return
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except WaveNetError as error:
        send("broken", error)


@contextmanager
def _deaf() -> Iterator[None]:
    """Disregard Ctrl-C, as do the processes that are started meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
