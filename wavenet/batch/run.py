"""A manifest -> files and `results.jsonl`, from wherever it was left.

First every row is checked, and nothing is made if one cannot be. Then what the journal does not
call done is made. The same command goes on after whatever stopped it.
"""

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from audio_utils.errors import AudioError
from wavenet.batch.columns import cell
from wavenet.batch.crew import run_crew
from wavenet.batch.finish import Place, Record
from wavenet.batch.folder import WHOLE, hold_part, is_new
from wavenet.batch.journal import Journal
from wavenet.batch.names import twin_key
from wavenet.batch.rows import Fault, Row, read_rows
from wavenet.batch.tasks import Settings, Task, make_task, noise_key
from wavenet.batch.work import Session, Worker
from wavenet.errors import CheckpointError, ConditionError, WaveNetError

BLOCK = 4096  # rows that are ordered by length, the longest first
SHOWN_FAULTS = 50
MAX_SENTENCE = 500  # a cell may hold a book, and be in it


@dataclass(frozen=True)
class Wanted:
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
class Plan:
    """What a manifest asks for.

    Attributes:
        rows: of this shard, those that cannot be used included.
        good: rows that can be made, and what they last together in seconds.
        faults: the first of them; bad: how many there are.
    """

    rows: int = 0
    good: int = 0
    seconds: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    bad: int = 0

    def add_fault(self, fault: Fault) -> None:
        """Count a fault."""
        self.bad += 1
        if len(self.faults) < SHOWN_FAULTS:
            self.faults.append(fault)


@dataclass
class Tally:
    """How a batch ended: clips done now and before, failed, and seconds of audio made now."""

    done: int = 0
    before: int = 0
    failed: int = 0
    seconds: float = 0.0


def check(manifest: Path, settings: Settings, wanted: Wanted, folder: Path) -> Plan:
    """Check every row, and that no two of them share an id or a file.

    Raises:
        DataError: the manifest cannot be read.
        CheckpointError: the one that holds for all rows cannot be used.
        ConditionError: a file would be replaced that is not of a batch.
    """
    plan = Plan()
    foreign = is_new(folder) and not wanted.overwrite
    for found in _checked(manifest, settings, wanted, folder):
        plan.rows += 1
        if isinstance(found, Fault):
            plan.add_fault(found)
            continue
        plan.good += 1
        plan.seconds += found.seconds
        if foreign and os.path.lexists(folder / found.output):
            raise ConditionError(
                f"{folder / found.output} exists, and no results.jsonl beside it says that a batch "
                "made it; choose another --out-dir or add --overwrite"
            )
    return plan


def run(
    manifest: Path,
    settings: Settings,
    wanted: Wanted,
    where: Place,
    workers: int = 1,
    show: Callable[[Task, Record | None], None] = lambda task, record: None,
    report: Callable[[float], None] = lambda seconds: None,
    say: Callable[[str], None] = lambda sentence: None,
    stopping: threading.Event | None = None,
) -> Tally:
    """Make what is not done.

    Args:
        manifest: checked before; rows that cannot be used are recorded as failed.
        workers: processes; 1 is this one.
        show: called with each clip that ended, without a record if it was done before.
        report: called with seconds of audio made, below 0 where some are made again.
        stopping: once it is set nothing more is begun.
    Raises:
        FolderInUse: another process writes into the folder.
        FolderError: it cannot be written.
        DeviceError: the device is lost.
    """
    tally, stop = Tally(), stopping or threading.Event()
    with hold_part(where.folder, wanted.shard), Journal(where.folder, wanted.shard) as journal:
        waiting = _waiting(manifest, settings, wanted, where.folder, journal, tally, show)

        def take() -> Task | None:
            return None if stop.is_set() else next(waiting, None)

        def put(task: Task, record: Record) -> None:
            journal.append(record)
            if record["status"] == "done":
                tally.done += 1
                tally.seconds += record["seconds"]
            else:
                tally.failed += 1
                if wanted.fail_fast:
                    stop.set()
            show(task, record)

        session = Session(take, put, report, say)
        if workers == 1:
            Worker(settings, where).work(session)
        else:
            run_crew(settings, where, workers, session, wanted.max_retries)
    return tally


def _checked(
    manifest: Path, settings: Settings, wanted: Wanted, folder: Path
) -> Iterator[Task | Fault]:
    """Turn the rows of this shard into tasks; in all shards the same rows are twins."""
    part, parts = wanted.shard
    seen: dict[bytes, int] = {}
    count = 0
    for row in read_rows(manifest):
        found = _check_row(row, settings, folder, seen)
        identity = str(row.line) if isinstance(found, Fault) else found.identity
        if noise_key(identity) % parts != part - 1:
            continue
        if wanted.limit is not None and count >= wanted.limit:
            return
        count += 1
        yield found


def _check_row(
    row: Row | Fault, settings: Settings, folder: Path, seen: dict[bytes, int]
) -> Task | Fault:
    if isinstance(row, Fault):
        return row
    try:
        task = make_task(row, settings)
    except (WaveNetError, AudioError) as error:
        if isinstance(error, CheckpointError) and cell(row.values, "checkpoint") is None:
            raise  # it is the same in all rows
        return Fault(row.line, str(error)[:MAX_SENTENCE])
    file = twin_key(task.output)
    for what, name, key in (
        ("id", task.identity, b"i" + twin_key(task.identity)),
        ("file", task.output, file),
    ):
        before = seen.setdefault(key, row.line)
        if before != row.line:
            return Fault(row.line, f"has the {what} {name!r}, as line {before} has")
    for path in filter(None, (task.prompt, task.condition)):
        inside = os.path.relpath(os.path.realpath(path), os.path.realpath(folder))
        seen.setdefault(b"r" + twin_key(inside), row.line)
        if twin_key(inside) in seen:
            return Fault(row.line, f"reads {path}, which line {seen[twin_key(inside)]} writes")
    if b"r" + file in seen:
        line = seen[b"r" + file]
        return Fault(row.line, f"writes {task.output}, which line {line} reads")
    return task


def _waiting(
    manifest: Path,
    settings: Settings,
    wanted: Wanted,
    folder: Path,
    journal: Journal,
    tally: Tally,
    show: Callable[[Task, Record | None], None],
) -> Iterator[Task]:
    """Give the tasks that are to be made, those that share most side by side."""
    found = _checked(manifest, settings, wanted, folder)
    while block := list(islice(found, BLOCK)):
        tasks = []
        for task in block:
            if isinstance(task, Fault):
                tally.failed += 1
                journal.append(
                    {"id": None, "status": "failed", "line": task.line, "error": task.sentence}
                )
            elif not wanted.overwrite and journal.is_done(
                task.identity, task.params_hash, folder / task.output
            ):
                tally.before += 1
                show(task, None)
            else:
                tasks.append(task)
        yield from sorted(tasks, key=lambda task: (task.group, -task.samples))
