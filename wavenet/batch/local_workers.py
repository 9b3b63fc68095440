"""Generate the clips of a batch with worker processes of this machine.

Input: a task queue, which receives the records. Each process runs a `ClipWorker` and requests one
task at a time, so that its batch stays full. If a process dies, its unfinished clips are retried.
Called by `run`.
"""

from dataclasses import replace
from multiprocessing.connection import Connection

from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.clip_worker import ClipWorker
from wavenet.batch.forkserver import WORKER_CONTEXT, start_forkserver
from wavenet.batch.tasks import ClipTask
from wavenet.progress import Progress
from wavenet.worker_pool import TaskQueue, TaskScheduler, WorkerPool, run_worker


def run_local_workers(
    settings: BatchSettings,
    execution: ExecutionConfig,
    count: int,
    tasks: TaskQueue[ClipTask],
    progress: Progress,
) -> None:
    """Generate the clips of all tasks with `count` processes.

    Args:
        progress: in seconds of audio.
    Raises:
        FolderError: the disk is full or not writable.
        WaveNetError: no worker can start.
    """
    from wavenet.devices import available_cores

    if execution.threads is None and 2 * count > available_cores():
        execution = replace(execution, threads=1)
    start_forkserver()
    scheduler = TaskScheduler(tasks, progress)
    WorkerPool(scheduler, WORKER_CONTEXT, clip_worker_main, (settings, execution)).run(count)


def clip_worker_main(pipe: Connection, settings: BatchSettings, execution: ExecutionConfig) -> None:
    """Generate clips in a worker process until the pool releases it."""
    worker = ClipWorker(settings, execution)
    run_worker(pipe, lambda connection: worker.run(connection, connection))
