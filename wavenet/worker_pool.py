"""Worker processes of this machine, and the assignment of tasks to workers.

Input: the tasks of a `TaskQueue`. Output: their results, which the same queue receives. A task
belongs to one worker until its result arrives. If a worker dies, its unfinished tasks are retried
in smaller and smaller parts: a task that kills its worker is isolated, and the other tasks lose
little time. Called by `corpus` and `batch`; the scheduler also supports workers that are not
processes of this machine.
"""

import logging
import os
import signal
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from wavenet.errors import WaveNetError
from wavenet.interrupts import ignore_sigint
from wavenet.progress import Progress

RETRY_PARTS = 4  # parts into which the unfinished tasks of a dead worker are split
MAX_FAILED_STARTS = 3  # workers in a row that died before their first message

logger = logging.getLogger(__name__)


class PoolTask(Protocol):
    """A unit of work that can be sent to another process."""

    @property
    def key(self) -> int:
        """Number of the task, different for each task of a queue."""


TaskT = TypeVar("TaskT", bound=PoolTask)


class TaskQueue(Protocol[TaskT]):
    """The tasks of a pool, and the destination of their results."""

    def next_task(self) -> TaskT | None:
        """Return the next task; None if no tasks are left, or none is to be started."""

    def finish_task(self, task: TaskT, result: Any) -> None:
        """Store the result of a task."""

    def update_task(self, task: TaskT, state: Any) -> None:
        """Store a state that the worker of an unfinished task reported."""

    def handle_crash(self, task: TaskT, crashes: int) -> bool:
        """Record that a worker died before it finished a task; return whether to retry the task.

        Args:
            crashes: number of workers that died while they retried only this task, the newest
                included; 0 if the newest one did not retry only this task.
        """


class WorkerEvent(StrEnum):
    """The kind of a worker's message; the content of the message is in parentheses."""

    NEXT = "next"  # requests a task
    UPDATED = "updated"  # (key, state) of a task
    FINISHED = "finished"  # (key, result) of a task
    RETURNED = "returned"  # (key) of a task that was not started
    ADVANCED = "advanced"  # (amount) of finished work
    MESSAGE = "message"  # (text) for the user
    IDLE = "idle"  # has finished all tasks and received None as the next task
    FAILED = "failed"  # (error) that stops all work


