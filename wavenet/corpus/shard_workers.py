"""Several processes that make shards: one that a file kills takes nothing with it but that file.

Before a worker reads a file it says so. When it dies, it is known at which; the block is made
again, and without a file at which a worker died twice.
"""

import multiprocessing
import os
import signal
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from wavenet.corpus.file_listing import FileBlock
from wavenet.corpus.format import CorpusSettings
from wavenet.errors import WaveNetError
from wavenet.interrupts import ignore_sigint

DEATHS = 2  # at one file, after which it is left alone
MOST_STILLBORN = 3  # workers in a row that ended before they said a word
TOLD_EVERY = 64  # files, for whoever shows progress
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class _Job:
    block: FileBlock
    deaths: Counter[int] = field(default_factory=Counter)  # of workers, by the file they were at

    def deadly(self) -> set[int]:
        return {n for n, deaths in self.deaths.items() if deaths >= DEATHS}


@dataclass(eq=False)
class _Member:
    """A process at work.

    Attributes:
        at: the file of its block that it reads, -1 before the first; told: of these, how many
            were reported.
    """

    process: Any
    pipe: Connection
    job: _Job | None = None
    at: int = -1
    told: int = 0


def write_shards(
    folder: Path, settings: CorpusSettings, blocks: Sequence[FileBlock], workers: int
) -> Iterator[int]:
    """Make the shards of blocks on so many processes.

    Yields:
        how many files more are done, now and then; below 0 where some are done again.
    Raises:
        FolderError: the corpus cannot be written.
        WaveNetError: workers cannot begin at all.
    """
    waiting = deque(_Job(block) for block in blocks)
    members: list[_Member] = []
    stillborn = 0
    try:
        for _ in range(min(workers, len(blocks))):
            members.append(_hire(folder, settings))
        while members:
            for pipe in wait([member.pipe for member in members]):
                member = next(m for m in members if m.pipe is pipe)
                try:
                    done = _answer(member, waiting)
                    stillborn = 0 if member.at >= 0 else stillborn
                except (EOFError, OSError):
                    members.remove(member)
                    stillborn = 0 if member.at >= 0 else stillborn + 1
                    done = _bury(member, waiting, stillborn)
                    members.append(_hire(folder, settings))
                if done:
                    yield done
                if member.job is None and member in members and not waiting:
                    members.remove(member)
                    _let_go(member)
    finally:
        for member in members:
            member.process.kill()
        for member in members:
            member.process.join()
            member.pipe.close()


def _answer(member: _Member, waiting: deque[_Job]) -> int:
    """Hear what a worker has to say; give the files that are done."""
    said = member.pipe.recv()
    if isinstance(said, WaveNetError):
        raise said
    if said is not None:  # it reads this file next
        member.at = said
        if said - member.told < TOLD_EVERY:
            return 0
        done, member.told = said - member.told, said
        return int(done)
    done = len(member.job.block.names) - member.told if member.job else 0
    member.job, member.at, member.told = (waiting.popleft() if waiting else None), -1, 0
    if member.job is not None:
        member.pipe.send((member.job.block, member.job.deadly()))
    return done


def _bury(member: _Member, waiting: deque[_Job], stillborn: int) -> int:
    """Take back what a dead worker had."""
    member.process.join()
    member.pipe.close()
    if stillborn >= MOST_STILLBORN:
        raise WaveNetError(
            f"{MOST_STILLBORN} workers in a row ended as they began (exit "
            f"{member.process.exitcode}); try fewer, --workers 1"
        )
    if member.job is not None:
        member.job.deaths[member.at] += 1
        waiting.appendleft(member.job)
    return -member.told


def _hire(folder: Path, settings: CorpusSettings) -> _Member:
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(there, folder, settings), daemon=True)
    with ignore_sigint():  # while it loads, Ctrl-C is for this process alone
        process.start()
    there.close()
    return _Member(process, here)


def _let_go(member: _Member) -> None:
    with suppress(OSError):
        member.pipe.send(None)
    member.process.join()
    member.pipe.close()


def _serve(pipe: Connection, folder: Path, settings: CorpusSettings) -> None:
    """Be a worker: make shards until the parent lets go, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what that means
    from wavenet.corpus.shard_writer import (
        write_shard,  # with the decoders, which the parent needs not
    )

    def begin(n: int) -> None:
        try:
            pipe.send(n)
        except OSError:  # the parent is gone; this must not be taken for a fault of the disk
            os._exit(1)

    try:
        while True:
            pipe.send(None)
            given = pipe.recv()
            if given is None:
                return
            block, deadly = given
            write_shard(folder, settings, block, deadly, begin)
    except (EOFError, BrokenPipeError):
        return  # the parent is gone
    except WaveNetError as error:
        pipe.send(error)
        pipe.recv()  # it has been heard
