"""Run a batch of effects: N recordings through M models, resumable.

Input: tasks of `effect_tasks`. Output: audio files, and the journal `results.jsonl`, as in a batch
of clips. A file that cannot be read or rendered costs only its own results. The same command
resumes an interrupted batch. Called by the command.
"""

import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from audio_utils.errors import AudioError
from wavenet.batch.clip_storage import LocalStorage, StoredFile
from wavenet.batch.clip_writer import Record
from wavenet.batch.effect_tasks import EffectBatchSettings, EffectTask, mark_unknown_file
from wavenet.batch.forkserver import WORKER_CONTEXT, start_forkserver
from wavenet.batch.journal import Journal
from wavenet.batch.output_folder import lock_output_folder
from wavenet.effects.load_effect import load_effect
from wavenet.effects.nam_model import NamModel
from wavenet.effects.rendering.render_file import RenderedFile, render_file
from wavenet.errors import ConditionError, FolderError, WaveNetError
from wavenet.progress import NoProgress, Progress
from wavenet.worker_pool import TaskQueue, TaskScheduler, WorkerPool, run_worker

MAX_RETRIES = 2  # of a file whose worker died while it worked only on this file
_COMPARED_FRAMES = 65_536


class EffectBatchProgress(Progress, Protocol):
    """Receives the progress of a batch; `advance` counts seconds of sound."""

    def skip_clip(self, task: EffectTask) -> None:
        """Count a file that an earlier call finished."""

    def finish_clip(self, task: EffectTask, record: Record) -> None:
        """Count a file that was written or failed."""


class NoEffectBatchProgress(NoProgress):
    """A progress that ignores everything."""

    def skip_clip(self, task: EffectTask) -> None:
        """Ignore a file."""

    def finish_clip(self, task: EffectTask, record: Record) -> None:
        """Ignore a file."""


@dataclass
class EffectBatchResult:
    """The result of a batch.

    Attributes:
        done: files written by this call.
        already_done: files finished by earlier calls.
        failed: files that failed.
        clipped: written files with samples beyond full scale.
        seconds: of sound in the files that this call wrote.
    """

    done: int = 0
    already_done: int = 0
    failed: int = 0
    clipped: int = 0
    seconds: float = 0.0


class EffectQueue(TaskQueue[EffectTask]):
    """The unfinished tasks of a batch; their records go to the journal.

    Args:
        tasks: all tasks.
        folder: of the files.
        journal: of the folder.
        overwrite: whether finished files are rendered again, and unknown ones replaced.
        progress: receives the finished tasks.
        stop: if it is set, no further task is started.
    Attributes:
        result: the counts so far.
    """

    def __init__(
        self,
        tasks: Sequence[EffectTask],
        folder: Path,
        journal: Journal,
        overwrite: bool,
        progress: EffectBatchProgress,
        stop: threading.Event,
    ):
        self.result = EffectBatchResult()
        self._tasks, self._journal, self._progress = iter(tasks), journal, progress
        self._storage, self._overwrite, self._stop = LocalStorage(folder), overwrite, stop

    def next_task(self) -> EffectTask | None:
        """Return the next task, or None if no tasks are left or the batch is to stop."""
        for task in self._tasks:
            if self._stop.is_set():
                return None
            if self._overwrite:
                return task
            stored = self._journal.find_finished(task.identity, task.params_hash)
            if stored is not None and self._storage.is_unchanged(task.output, *stored):
                self.result.already_done += 1
                self._progress.skip_clip(task)
            elif self._storage.exists(task.output) and not self._journal.has_file(task.output):
                return mark_unknown_file(task)
            else:
                return task
        return None

    def update_task(self, task: EffectTask, state: Any) -> None:
        """Do nothing, because workers do not report states."""

    def finish_task(self, task: EffectTask, result: Record) -> None:
        """Append a record to the journal and count it."""
        self._journal.append(result)
        if result["status"] == "done":
            self.result.done += 1
            self.result.seconds += result["seconds"]
            self.result.clipped += bool(result["clipped_samples"])
        else:
            self.result.failed += 1
        self._progress.finish_clip(task, result)

    def handle_crash(self, task: EffectTask, crashes: int) -> bool:
        """Record a task as failed if it killed too many workers; return whether to retry it."""
        if crashes <= MAX_RETRIES:
            return True
        self.finish_task(task, _failure(task, f"its worker died {crashes} times"))
        return False


class EffectTaskQueue(Protocol):
    """The tasks of a worker, and the destination of their records."""

    def next_task(self) -> EffectTask | None:
        """Return the next task, or None."""

    def finish_task(self, task: EffectTask, result: Record) -> None:
        """Store the record of a task."""


