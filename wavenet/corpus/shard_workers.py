"""Write the shards of a corpus with worker processes; skip a file that crashes them.

Input: blocks, each a task of a worker pool. Output: shards and summaries, which `shard_writer`
writes. A worker reports each file before reading it: the last reported file is the one that crashed
the worker. The block is then retried, and a file that crashed two workers is skipped. Called by
`prepare`.
"""

import multiprocessing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from wavenet.corpus.file_listing import FileBlock
from wavenet.corpus.format import CorpusSettings
from wavenet.errors import WaveNetError
from wavenet.progress import Progress
from wavenet.worker_pool import (
    MAX_FAILED_STARTS,
    TaskQueue,
    TaskScheduler,
    WorkerConnection,
    WorkerPool,
    run_worker,
)

MAX_FILE_CRASHES = 2  # a file is skipped after this number of workers died while they read it
BEFORE_FIRST_FILE = -1


@dataclass
class ShardTask:
    """A block whose shard is to be written.

    Attributes:
        crashes: number of workers that died, by the index of the file that they read.
        current_file: index of the file that is being read.
    """

    block: FileBlock
    crashes: Counter[int] = field(default_factory=Counter)
    current_file: int = BEFORE_FIRST_FILE

    @property
    def key(self) -> int:
        """Number of the task in a worker pool."""
        return self.block.number

    @property
    def files_done(self) -> int:
        """Number of files read so far."""
        return max(self.current_file, 0)

    @property
    def crashing_files(self) -> set[int]:
        """Indices of the files to skip."""
        return {n for n, count in self.crashes.items() if count >= MAX_FILE_CRASHES}


class ShardQueue(TaskQueue[ShardTask]):
    """The blocks of a corpus as tasks; `progress` counts files."""

    def __init__(self, blocks: Sequence[FileBlock], progress: Progress):
        self._tasks = map(ShardTask, blocks)
        self._progress = progress

    def next_task(self) -> ShardTask | None:
        """Return the next block, or None if no blocks are left."""
        return next(self._tasks, None)

    def update_task(self, task: ShardTask, state: int) -> None:
        """Store the index of the file that is read next, and count those before it."""
        before, task.current_file = task.files_done, state
        self._progress.advance(task.files_done - before)

    def finish_task(self, task: ShardTask, result: None) -> None:
        """Count the remaining files of a block."""
        self._progress.advance(len(task.block.paths) - task.files_done)

    def handle_crash(self, task: ShardTask, crashes: int) -> bool:
        """Record the file that the worker was reading, and return True.

        Raises:
            WaveNetError: several workers died before they read a file of this block.
        """
        task.crashes[task.current_file] += 1
        if task.crashes[BEFORE_FIRST_FILE] >= MAX_FAILED_STARTS:
            raise WaveNetError(
                f"{MAX_FAILED_STARTS} workers died before they read a file; use fewer workers: "
                "--workers 1"
            )
        self._progress.advance(-task.files_done)
        task.current_file = BEFORE_FIRST_FILE
        return True


def write_shards(
    folder: Path,
    settings: CorpusSettings,
    blocks: Sequence[FileBlock],
    workers: int,
    progress: Progress,
) -> None:
    """Write the shards of blocks with worker processes.

    Args:
        folder: of the corpus.
        workers: maximum number of processes.
        progress: in files; negative if files must be read again.
    Raises:
        FolderError: the corpus cannot be written.
        WaveNetError: no worker can start.
    """
    scheduler = TaskScheduler(ShardQueue(blocks, progress), progress)
    # spawned, not forked: a worker needs little memory without the libraries of this process
    context = multiprocessing.get_context("spawn")
    pool = WorkerPool(scheduler, context, shard_worker_main, (folder, settings))
    pool.run(min(workers, len(blocks)))


def shard_worker_main(pipe: Connection, folder: Path, settings: CorpusSettings) -> None:
    """Write shards in a worker process until the pool releases it."""
    # imported here, because only workers need the decoders
    from wavenet.corpus.shard_writer import write_shard

    def work(connection: WorkerConnection[Any]) -> None:
        while (task := connection.next_task()) is not None:
            report_file = partial(connection.update_task, task)
            write_shard(folder, settings, task.block, task.crashing_files, report_file)
            connection.finish_task(task, None)

    run_worker(pipe, work)
