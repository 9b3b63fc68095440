"""A worker far from the driver: tasks come in and records go out a handful at a time.

A thread makes clips; `exchange` is called again and again from elsewhere, gives it tasks before
it runs out of them, and takes along what it has to say. Made by `cluster`, once in each actor.
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
from wavenet.batch.clip_worker import MAX_BATCH_CPU, MAX_BATCH_GPU, ClipWorker, Session
from wavenet.batch.clip_writer import ExecutionConfig, failure_record
from wavenet.batch.tasks import BatchSettings, ClipTask
from wavenet.errors import ConfigError, DataError, DeviceError, WaveNetError

PULSE = 0.5  # seconds after which a call is answered even if nothing is urgent
VERSIONS = {"wavenet-studio": wavenet.__version__, "torch": torch.__version__}
Event = tuple[Any, ...]  # as `Loans.hear` takes them, or ("lost", sentence)


@dataclass(frozen=True)
class WorkerRequirements:
    """What a worker must find on its machine.

    Attributes:
        versions: of packages, those of the driver.
        paths: that the driver sees, and the worker must see.
    """

    versions: dict[str, str]
    paths: Sequence[str]

    def check(self) -> None:
        """Compare with this machine.

        Raises:
            ConfigError: other versions, which may make other clips.
            DataError: a path is not there.
        """
        for package, wanted in self.versions.items():
            if VERSIONS[package] != wanted:
                raise ConfigError(
                    f"the machine {platform.node()} has {package} {VERSIONS[package]}, the driver "
                    f"{wanted}; install the same everywhere"
                )
        for path in self.paths:
            if fault := missing_path_error(path):
                raise DataError(fault)


class RayWorker:
    """See the module."""

    def __init__(
        self, settings: BatchSettings, where: ExecutionConfig, contract: WorkerRequirements
    ):
        most = MAX_BATCH_CPU if where.device == "cpu" else MAX_BATCH_GPU
        # enough for a quarter of the clips to end at once; more would lie here at the end
        self._ahead = max(2, (where.together or most) // 4)
        self._tasks: deque[ClipTask] = deque()
        self._events: list[Event] = []
        self._seconds = 0.0
        self._is_closed = False  # what is in the queue is all there is
        self._is_urgent = False
        self._changed = threading.Condition()
        threading.Thread(target=self._serve, args=(settings, where, contract), daemon=True).start()

    def exchange(
        self, tasks: Sequence[ClipTask], is_closed: bool, is_stopping: bool
    ) -> tuple[list[Event], int]:
        """Take tasks; give what there is to say, and how many further tasks are wanted.

        Args:
            is_closed: there are no more for now; said once.
            is_stopping: nothing more is to be begun.
        """
        with self._changed:
            self._tasks.extend(tasks)
            self._is_closed |= is_closed
            if is_stopping:
                self._events += [("back", task.line) for task in self._tasks]
                self._tasks.clear()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._is_urgent or self._is_hungry, PULSE)
            events, self._events, self._is_urgent = self._events, [], False
            if self._seconds:
                events.append(("report", self._seconds))
                self._seconds = 0.0
            return events, self._ahead - len(self._tasks)

    @property
    def _is_hungry(self) -> bool:
        return not self._is_closed and len(self._tasks) <= self._ahead // 2

    def _serve(
        self, settings: BatchSettings, where: ExecutionConfig, contract: WorkerRequirements
    ) -> None:
        session = Session(self._take, self._put, self._report, lambda text: self._tell("say", text))
        try:
            contract.check()
            worker = ClipWorker(settings, where)
            while True:
                worker.work(session)
                with self._changed:
                    self._is_closed = False
                    self._tell("idle", is_urgent=True)
                    self._changed.wait_for(lambda: self._tasks or self._is_closed)
        except DeviceError as error:
            self._tell("lost", f"{platform.node()}: {error}", is_urgent=True)
        except WaveNetError as error:
            self._tell("broken", error, is_urgent=True)
        except BaseException:
            traceback.print_exc()  # the cluster keeps it in its logs
            os._exit(1)

    def _take(self) -> ClipTask | None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._is_closed)
                if not self._tasks:
                    return None
                task = self._tasks.popleft()
                self._changed.notify_all()
            faults = map(
                missing_path_error, filter(None, (task.checkpoint, task.prompt, task.condition))
            )
            if fault := next(filter(None, faults), None):
                self._put(task, failure_record(task, fault))
            else:
                return task

    def _put(self, task: ClipTask, record: Any) -> None:
        self._tell("put", task.line, record)

    def _report(self, seconds: float) -> None:
        with self._changed:
            self._seconds += seconds

    def _tell(self, *event: Any, is_urgent: bool = False) -> None:
        with self._changed:
            self._events.append(event)
            self._is_urgent |= is_urgent
            self._changed.notify_all()


def missing_path_error(path: str) -> str:
    """Say that a file is not to be seen from this machine; "" where it is."""
    if Path(path).exists():
        return ""
    return (
        f"the machine {platform.node()} does not see {path}; keep it where all machines do, or "
        "give --out-dir as an address such as s3://bucket/clips"
    )
