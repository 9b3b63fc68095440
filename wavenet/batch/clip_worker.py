"""Generate the clips of tasks in one process: several at once, with threads that write them.

Input: tasks of a `ClipTaskQueue`, one at a time. Output: records, which the same object receives.
Called by `run` in this process, by `local_workers` in processes of this machine, and by
`ray_worker` in Ray actors.
"""

import copy
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import torch

from audio_utils.errors import AudioError
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.clip_writer import Record, failure_record, write_clip
from wavenet.batch.tasks import ClipTask, load_checkpoint, make_request
from wavenet.checkpoint import Checkpoint
from wavenet.engines.engine import Engine
from wavenet.engines.registry import device_for
from wavenet.errors import FolderError, OutOfMemory, PredictionsNotFinite, WaveNetError
from wavenet.generation.batch_size import default_batch_size
from wavenet.generation.checkpoint_engine import make_checkpoint_engine
from wavenet.generation.generate import (
    DEFAULT_GUARD,
    GeneratedClip,
    generate_many,
    warm_up,
)
from wavenet.generation.request import GenerationRequest, prepare_clips
from wavenet.progress import CallbackProgress, Progress
from wavenet.sampling import rows_per_clip

WRITER_THREADS = 2
MAX_UNWRITTEN = 128  # clips that wait for a writer


class ClipTaskQueue(Protocol):
    """The tasks of a worker, and the destination of their records."""

    def next_task(self) -> ClipTask | None:
        """Return the next task, or None if there is no task for this worker at present."""

    def finish_task(self, task: ClipTask, record: Record) -> None:
        """Store the record of a task."""


@dataclass
class ClipWorker:
    """Generates clips; keeps one engine per checkpoint."""

    settings: BatchSettings
    execution: ExecutionConfig
    _engines: dict[str, tuple[Checkpoint, Engine[Any]]] = field(default_factory=dict)

    def run(self, tasks: ClipTaskQueue, progress: Progress) -> None:
        """Generate clips until no task is available.

        Args:
            tasks: source of tasks and receiver of records.
            progress: in seconds of audio.
        Raises:
            FolderError: the disk is full or not writable.
            DeviceError: the GPU was lost.
        """
        # the engine has its own threads; products in torch must not depend on the number of threads
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(WRITER_THREADS) as writers:
                generation = _ClipGeneration(self, tasks, progress, writers)
                try:
                    generation.run()
                finally:
                    writers.shutdown(cancel_futures=True)  # only after an error, clips still wait
        finally:
            torch.set_num_threads(threads)

    def load_engine(self, folder: str) -> tuple[Checkpoint, Engine[Any]]:
        """Return the engine of a checkpoint; it is loaded and warmed up at the first call."""
        if folder not in self._engines:
            checkpoint, _ = load_checkpoint(folder)
            execution = self.execution
            device = device_for(execution.engine, execution.device)
            if device.type != "cpu":
                # a copy, because rows are checked with the model on the CPU
                model = copy.deepcopy(checkpoint.model).to(device)
                checkpoint = Checkpoint(checkpoint.config, model, checkpoint.folder)
            engine = make_checkpoint_engine(
                execution.engine, checkpoint, self.settings.precision, execution.threads
            )
            with suppress(PredictionsNotFinite):  # recorded for each clip
                warm_up(checkpoint, engine)
            self._engines[folder] = checkpoint, engine
        return self._engines[folder]


class _ClipInProgress(NamedTuple):
    """A clip that is being generated.

    Attributes:
        started_at: in seconds of time.perf_counter.
    """

    task: ClipTask
    request: GenerationRequest
    started_at: float