@dataclass
class EffectWorker:
    """Renders files; keeps the model of the last task.

    Attributes:
        settings: of all files.
        folder: of the files.
    """

    settings: EffectBatchSettings
    folder: Path
    _model: tuple[str, NamModel] | None = field(default=None)

    def run(self, tasks: EffectTaskQueue, progress: Progress) -> None:
        """Render files until no task is available.

        Raises:
            FolderError: the disk is full or not writable.
        """
        while (task := tasks.next_task()) is not None:
            try:
                record = self._render(task, progress)
            except FolderError:
                raise
            except (AudioError, WaveNetError) as error:
                if str(error).startswith("Cannot write") and isinstance(error.__cause__, OSError):
                    raise FolderError(str(error)) from None
                record = _failure(task, error)
            tasks.finish_task(task, record)

    def _render(self, task: EffectTask, progress: Progress) -> Record:
        rendered: list[RenderedFile] = []

        def write(path: Path) -> int:
            settings = self.settings
            found = render_file(
                Path(task.source),
                path,
                self._load(task.model),
                settings=settings.chain,
                response=None if settings.response is None else Path(settings.response),
                files=replace(settings.files, replace=True),
                progress=progress,
            )
            assert found is not None
            rendered.append(found)
            return found.clipped_samples

        if task.has_unknown_file:
            self._check_unknown_file(task, write)
        storage = LocalStorage(self.folder)
        return _success(task, storage.write(task.output, write), rendered[-1])

    def _load(self, path: str) -> NamModel:
        if self._model is None or self._model[0] != path:
            self._model = path, load_effect(Path(path)).model_at(self.settings.knobs)
        return self._model[1]

    def _check_unknown_file(self, task: EffectTask, write: Any) -> None:
        """Check that an existing file has the same sound: then a killed batch wrote it.

        Raises:
            ConditionError: it is another file.
        """
        with tempfile.TemporaryDirectory(prefix="wavenet-") as folder:
            path = Path(folder) / f"wet{Path(task.output).suffix}"
            write(path)
            if not _have_equal_samples(path, self.folder / task.output):
                raise ConditionError(
                    f"{task.output} exists and was not written by this batch; choose another "
                    "output or add --overwrite"
                )


def run_effect_batch(
    tasks: Sequence[EffectTask],
    settings: EffectBatchSettings,
    folder: Path,
    workers: int = 1,
    overwrite: bool = False,
    progress: EffectBatchProgress | None = None,
    stop: threading.Event | None = None,
) -> EffectBatchResult:
    """Render the files that are not finished.

    Args:
        tasks: of `plan_effect_tasks` with the same settings.
        settings: of all files.
        folder: of the files and the journal.
        workers: number of processes; 1 for this process only.
        overwrite: render finished files again, and replace unknown ones.
        progress: not shown by default.
        stop: if it is set, no further file is started.
    Raises:
        FolderInUse: another process writes to the folder.
        FolderError: the folder cannot be written.
        WaveNetError: no worker can start.
    """
    progress = progress or NoEffectBatchProgress()
    stop = stop or threading.Event()
    with lock_output_folder(folder), Journal(folder) as journal:
        queue = EffectQueue(tasks, folder, journal, overwrite, progress, stop)
        if workers == 1:
            EffectWorker(settings, folder).run(queue, progress)
        else:
            start_forkserver()
            scheduler = TaskScheduler(queue, progress)
            arguments = (settings, folder)
            WorkerPool(scheduler, WORKER_CONTEXT, effect_worker_main, arguments).run(workers)
        return queue.result


def effect_worker_main(pipe: Connection, settings: EffectBatchSettings, folder: Path) -> None:
    """Render files in a worker process until the pool releases it."""
    worker = EffectWorker(settings, folder)
    run_worker(pipe, lambda connection: worker.run(connection, connection))


def _success(task: EffectTask, stored: StoredFile, rendered: RenderedFile) -> Record:
    return {
        "id": task.identity,
        "status": "done",
        "file": task.output,
        "source": task.source,
        "model": task.model,
        "seconds": rendered.seconds,
        "times_real_time": rendered.seconds / max(rendered.elapsed, 1e-9),
        "sample_rate": rendered.sample_rate,
        "channels": rendered.channels,
        "clipped_samples": rendered.clipped_samples,
        "peak": rendered.peak,
        "bytes": stored.size,
        "sha256": stored.sha256,
        "params_hash": task.params_hash,
        "warnings": rendered.sentences(),
        "error": None,
    }


def _failure(task: EffectTask, error: Exception | str) -> Record:
    return {
        "id": task.identity,
        "status": "failed",
        "file": None,
        "source": task.source,
        "model": task.model,
        "params_hash": task.params_hash,
        "error": str(error),
    }


def _have_equal_samples(first: Path, second: Path) -> bool:
    """Return whether two files have equal samples; headers may differ, as by their time."""
    try:
        with soundfile.SoundFile(first) as a, soundfile.SoundFile(second) as b:
            if (a.samplerate, a.channels, a.frames, a.subtype) != (
                *(b.samplerate, b.channels, b.frames, b.subtype),
            ):
                return False
            while len(block := a.read(_COMPARED_FRAMES, dtype="float32")):
                if not np.array_equal(block, b.read(_COMPARED_FRAMES, dtype="float32")):
                    return False
            return True
    except soundfile.LibsndfileError:
        return False
