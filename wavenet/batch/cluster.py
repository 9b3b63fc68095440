"""Workers on a Ray cluster, of this machine or of many: the same clips wherever they are made.

This process reads the rows, lends the tasks and keeps the journal; a worker is an actor that loads
a model once. An actor that is lost, with its machine or without, is replaced by a new one, which
Ray puts where there is room. The only place that knows Ray.

Whoever reaches a Ray cluster can run programs on it: keep it in a private network. One that is
begun here listens on 127.0.0.1 alone, wants a token, and ends with the batch.
"""

import importlib.util
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from wavenet.batch.finish import Place
from wavenet.batch.hired import VERSIONS, Contract, Hired
from wavenet.batch.loans import Hand, Loans
from wavenet.batch.tasks import Settings, Task
from wavenet.batch.work import Session
from wavenet.engines.registry import GPU_NAMES
from wavenet.errors import ConfigError, WaveNetError

LOCAL = "local"
CONNECT_SECONDS = 5.0
PATIENCE = 30.0  # seconds without a word from any worker, after which one is said here
_STORE_BYTES = 80 << 20  # Ray's least; tasks and records do not go through it
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}


def check_cluster(address: str) -> None:
    """See that Ray is there and somebody answers at an address, before long work begins.

    Args:
        address: local, auto, or HOST:PORT.
    Raises:
        ConfigError: Ray is missing, or the address is none.
        WaveNetError: nobody answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "a cluster needs the package ray, which is missing; install it with "
            '`pip install "wavenet-studio[ray]"`'
        )
    if address in (LOCAL, "auto"):
        return
    found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    if found is None:
        raise ConfigError(
            f"the cluster address {address!r} is none; give HOST:PORT, auto, or leave it out"
        )
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise WaveNetError(
            f"no cluster answers at {address} ({error}); begin one with `ray start --head` on a "
            "private network, or leave --cluster-address out"
        ) from None


def run_cluster(
    settings: Settings,
    where: Place,
    count: int | None,
    session: Session,
    max_retries: int,
    journal: Path,
) -> None:
    """Make all that `session.take` gives on so many actors, or as many as there is room for.

    Raises:
        FolderError: nothing more can be written.
        WaveNetError: workers cannot begin at all, or the cluster is lost.
    """
    checkpoint = os.path.abspath(settings.checkpoint)
    paths = [checkpoint] if os.path.exists(checkpoint) else []
    paths += [] if where.remote else [str(journal.absolute())]
    settings = replace(settings, checkpoint=checkpoint, base=os.path.abspath(settings.base))
    where = replace(where, folder=where.folder.absolute())
    with joined(where, count) as ray:
        where, options, room = _plan(ray, where)
        if not room:
            what = "GPU" if options["num_gpus"] else f"machine of {options['num_cpus']} CPUs"
            raise WaveNetError(f"the cluster has no {what} for a worker; see `ray status`")
        contract = Contract(VERSIONS, paths)
        office = _Office(ray, options, (settings, where, contract), session, max_retries)
        try:
            for _ in range(min(count or room, room)):
                office.hire()
            while office.is_open:
                office.attend()
        except ray.exceptions.RayError as error:
            brief = str(error).strip().split("\n")[0]
            raise WaveNetError(
                f"the cluster was lost ({brief}); the same command goes on"
            ) from None
        finally:
            office.dismiss()


@dataclass(eq=False)
class _Member:
    """An actor at work; answer: of the call under way; wanted: tasks it has room for."""

    actor: Any
    answer: Any
    hand: Hand = field(default_factory=Hand)
    wanted: int = 0
    is_closed: bool = False  # it was told that there is nothing more, and has not ended yet


class _Office:
    def __init__(
        self,
        ray: Any,
        options: dict[str, int],
        content: tuple[Settings, Place, Contract],
        session: Session,
        max_retries: int,
    ):
        self._ray, self._content, self._session = ray, content, session
        self._actors = ray.remote(max_restarts=0, scheduling_strategy="SPREAD", **options)(Hired)
        self._loans = Loans(session, max_retries)
        self._members: list[_Member] = []
        self._heard = time.monotonic()

    @property
    def is_open(self) -> bool:
        return self._loans.has_more or any(member.hand.is_busy for member in self._members)

    def hire(self) -> None:
        actor = self._actors.remote(*self._content)
        self._members.append(_Member(actor, actor.exchange.remote([], False, False)))

    def attend(self) -> None:
        """Answer whoever has something to say, and see who is gone."""
        answers = {m.answer: m for m in self._members if m.answer is not None}
        if self._ray.wait([*answers], num_returns=1, timeout=1.0)[0]:
            ready, _ = self._ray.wait([*answers], num_returns=len(answers), timeout=0)
            for answer in ready:
                self._hear(answers[answer])
            self._heard = time.monotonic()
        elif time.monotonic() - self._heard > PATIENCE:
            self._session.say("waiting for the cluster to begin with workers; see `ray status`")
            self._heard = time.monotonic()
        for member in self._members:
            if member.hand.idle and self._loans.has_more:
                member.hand.idle = False
                self._ask(member)

    def dismiss(self) -> None:
        """End all actors."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members.clear()

    def _hear(self, member: _Member) -> None:
        try:
            events, member.wanted = self._ray.get(member.answer)
        except self._ray.exceptions.RayActorError as error:
            return self._bury(member, _cause(error))
        for what, *content in events:
            if what == "lost":
                return self._bury(member, content[0])
            self._loans.hear(member.hand, what, *content)
        if member.hand.idle:
            member.answer, member.is_closed = None, False
        else:
            self._ask(member)

    def _ask(self, member: _Member) -> None:
        """Give a worker tasks, and ask what it has to say."""
        tasks: list[Task] = []
        was_closed = member.is_closed
        while not member.is_closed and len(tasks) < member.wanted:
            task = self._loans.lend(member.hand)
            if task is None:
                member.is_closed = True
            else:
                tasks.append(_absolute(task))
        closing = member.is_closed and not was_closed
        member.answer = member.actor.exchange.remote(tasks, closing, self._session.is_stopping())

    def _bury(self, member: _Member, how: str) -> None:
        """Take back what a lost actor had, and replace it."""
        self._members.remove(member)
        self._ray.kill(member.actor)  # it may only be out of reach
        advice = (
            f"see that wavenet-studio {VERSIONS['wavenet-studio']} is installed on all machines"
        )
        self._loans.take_back(member.hand, how, advice)
        if self._loans.has_more:
            self.hire()


