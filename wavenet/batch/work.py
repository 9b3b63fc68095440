"""Tasks -> files and records, in one process: several clips at once, written while others are made.

`take` gives tasks one at a time, `put` takes the record of each that ended. Called by `run`, or in
a process of its own by `crew`.
"""

import copy
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from audio_utils.errors import AudioError
from wavenet.batch.finish import Place, Record, failed, finish
from wavenet.batch.tasks import Settings, Task, load_model, make_item
from wavenet.checkpoint import Checkpoint
from wavenet.engines.base import Engine
from wavenet.engines.registry import device_for, make_engine
from wavenet.errors import FolderError, OutOfMemory, WaveNetError
from wavenet.generation.generate import DEFAULT_GUARD, GeneratedClip, generate_many, warm_up
from wavenet.generation.request import GenerationRequest, prepare_clips
from wavenet.progress import CallbackProgress
from wavenet.sampling import rows_per_clip

MOST_ON_CPU, MOST_ON_GPU = 64, 1024
STATE_BYTES = 1 << 30  # for what the layers of all clips remember, copies included
COPIES = 4
WRITERS, UNWRITTEN = 2, 128


@dataclass(frozen=True)
class Session:
    """What a worker is given and asked for.

    Attributes:
        take: the next task; None when there is none for now.
        put: takes the record of a task that ended.
        report: told the seconds of audio made; below 0 where some are made again.
        say: told a sentence.
        is_stopping: says whether nothing more is to be begun.
    """

    take: Callable[[], Task | None]
    put: Callable[[Task, Record], None]
    report: Callable[[float], None] = lambda seconds: None
    say: Callable[[str], None] = lambda sentence: None
    is_stopping: Callable[[], bool] = lambda: False


@dataclass
class Worker:
    """Makes clips; keeps an engine for each checkpoint."""

    settings: Settings
    where: Place
    _engines: dict[str, tuple[Checkpoint, Engine[Any]]] = field(default_factory=dict)

    def work(self, session: Session) -> None:
        """Make clips until there are no tasks.

        Raises:
            FolderError: nothing more can be written.
            DeviceError: the device is lost.
        """
        # the engine has threads of its own, and torch's products must not depend on their number
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(WRITERS) as writers:
                line = _Line(self, session, writers)
                try:
                    line.held = session.take()
                    while line.held is not None:
                        line.run_group(line.held.group)
                finally:
                    writers.shutdown(cancel_futures=True)  # there are some only after a fault
        finally:
            torch.set_num_threads(threads)

    def engine(self, folder: str) -> tuple[Checkpoint, Engine[Any]]:
        """Load and warm up once."""
        if folder not in self._engines:
            loaded, _ = load_model(folder)
            where = self.where
            device = device_for(where.engine, where.device)
            if device.type != "cpu":
                # a copy: rows are still checked on the CPU
                model = copy.deepcopy(loaded.model).to(device)
                loaded = Checkpoint(loaded.config, model, loaded.folder)
            runner = make_engine(where.engine, loaded.model, self.settings.precision, where.threads)
            warm_up(loaded, runner)
            self._engines[folder] = loaded, runner
        return self._engines[folder]


def clips_at_once(checkpoint: Checkpoint, engine: Engine[Any], rows: int) -> int:
    """Choose how many clips to make at once, of so many rows each, by memory."""
    size, on_cpu = engine.state_bytes(rows), checkpoint.model.device.type == "cpu"
    return max(1, min(MOST_ON_CPU if on_cpu else MOST_ON_GPU, STATE_BYTES // (size * COPIES)))


class _Line:
    """The clips of one session."""

    def __init__(self, worker: Worker, session: Session, writers: ThreadPoolExecutor):
        self.held: Task | None = None  # taken, and perhaps of another group
        self._worker, self._session, self._writers = worker, session, writers
        self._running: dict[int, tuple[Task, GenerationRequest, float]] = {}
        self._unwritten: deque[tuple[Task, Future[Record]]] = deque()

    def run_group(self, group: tuple[str, str]) -> None:
        """Make clips that can be made together, as long as the next one is of their kind."""
        assert self.held is not None
        worker, sampling = self._worker, self.held.sampling
        loaded, runner = worker.engine(self.held.checkpoint)
        rows = rows_per_clip(sampling)
        together = worker.where.together or clips_at_once(loaded, runner, rows)
        try:
            self._make(self._items(group), self.held, together)
        except OutOfMemory:
            # one clip was too much, and which of those under way it was is not known
            if self.held is None:
                self.held = self._session.take()
            for task, item, began in list(self._running.values()):
                self._running = {0: (task, item, began)}
                try:
                    self._make([item], task, 1)
                except OutOfMemory as error:
                    self._session.put(task, failed(task, error))
        while self._unwritten:
            self._write_one()

    def _make(self, items: Iterable[GenerationRequest], like: Task, together: int) -> None:
        loaded, runner = self._worker.engine(like.checkpoint)
        rate, session = loaded.config.audio.sample_rate, self._session

        def report(samples: float) -> None:
            session.report(samples / rate)
            self._write_done()

        clips = generate_many(
            loaded,
            items,
            like.sampling,
            runner,
            DEFAULT_GUARD if self._worker.settings.guard else None,
            CallbackProgress(report, session.say),
            together,
        )
        for clip in clips:
            self._keep(loaded, clip)

    def _items(self, group: tuple[str, str]) -> Iterator[GenerationRequest]:
        self._running, count = {}, 0
        while self.held is not None and self.held.group == group:
            task, self.held = self.held, None
            try:
                item = make_item(task)
                if task.prompt is not None or task.condition is not None:
                    # files may have changed since they were checked
                    prepare_clips(load_model(task.checkpoint)[0], [item], task.sampling, None)
            except (AudioError, WaveNetError) as error:
                self._session.put(task, failed(task, error))
            else:
                self._running[count] = task, item, time.perf_counter()
                count += 1
                yield item
            self.held = self._session.take()

    def _keep(self, loaded: Checkpoint, clip: GeneratedClip) -> None:
        task, item, began = self._running.pop(clip.index)
        took = time.perf_counter() - began
        worker = self._worker
        job = self._writers.submit(
            finish, loaded, worker.settings, worker.where, task, item, clip, took
        )
        self._unwritten.append((task, job))
        while len(self._unwritten) > UNWRITTEN:
            self._write_one()

    def _write_done(self) -> None:
        while self._unwritten and self._unwritten[0][1].done():
            self._write_one()

    def _write_one(self) -> None:
        task, job = self._unwritten.popleft()
        try:
            record = job.result()
        except FolderError:
            raise
        except (AudioError, WaveNetError) as error:
            record = failed(task, error)
        self._session.put(task, record)