@dataclass(eq=False)
class WorkerTasks(Generic[TaskT]):
    """The tasks of one worker.

    Attributes:
        unfinished: tasks without a result, by key.
        retries: unassigned tasks to retry; this worker receives only these. None if it works on new
            tasks.
        retries_single_task: `retries` had one task.
        is_idle: the worker waits for `TaskScheduler.may_have_tasks`.
        has_started: the worker has sent a message.
    """

    unfinished: dict[int, TaskT] = field(default_factory=dict)
    retries: deque[TaskT] | None = None
    retries_single_task: bool = False
    is_idle: bool = False
    has_started: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether tasks must be retried if the worker dies now."""
        return bool(self.unfinished or self.retries)


class TaskScheduler(Generic[TaskT]):
    """Assigns the tasks of a queue to workers, and requeues those of workers that died.

    Args:
        tasks: the queue.
        progress: receives what workers report; its unit is that of the workers.
    """

    def __init__(self, tasks: TaskQueue[TaskT], progress: Progress):
        self._tasks, self._progress = tasks, progress
        self._retry_parts: deque[list[TaskT]] = deque()
        self._crashes: dict[int, int] = {}  # by key, of workers that retried only this task
        self._is_exhausted = False
        self._failed_starts = 0

    @property
    def may_have_tasks(self) -> bool:
        """Whether `next_task` may return a task."""
        return bool(self._retry_parts) or not self._is_exhausted

    def next_task(self, worker: WorkerTasks[TaskT]) -> TaskT | None:
        """Assign a task to a worker and return the task.

        Return None if there is no task for this worker at present; call again after it is idle.
        """
        if self._retry_parts and worker.retries is None and not worker.unfinished:
            worker.retries = deque(self._retry_parts.popleft())
            worker.retries_single_task = len(worker.retries) == 1
        if worker.retries is not None:
            task = worker.retries.popleft() if worker.retries else None
        elif self._retry_parts or self._is_exhausted:
            return None  # the worker first finishes its tasks, then it receives tasks to retry
        else:
            task = self._tasks.next_task()
            self._is_exhausted = task is None
        if task is not None:
            worker.unfinished[task.key] = task
        return task

    def handle(self, worker: WorkerTasks[TaskT], event: WorkerEvent, *content: Any) -> None:
        """Handle an event of a worker.

        Raises:
            WaveNetError: an error that stops all work.
        """
        self._failed_starts, worker.has_started = 0, True
        match event:
            case WorkerEvent.UPDATED:
                key, state = content
                self._tasks.update_task(worker.unfinished[key], state)
            case WorkerEvent.FINISHED:
                key, result = content
                self._tasks.finish_task(worker.unfinished.pop(key), result)
            case WorkerEvent.RETURNED:
                del worker.unfinished[content[0]]
            case WorkerEvent.ADVANCED:
                self._progress.advance(*content)
            case WorkerEvent.MESSAGE:
                self._progress.message(*content)
            case WorkerEvent.IDLE:
                worker.is_idle, worker.retries, worker.retries_single_task = True, None, False
            case WorkerEvent.FAILED:
                raise content[0]

    def requeue(self, worker: WorkerTasks[TaskT], cause: str, advice: str) -> None:
        """Requeue the tasks of a worker that died.

        Args:
            cause: of its death, such as "exit -9".
            advice: what the user can do if no worker can start.
        Raises:
            WaveNetError: workers cannot start.
        """
        self._failed_starts += not worker.has_started
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise WaveNetError(
                f"{MAX_FAILED_STARTS} workers in a row died before they started ({cause}); {advice}"
            )
        unfinished = [
            task
            for task in worker.unfinished.values()
            if self._tasks.handle_crash(
                task, self._count_crash(task) if worker.retries_single_task else 0
            )
        ]
        size = -(-len(unfinished) // RETRY_PARTS)
        for start in range(0, len(unfinished), size or 1):
            self._retry_parts.append(unfinished[start : start + size])
        if worker.retries:
            self._retry_parts.append(list(worker.retries))
        if unfinished:
            count = f"{len(unfinished)} {'task' if len(unfinished) == 1 else 'tasks'}"
            self._progress.message(f"a worker died ({cause}); retrying {count} assigned to it")

    def _count_crash(self, task: TaskT) -> int:
        self._crashes[task.key] = self._crashes.get(task.key, 0) + 1
        return self._crashes[task.key]


@dataclass(eq=False)
class _WorkerProcess(Generic[TaskT]):
    """A process of a pool, the pipe to it, and its tasks."""

    process: Any
    pipe: Connection
    tasks: WorkerTasks[TaskT] = field(default_factory=WorkerTasks)


class WorkerPool(Generic[TaskT]):
    """Processes that work on the tasks of a scheduler; dead ones are replaced.

    Args:
        scheduler: assigns the tasks.
        context: of multiprocessing.
        target: function that each process runs with its pipe; it calls `run_worker`.
        arguments: further arguments of the function.
    """

    def __init__(
        self,
        scheduler: TaskScheduler[TaskT],
        context: Any,
        target: Callable[..., None],
        arguments: tuple[Any, ...],
    ):
        self._scheduler, self._context = scheduler, context
        self._target, self._arguments = target, arguments
        self._workers: list[_WorkerProcess[TaskT]] = []

    def run(self, count: int) -> None:
        """Run `count` processes until no task is left; on return, no process is running.

        Raises:
            WaveNetError: a worker reported an error that stops all work, or none can start.
        """
        try:
            for _ in range(count):
                self._spawn()
            while self._workers:
                self._wait()
                self._resume_or_release()
        finally:
            self._kill()

    def _spawn(self) -> None:
        """Start a process."""
        pipe, remote_pipe = self._context.Pipe()
        process = self._context.Process(
            target=self._target, args=(remote_pipe, *self._arguments), daemon=True
        )
        with ignore_sigint():  # inherited: SIGINT must not end the process before `run_worker`
            process.start()
        remote_pipe.close()
        logger.info("started worker %s", process.pid)
        self._workers.append(_WorkerProcess(process, pipe))

    def _wait(self) -> None:
        """Wait for messages and deaths, and handle them."""
        pipes = {worker.pipe: worker for worker in self._workers}
        sentinels = {worker.process.sentinel: worker for worker in self._workers}
        for ready in wait([*pipes, *sentinels]):
            worker = pipes.get(ready) or sentinels[ready]  # type: ignore[call-overload]
            if worker in self._workers and not self._handle_messages(worker):
                self._reap(worker)

    def _handle_messages(self, worker: _WorkerProcess[TaskT]) -> bool:
        """Handle all waiting messages; return whether the process is alive."""
        # checked first, because the last messages of a dead process are still in the pipe
        is_alive = bool(worker.process.is_alive())
        while True:
            try:
                if not worker.pipe.poll():
                    return is_alive
                event, *content = worker.pipe.recv()
            except (EOFError, OSError):
                return False
            self._scheduler.handle(worker.tasks, event, *content)
            if event == WorkerEvent.NEXT:
                _send(worker.pipe, self._scheduler.next_task(worker.tasks))

    def _resume_or_release(self) -> None:
        """Resume idle workers if there are tasks; release them when no worker has tasks."""
        is_busy = any(worker.tasks.is_busy for worker in self._workers)
        for worker in [w for w in self._workers if w.tasks.is_idle]:
            if self._scheduler.may_have_tasks:
                worker.tasks.is_idle = False
                _send(worker.pipe, True)
            elif not is_busy:
                self._release(worker)

    def _release(self, worker: _WorkerProcess[TaskT]) -> None:
        """End an idle process, which has no tasks."""
        _send(worker.pipe, False)
        self._workers.remove(worker)
        worker.process.join()
        worker.pipe.close()

    def _reap(self, worker: _WorkerProcess[TaskT]) -> None:
        """Remove a dead process, requeue its tasks, and replace it if there are tasks."""
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        cause = f"exit {worker.process.exitcode}"
        logger.info("worker %s died: %s", worker.process.pid, cause)
        self._scheduler.requeue(worker.tasks, cause, "use fewer workers: --workers 1")
        if self._scheduler.may_have_tasks:
            self._spawn()

    def _kill(self) -> None:
        """Kill all processes."""
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._workers.clear()


def _send(pipe: Connection, message: Any) -> None:
    """Send a message to a worker; the sentinel of a dead worker reports its death."""
    with suppress(OSError):
        pipe.send(message)


class WorkerConnection(Generic[TaskT]):
    """The pipe of a worker process: receives tasks; sends results and, as a `Progress`, progress.

    The process exits at once if its parent has ended.
    """

    def __init__(self, pipe: Connection):
        self._pipe, self._parent = pipe, os.getppid()

    def next_task(self) -> TaskT | None:
        """Return the next task, or None if there is no task for this worker at present."""
        self.send(WorkerEvent.NEXT)
        task: TaskT | None = self._pipe.recv()
        return task

    def update_task(self, task: TaskT, state: Any) -> None:
        """Send the state of a task."""
        self.send(WorkerEvent.UPDATED, task.key, state)

    def finish_task(self, task: TaskT, result: Any) -> None:
        """Send the result of a task."""
        self.send(WorkerEvent.FINISHED, task.key, result)

    def advance(self, amount: float) -> None:
        """Send an amount of finished work."""
        self.send(WorkerEvent.ADVANCED, amount)

    def message(self, text: str) -> None:
        """Send a message for the user."""
        self.send(WorkerEvent.MESSAGE, text)

    def wait_for_tasks(self) -> bool:
        """Wait until tasks are available; return False if there will be no more."""
        self.send(WorkerEvent.IDLE)
        return bool(self._pipe.recv())

    def send(self, event: WorkerEvent, *content: Any) -> None:
        """Send an event to the pool."""
        if os.getppid() != self._parent:
            os._exit(1)
        try:
            self._pipe.send((event, *content))
        except OSError:  # the parent has ended; raising would look like an error of the caller
            os._exit(1)


def run_worker(pipe: Connection, work: Callable[[WorkerConnection[Any]], None]) -> None:
    """Process tasks in a worker process until the pool releases it or ends.

    Args:
        pipe: to the pool.
        work: processes tasks until `next_task` returns None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent reacts to it
    connection: WorkerConnection[Any] = WorkerConnection(pipe)
    try:
        work(connection)
        while connection.wait_for_tasks():
            work(connection)
    except (EOFError, ConnectionError):
        return  # the parent has ended
    except WaveNetError as error:
        connection.send(WorkerEvent.FAILED, error)