def _plan(ray: Any, where: Place) -> tuple[Place, dict[str, int], int]:
    """Choose device and threads of actors, what each asks of its machine, and how many fit."""
    free = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in free))
    if _wants_gpus(where, gpus):
        return replace(where, device="cuda"), {"num_cpus": 1, "num_gpus": 1}, gpus
    threads = where.threads or 1
    room = sum(int(node.get("CPU", 0)) // threads for node in free)
    where = replace(where, device="cpu", threads=threads)
    return where, {"num_cpus": threads, "num_gpus": 0}, room


def _wants_gpus(where: Place, count: int) -> bool:
    if where.device != "auto":
        return where.device != "cpu"
    return where.engine in GPU_NAMES or (where.engine != "cpu" and count > 0)


@contextmanager
def joined(where: Place, count: int | None) -> Iterator[Any]:
    """Join a cluster, or begin one on this machine that ends with the block.

    Raises:
        WaveNetError: there is none, or it does not take us.
    """
    options = {"address": where.cluster, "log_to_driver": False, "logging_level": logging.ERROR}
    environment = dict(_QUIET)
    if where.cluster == LOCAL:
        from wavenet.engines.cpu.thread_sync import (
            available_cores,  # with numba, which takes a second
        )

        gpus = torch.cuda.device_count() if _wants_gpus(where, torch.cuda.device_count()) else 0
        cpus = gpus or (where.threads or 1) * (count or 1)
        options |= {"num_cpus": max(cpus, available_cores()) if count is None else cpus}
        options |= {"num_gpus": gpus, "include_dashboard": False}
        options |= {"object_store_memory": _STORE_BYTES}
        # the only way to say 127.0.0.1 on Linux, too
        environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    import ray  # a second, and it reads the environment

    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            ray.init(**options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        brief = str(error).strip().split("\n")[0]
        raise WaveNetError(f"the cluster {where.cluster} cannot be joined: {brief}") from None
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _absolute(task: Task) -> Task:
    """Name files as any folder of work finds them."""
    paths = {name: getattr(task, name) for name in ("checkpoint", "prompt", "condition")}
    return replace(task, **{n: os.path.abspath(path) for n, path in paths.items() if path})


def _cause(error: Exception) -> str:
    """Give the last line of what Ray tells of an actor, which says why; Ray says much before."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].split(". ")[0][:200]
