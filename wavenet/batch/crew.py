"""Several workers, each a process of this machine: one that is killed takes nothing but time.

A worker asks for one task at a time; `loans` keeps who has which.
"""

import os
import signal
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any

from wavenet.batch.finish import Place
from wavenet.batch.loans import Hand, Loans
from wavenet.batch.processes import PROCESSES, prepare
from wavenet.batch.tasks import Settings, Task
from wavenet.batch.work import Session, Worker
from wavenet.errors import WaveNetError
from wavenet.interrupts import deaf


@dataclass(eq=False)
class _Member:
    """A process at work."""

    process: Any
    pipe: Connection
    hand: Hand = field(default_factory=Hand)


def run_crew(
    settings: Settings, where: Place, count: int, session: Session, max_retries: int
) -> None:
    """Make all that `session.take` gives on so many processes.

    Raises:
        FolderError: nothing more can be written.
        WaveNetError: workers cannot begin at all.
    """
    from wavenet.engines.cpu.thread_sync import available_cores  # with numba, which takes a second

    if where.threads is None and 2 * count > available_cores():
        where = replace(where, threads=1)
    crew = _Crew(settings, where, Loans(session, max_retries))
    try:
        for _ in range(count):
            crew.hire()
        while crew.members:
            crew.attend()
    finally:
        crew.dismiss()


class _Crew:
    def __init__(self, settings: Settings, where: Place, loans: Loans):
        self.members: list[_Member] = []
        self._settings, self._where, self._loans = settings, where, loans

    def hire(self) -> None:
        prepare()
        here, there = PROCESSES.Pipe()
        process = PROCESSES.Process(
            target=_serve, args=(there, self._settings, self._where), daemon=True
        )
        with deaf():  # while it loads, Ctrl-C is for this process alone
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
        self._loans.hear(member.hand, what, *content)
        if what == "take":
            member.pipe.send(self._loans.lend(member.hand))

    def _let_go(self) -> None:
        """Begin again with who is idle, as long as there is work; else let them go."""
        busy = any(member.hand.is_busy for member in self.members)
        for member in [m for m in self.members if m.hand.idle]:
            if self._loans.has_more:
                member.hand.idle = False
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
        how = f"exit {member.process.exitcode}"
        self._loans.take_back(member.hand, how, "try fewer, --workers 1 says most")
        if self._loans.has_more:
            self.hire()


def _serve(pipe: Connection, settings: Settings, where: Place) -> None:
    """Be a worker: make clips until the parent lets go, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what that means
    parent = os.getppid()

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
        lambda task, record: send("put", task.line, record),
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
