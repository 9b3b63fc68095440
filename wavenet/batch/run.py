"""A manifest -> files and `results.jsonl`, from wherever it was left.

First every row is checked, and nothing is made if one cannot be. Then what the journal does not
call done is made. The same command goes on after whatever stopped it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from audio_utils.errors import AudioError
from wavenet.batch.clip_storage import open_remote_storage
from wavenet.batch.clip_worker import ClipWorker, Session
from wavenet.batch.clip_writer import ExecutionConfig, Record
from wavenet.batch.journal import Journal
from wavenet.batch.local_workers import run_crew
from wavenet.batch.manifest import InvalidRow, ManifestRow, read_rows
from wavenet.batch.manifest_columns import column_value
from wavenet.batch.output_folder import WHOLE, Shard, has_no_results, lock_output_folder
from wavenet.batch.output_names import collision_key
from wavenet.batch.ray_driver import run_ray_workers
from wavenet.batch.tasks import BatchSettings, ClipTask, make_task, noise_stream
from wavenet.errors import CheckpointError, ConditionError, WaveNetError

BLOCK = 4096  # rows that are ordered by length, the longest first
SHOWN_FAULTS = 50
MAX_SENTENCE = 500  # a cell may hold a book, and be in it


@dataclass(frozen=True)
class RunOptions:
    """Which rows are made, and what happens when one cannot be.

    Attributes:
        shard: (k, n), the k-th of n parts, counted from 1.
        overwrite: make again what is done.
        limit: most rows.
        fail_fast: end at the first clip that fails.
        max_retries: of a clip whose worker was killed while it alone was made.
        skip_bad: make the others although some rows cannot be.
    """

    shard: tuple[int, int] = WHOLE
    overwrite: bool = False
    limit: int | None = None
    fail_fast: bool = False
    max_retries: int = 2
    skip_bad: bool = False


@dataclass
class BatchPlan:
    """What a manifest asks for.

    Attributes:
        rows: of this shard, those that cannot be used included.
        good: rows that can be made, and what they last together in seconds.
        faults: the first of them; bad: how many there are.
    """

    rows: int = 0
    good: int = 0
    seconds: float = 0.0
    faults: list[InvalidRow] = field(default_factory=list)
    bad: int = 0

    def add_fault(self, fault: InvalidRow) -> None:
        """Count a fault."""
        self.bad += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(fault)


@dataclass
class BatchResult:
    """How a batch ended: clips done now and before, failed, and seconds of audio made now."""

    done: int = 0
    before: int = 0
    failed: int = 0
    seconds: float = 0.0


def check_manifest(
    manifest: Path, settings: BatchSettings, wanted: RunOptions, where: ExecutionConfig
) -> BatchPlan:
    """Check every row, and that no two of them share an id or a file.

    Raises:
        DataError: the manifest cannot be read.
        CheckpointError: the one that holds for all rows cannot be used.
        ConditionError: a file would be replaced that is not of a batch.
        FolderError: a place for clips cannot be reached.
    """
    plan = BatchPlan()
    foreign = has_no_results(where.folder) and not wanted.overwrite
    store = where.store
    store.look()
    for found in _checked(manifest, settings, wanted, where.folder):
        plan.rows += 1
        if isinstance(found, InvalidRow):
            plan.add_fault(found)
            continue
        plan.good += 1
        plan.seconds += found.seconds
        if foreign and store.has(found.output):
            raise ConditionError(
                f"{where.remote or where.folder}/{found.output} exists, and no results.jsonl in "
                f"{where.folder} says that a batch made it; choose another --out-dir or add "
                "--overwrite"
            )
    return plan


def run_batch(
    manifest: Path,
    settings: BatchSettings,
    wanted: RunOptions,
    where: ExecutionConfig,
    workers: int | None = 1,
    show: Callable[[ClipTask, Record | None], None] = lambda task, record: None,
    report: Callable[[float], None] = lambda seconds: None,
    say: Callable[[str], None] = lambda sentence: None,
    stopping: threading.Event | None = None,
) -> BatchResult:
    """Make what is not done.

    Args:
        manifest: checked before; rows that cannot be used are recorded as failed.
        workers: processes, 1 is this one; on a cluster actors, as many as fit when None.
        show: called with each clip that ended, without a record if it was done before.
        report: called with seconds of audio made, below 0 where some are made again.
        stopping: once it is set nothing more is begun.
    Raises:
        FolderInUse: another process writes into the folder.
        FolderError: it cannot be written.
        DeviceError: the device is lost.
        WaveNetError: workers cannot begin, or a cluster is lost.
    """
    tally, stop = BatchResult(), stopping or threading.Event()
    with (
        lock_output_folder(where.folder, wanted.shard),
        Journal(where.folder, wanted.shard) as journal,
    ):
        waiting = _waiting(manifest, settings, wanted, where, journal, tally, show)

        def take() -> ClipTask | None:
            return None if stop.is_set() else next(waiting, None)

        def put(task: ClipTask, record: Record) -> None:
            journal.append(record)
            if record["status"] == "done":
                tally.done += 1
                tally.seconds += record["seconds"]
            else:
                tally.failed += 1
                if wanted.fail_fast:
                    stop.set()
            show(task, record)

        session = Session(take, put, report, say, stop.is_set)
        retries = wanted.max_retries
        with _copied(journal.path, where, wanted.shard):
            if where.cluster is not None:
                run_ray_workers(settings, where, workers, session, retries, journal.path)
            elif workers in (1, None):
                ClipWorker(settings, where).work(session)
            else:
                run_crew(settings, where, workers, session, retries)
    return tally


@contextmanager
def _copied(journal: Path, where: ExecutionConfig, shard: Shard) -> Iterator[None]:
    """Leave a copy of the journal beside clips that are elsewhere.

    Raises:
        FolderError: nothing can be written there, which is found out before anything is made.
    """
    if where.remote is None:
        yield
        return
    remote = open_remote_storage(where.remote)
    remote.send(journal, journal.name)
    yield
    remote.send(journal, journal.name)
    if shard == WHOLE:  # what others are writing looks the same
        remote.sweep()


def _checked(
    manifest: Path, settings: BatchSettings, wanted: RunOptions, folder: Path
) -> Iterator[ClipTask | InvalidRow]:
    """Turn the rows of this shard into tasks; in all shards the same rows are twins."""
    part, parts = wanted.shard
    seen: dict[bytes, int] = {}
    count = 0
    for row in read_rows(manifest):
        found = _check_row(row, settings, folder, seen)
        identity = str(row.line) if isinstance(found, InvalidRow) else found.identity
        if noise_stream(identity) % parts != part - 1:
            continue
        if wanted.limit is not None and count >= wanted.limit:
            return
        count += 1
        yield found


def _check_row(
    row: ManifestRow | InvalidRow, settings: BatchSettings, folder: Path, seen: dict[bytes, int]
) -> ClipTask | InvalidRow:
    if isinstance(row, InvalidRow):
        return row
    try:
        task = make_task(row, settings)
    except (WaveNetError, AudioError) as error:
        if isinstance(error, CheckpointError) and column_value(row.values, "checkpoint") is None:
            raise  # it is the same in all rows
        return InvalidRow(row.line, str(error)[:MAX_SENTENCE])
    file = collision_key(task.output)
    for what, name, key in (
        ("id", task.identity, b"i" + collision_key(task.identity)),
        ("file", task.output, file),
    ):
        before = seen.setdefault(key, row.line)
        if before != row.line:
            return InvalidRow(row.line, f"has the {what} {name!r}, as line {before} has")
    for path in filter(None, (task.prompt, task.condition)):
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
        seen.setdefault(b"r" + collision_key(inside), row.line)
        if collision_key(inside) in seen:
            return InvalidRow(
                row.line, f"reads {path}, which line {seen[collision_key(inside)]} writes"
            )
    if b"r" + file in seen:
        line = seen[b"r" + file]
        return InvalidRow(row.line, f"writes {task.output}, which line {line} reads")
    return task


def _waiting(
    manifest: Path,
    settings: BatchSettings,
    wanted: RunOptions,
    where: ExecutionConfig,
    journal: Journal,
    tally: BatchResult,
    show: Callable[[ClipTask, Record | None], None],
) -> Iterator[ClipTask]:
    """Give the tasks that are to be made, those that share most side by side."""
    found, store = _checked(manifest, settings, wanted, where.folder), where.store
    store.look()

    def is_done(task: ClipTask) -> bool:
        kept = journal.recall(task.identity, task.params_hash)
        return kept is not None and store.holds(task.output, *kept)

    while block := list(islice(found, BLOCK)):
        tasks = []
        for task in block:
            if isinstance(task, InvalidRow):
                tally.failed += 1
                journal.append(
                    {"id": None, "status": "failed", "line": task.line, "error": task.sentence}
                )
            elif not wanted.overwrite and is_done(task):
                tally.before += 1
                show(task, None)
            else:
                tasks.append(task)
        yield from sorted(tasks, key=lambda task: (task.group, -task.samples))
