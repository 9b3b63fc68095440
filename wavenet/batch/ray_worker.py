"""A batch worker in a Ray actor, which exchanges groups of tasks and records with the driver.

A thread generates clips. The driver calls `RayWorker.exchange` repeatedly. Input: tasks, sent
before the queue of the worker is empty. Output: the events of the worker, which contain the
records. Called by `ray_driver`, which creates one `RayWorker` per actor.
"""

import os
import platform
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import wavenet
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.clip_worker import ClipWorker
from wavenet.batch.clip_writer import Record, failure_record
from wavenet.batch.tasks import ClipTask
from wavenet.errors import ConfigError, DataError, DeviceError, WaveNetError
from wavenet.generation.batch_size import MAX_BATCH_CPU, MAX_BATCH_GPU
from wavenet.worker_pool import WorkerEvent

REPLY_SECONDS = 0.5  # maximum time until a call returns
VERSIONS = {"wavenet-studio": wavenet.__version__, "torch": torch.__version__}
LOST = "lost"  # additional event: this worker cannot be used; the content is (reason)
Event = tuple[Any, ...]  # a WorkerEvent or LOST, and its content


@dataclass(frozen=True)
class WorkerRequirements:
    """Requirements for the machine of a worker.

    Attributes:
        versions: of packages, equal to those of the driver.
        paths: that must exist on the machine of the worker, too.
    """

    versions: dict[str, str]
    paths: Sequence[str]

    def check(self) -> None:
        """Check this machine.

        Raises:
            ConfigError: a package has another version, which may generate other audio.
            DataError: a path does not exist on this machine.
        """
        for package, version in self.versions.items():
            if VERSIONS[package] != version:
                raise ConfigError(
                    f"the machine {platform.node()} has {package} {VERSIONS[package]}, the driver "
                    f"{version}; install the same version on all machines"
                )
        for path in self.paths:
            if problem := missing_path_error(path):
                raise DataError(problem)


class RayWorker:
    """Generates clips in a thread; the class of the actors.

    Args:
        settings, execution: of the batch.
        requirements: checked before work starts.
    """

    def __init__(
        self,
        settings: BatchSettings,
        execution: ExecutionConfig,
        requirements: WorkerRequirements,
    ):
        largest = MAX_BATCH_CPU if execution.device == "cpu" else MAX_BATCH_GPU
        # The length is sufficient if a quarter of the clips end together. At the end of a batch, a
        # longer queue would hold tasks that idle workers could do.
        self._queue_size = max(2, (execution.batch_size or largest) // 4)
        self._tasks: deque[ClipTask] = deque()
        self._events: list[Event] = []
        self._seconds = 0.0  # of audio generated since the last call
        self._is_out_of_tasks = False  # no tasks are available now except those in the queue
        self._is_urgent = False  # the driver must receive an event at once
        self._changed = threading.Condition()
        arguments = (settings, execution, requirements)
        threading.Thread(target=self._run, args=arguments, daemon=True).start()

    def exchange(
        self, tasks: Sequence[ClipTask], is_out_of_tasks: bool, is_stopping: bool
    ) -> tuple[list[Event], int]:
        """Receive tasks; return the new events and the number of further tasks that fit.

        Args:
            is_out_of_tasks: no more tasks are available now; sent as True once.
            is_stopping: True if no further clip is to be started.
        """
        with self._changed:
            self._tasks.extend(tasks)
            self._is_out_of_tasks |= is_out_of_tasks
            if is_stopping:
                self._events += [(WorkerEvent.RETURNED, task.key) for task in self._tasks]
                self._tasks.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_urgent or self._needs_tasks, REPLY_SECONDS)
            events, self._events, self._is_urgent = self._events, [], False
            if self._seconds:
                events.append((WorkerEvent.ADVANCED, self._seconds))
                self._seconds = 0.0
            return events, self._queue_size - len(self._tasks)

    def next_task(self) -> ClipTask | None:
        """Return the next task whose files exist here, or None if no task is available now."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._is_out_of_tasks)
                if not self._tasks:
                    return None
                task = self._tasks.popleft()
                self._changed.notify_all()
            paths = filter(None, (task.checkpoint, task.prompt_file, task.condition_file))
            problem = next(filter(None, map(missing_path_error, paths)), None)
            if problem is None:
                return task
            self.finish_task(task, failure_record(task, problem))

    def finish_task(self, task: ClipTask, record: Record) -> None:
        """Report the record of a task."""
        self._report(WorkerEvent.FINISHED, task.key, record)

    def advance(self, amount: float) -> None:
        """Count seconds of audio."""
        with self._changed:
            self._seconds += amount

    def message(self, text: str) -> None:
        """Report a message for the user."""
        self._report(WorkerEvent.MESSAGE, text)

    @property
    def _needs_tasks(self) -> bool:
        return not self._is_out_of_tasks and len(self._tasks) <= self._queue_size // 2

    def _run(
        self,
        settings: BatchSettings,
        execution: ExecutionConfig,
        requirements: WorkerRequirements,
    ) -> None:
        """Generate clips until the actor is killed."""
        try:
            requirements.check()
            worker = ClipWorker(settings, execution)
            while True:
                worker.run(self, self)
                with self._changed:
                    self._is_out_of_tasks = False
                    self._report(WorkerEvent.IDLE, is_urgent=True)
                    self._changed.wait_for(lambda: self._tasks or self._is_out_of_tasks)
        except DeviceError as error:
            self._report(LOST, f"{platform.node()}: {error}", is_urgent=True)
        except WaveNetError as error:
            self._report(WorkerEvent.FAILED, error, is_urgent=True)
        except BaseException:
            traceback.print_exc()  # to the logs of the cluster
            os._exit(1)

    def _report(self, *event: Any, is_urgent: bool = False) -> None:
        with self._changed:
            self._events.append(event)
            self._is_urgent |= is_urgent
            self._changed.notify_all()


def missing_path_error(path: str) -> str:
    """Return an error message if a path does not exist on this machine, otherwise ""."""
    if Path(path).exists():
        return ""
    return (
        f"the machine {platform.node()} cannot find {path}; use a path that all machines share, or "
        "a URL such as s3://bucket/clips for --out-dir"
    )