class _ClipGeneration:
    """One run of a worker over its tasks."""

    def __init__(
        self,
        worker: ClipWorker,
        tasks: ClipTaskQueue,
        progress: Progress,
        writers: ThreadPoolExecutor,
    ):
        self._worker, self._tasks, self._progress = worker, tasks, progress
        self._writers = writers
        self._pending: ClipTask | None = None  # received, not started; may be of another group
        self._active: dict[int, _ClipInProgress] = {}
        self._unwritten: deque[tuple[ClipTask, Future[Record]]] = deque()

    def run(self) -> None:
        """Generate clips until no task is available."""
        self._pending = self._tasks.next_task()
        while self._pending is not None:
            self._run_group(self._pending)

    def _run_group(self, first: ClipTask) -> None:
        """Generate clips in parallel while the tasks belong to the group of the first task."""
        checkpoint, engine = self._worker.load_engine(first.checkpoint)
        batch_size = self._worker.execution.batch_size or default_batch_size(
            checkpoint, engine, rows_per_clip(first.sampling)
        )
        try:
            self._generate(self._read_requests(first.group), first, batch_size)
        except (OutOfMemory, PredictionsNotFinite):
            # one of the clips fails, and it is not known which: generate them one by one
            if self._pending is None:
                self._pending = self._tasks.next_task()
            for active in list(self._active.values()):
                self._active = {0: active}
                try:
                    self._generate([active.request], active.task, 1)
                except (OutOfMemory, PredictionsNotFinite) as error:
                    self._tasks.finish_task(active.task, failure_record(active.task, error))
        while self._unwritten:
            self._finish_oldest()

    def _generate(
        self, requests: Iterable[GenerationRequest], first: ClipTask, batch_size: int
    ) -> None:
        """Generate requests with the checkpoint and the sampling of a task."""
        checkpoint, engine = self._worker.load_engine(first.checkpoint)
        rate = checkpoint.config.audio.sample_rate

        def report(samples: float) -> None:
            self._progress.advance(samples / rate)
            self._finish_written()

        clips = generate_many(
            checkpoint,
            requests,
            first.sampling,
            engine,
            DEFAULT_GUARD if self._worker.settings.guard else None,
            CallbackProgress(report, self._progress.message),
            batch_size,
        )
        for clip in clips:
            self._write(checkpoint, clip)

    def _read_requests(self, group: tuple[str, str]) -> Iterator[GenerationRequest]:
        """Yield the requests of one group; the first task of the next group stays in `_pending`."""
        self._active, index = {}, 0
        while self._pending is not None and self._pending.group == group:
            task, self._pending = self._pending, None
            try:
                request = make_request(task)
                if task.prompt_file is not None or task.condition_file is not None:
                    # the files may have changed since they were checked
                    checkpoint, _ = load_checkpoint(task.checkpoint)
                    prepare_clips(checkpoint, [request], task.sampling, None)
            except (AudioError, WaveNetError) as error:
                self._tasks.finish_task(task, failure_record(task, error))
            else:
                self._active[index] = _ClipInProgress(task, request, time.perf_counter())
                index += 1
                yield request
            self._pending = self._tasks.next_task()

    def _write(self, checkpoint: Checkpoint, clip: GeneratedClip) -> None:
        """Send a complete clip to a writer thread; block while too many clips are unwritten."""
        active = self._active.pop(clip.index)
        elapsed = time.perf_counter() - active.started_at
        settings, execution = self._worker.settings, self._worker.execution
        future = self._writers.submit(
            write_clip, checkpoint, settings, execution, active.task, active.request, clip, elapsed
        )
        self._unwritten.append((active.task, future))
        while len(self._unwritten) > MAX_UNWRITTEN:
            self._finish_oldest()

    def _finish_written(self) -> None:
        """Report clips that are written, without waiting."""
        while self._unwritten and self._unwritten[0][1].done():
            self._finish_oldest()

    def _finish_oldest(self) -> None:
        """Wait until the oldest clip is written, and report its record."""
        task, future = self._unwritten.popleft()
        try:
            record = future.result()
        except FolderError:
            raise
        except (AudioError, WaveNetError) as error:
            record = failure_record(task, error)
        self._tasks.finish_task(task, record)
