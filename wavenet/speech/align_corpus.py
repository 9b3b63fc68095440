"""Align all clips of a speech corpus with worker processes, and resume an interrupted run.

Input: a folder in the layout of LJSpeech. Output: `alignment.jsonl`. The lines of an earlier run
are kept if text, pronunciations and recording are the same. A clip that fails, or that ends the
process that aligns it, is recorded with its reason. The result does not depend on the number of
workers. Called by the command.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wavenet import __version__
from wavenet.errors import DataError, WaveNetError
from wavenet.folder_lock import lock_folder
from wavenet.progress import NoProgress, Progress
from wavenet.speech.align_clip import (
    AlignPhones,
    WordToAlign,
    align_clip,
    compute_digest,
    read_words,
)
from wavenet.speech.alignment_file import (
    MAX_ERROR,
    AlignedClip,
    AlignmentHeader,
    AlignmentWriter,
    FailedClip,
    partial_path,
    read_reusable,
    write_alignment,
)
from wavenet.speech.forced_alignment import align_phones, aligner_version
from wavenet.speech.speech_corpus import SpeechClip, list_clips
from wavenet.terminal import escape_controls
from wavenet.worker_pool import (
    TaskQueue,
    TaskScheduler,
    WorkerConnection,
    WorkerPool,
    run_worker,
)

MAX_DEFAULT_WORKERS = 8
MAX_CRASHES = 1  # of a clip that is retried alone
MAX_FAILED_BEFORE_SUCCESS = 5  # clips that ended their process before any clip was aligned


@dataclass(frozen=True)
class CorpusAlignment:
    """The result of a run.

    Attributes:
        clips, failed: the lines of the file, in the order of the corpus.
        problems: one sentence for each line of the table that has no clip.
        reused: number of clips of an earlier run.
    """

    clips: tuple[AlignedClip, ...]
    failed: tuple[FailedClip, ...]
    problems: tuple[str, ...]
    reused: int


@dataclass(frozen=True)
class AlignmentTask:
    """A clip to align; `key` is its position in the corpus."""

    key: int
    clip: SpeechClip
    words: tuple[WordToAlign, ...]
    digest: str


@dataclass
class AlignmentQueue(TaskQueue[AlignmentTask]):
    """The clips as tasks; writes each line when it arrives."""

    tasks: Iterator[AlignmentTask]
    writer: AlignmentWriter
    progress: Progress
    lines: dict[int, AlignedClip | FailedClip] = field(default_factory=dict)
    crashed: int = 0
    has_success: bool = False

    def next_task(self) -> AlignmentTask | None:
        """Return the next clip, or None if no clips are left."""
        return next(self.tasks, None)

    def update_task(self, task: AlignmentTask, state: Any) -> None:
        """Do nothing: a clip has no states."""

    def finish_task(self, task: AlignmentTask, result: AlignedClip | FailedClip) -> None:
        """Store and write the line of a clip; failures are tried again by the next run."""
        self.lines[task.key] = result
        if isinstance(result, AlignedClip):
            self.has_success = True
            self.writer.append(result)
        self.progress.advance(1)

    def handle_crash(self, task: AlignmentTask, crashes: int) -> bool:
        """Record a clip that ended a process alone; return whether to try it again.

        Raises:
            WaveNetError: several clips ended a process, and no clip was aligned.
        """
        if crashes < MAX_CRASHES:
            return True
        self.crashed += 1
        if not self.has_success and self.crashed >= MAX_FAILED_BEFORE_SUCCESS:
            raise WaveNetError(
                f"the aligner ended its process for {self.crashed} clips and aligned none; "
                "reinstall pocketsphinx, or report this"
            )
        error = f"{task.clip.audio} ended the process that aligned it; check the recording"
        self.finish_task(task, _make_failure(task.clip, error))
        return False


def align_corpus(
    folder: Path,
    out: Path,
    pronunciations: Mapping[str, str] | None = None,
    workers: int | None = None,
    open_progress: Callable[[int], AbstractContextManager[Progress]] = lambda clips: nullcontext(
        NoProgress()
    ),
    aligner: AlignPhones = align_phones,
    version: Callable[[], str] = aligner_version,
) -> CorpusAlignment:
    """Align the clips of a folder, and write the alignment.

    Args:
        folder: in the layout of LJSpeech.
        out: the file to write: new, or an earlier alignment.
        pronunciations: of the user, as in `text_to_phones`.
        workers: number of processes; by default one per core, at most 8.
        open_progress: called with the number of clips that are aligned; counts clips.
        aligner: a function of a module, because it is sent to the workers.
        version: returns the name and version of the aligner.
    Raises:
        ConfigError: pocketsphinx is not installed.
        ConditionError: a pronunciation is invalid.
        DataError: the folder has no clips, or `out` is another file.
        FolderInUse, FolderError: `out` is being written by another process, or cannot be written.
    """
    header = AlignmentHeader(aligner=version(), program=__version__)
    corpus = list_clips(folder)
    partial = partial_path(out)
    with lock_folder(out.parent):
        earlier = read_reusable(out, header) | read_reusable(partial, header)
        tasks, lines = _prepare_tasks(folder, corpus.clips, pronunciations or {}, earlier)
        kept = [line for line in lines.values() if isinstance(line, AlignedClip)]
        if tasks:
            with (
                AlignmentWriter(partial, header, kept) as writer,
                open_progress(len(tasks)) as progress,
            ):
                queue = AlignmentQueue(iter(tasks), writer, progress, lines)
                _run_workers(queue, folder, aligner, min(workers or _default_workers(), len(tasks)))
        ordered = [lines[n] for n in sorted(lines)]
        clips = tuple(line for line in ordered if isinstance(line, AlignedClip))
        failed = tuple(line for line in ordered if isinstance(line, FailedClip))
        finished = AlignmentHeader(
            aligner=header.aligner,
            program=header.program,
            clips=len(clips),
            failed=len(failed),
        )
        write_alignment(out, finished, ordered)
        partial.unlink(missing_ok=True)
    return CorpusAlignment(clips, failed, corpus.problems, len(kept))


def _prepare_tasks(
    folder: Path,
    clips: Sequence[SpeechClip],
    pronunciations: Mapping[str, str],
    earlier: Mapping[str, AlignedClip],
) -> tuple[list[AlignmentTask], dict[int, AlignedClip | FailedClip]]:
    """Return the clips to align, and the lines of the others by position."""
    tasks = []
    lines: dict[int, AlignedClip | FailedClip] = {}
    for key, clip in enumerate(clips):
        try:
            words = read_words(clip.text, pronunciations)
            digest = compute_digest(folder, clip, words)
        except DataError as error:
            lines[key] = _make_failure(clip, str(error))
            continue
        before = earlier.get(clip.id)
        if before is not None and before.digest == digest:
            lines[key] = before
        else:
            tasks.append(AlignmentTask(key, clip, words, digest))
    return tasks, lines


def _run_workers(queue: AlignmentQueue, folder: Path, aligner: AlignPhones, count: int) -> None:
    scheduler = TaskScheduler(queue, queue.progress)
    # spawned, not forked: the libraries of this process may have threads
    context = multiprocessing.get_context("spawn")
    WorkerPool(scheduler, context, align_worker_main, (folder, aligner)).run(count)


def align_worker_main(pipe: Connection, folder: Path, aligner: AlignPhones) -> None:
    """Align clips in a worker process until the pool releases it."""

    def work(connection: WorkerConnection[AlignmentTask]) -> None:
        while (task := connection.next_task()) is not None:
            connection.finish_task(task, _align_task(task, folder, aligner))

    run_worker(pipe, work)


def _align_task(
    task: AlignmentTask, folder: Path, aligner: AlignPhones
) -> AlignedClip | FailedClip:
    try:
        return align_clip(folder, task.clip, task.words, task.digest, aligner)
    except DataError as error:
        return _make_failure(task.clip, str(error))


def _make_failure(clip: SpeechClip, error: str) -> FailedClip:
    # escaped, because the path of a folder may have bytes that are not UTF-8
    return FailedClip(id=clip.id, error=escape_controls(error)[:MAX_ERROR])


def _default_workers() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return min(cores, MAX_DEFAULT_WORKERS)
