"""Generate the clips of a batch with Ray actors, on this machine or on a cluster.

Input: a task queue, which receives the records. This process reads the rows, assigns the tasks and
writes the journal. Each worker is an actor that loads a model once. A lost actor, alone or with its
machine, is replaced by a new one on any machine with free resources. Called by `run`. No other
module imports Ray.

Anyone who can connect to a Ray cluster can run programs on it: keep it in a private network. A
cluster that is started here listens on 127.0.0.1 only, requires a token, and ends with the batch.
"""

import importlib.util
import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from audio_utils.optional_packages import install_command
from wavenet.batch.batch_config import BatchSettings, ExecutionConfig
from wavenet.batch.ray_worker import LOST, VERSIONS, RayWorker, WorkerRequirements
from wavenet.batch.tasks import ClipTask
from wavenet.checkpoint_folders import resolve_checkpoint
from wavenet.engines.registry import GPU_NAMES
from wavenet.errors import ConfigError, WaveNetError
from wavenet.progress import Progress
from wavenet.worker_pool import TaskQueue, TaskScheduler, WorkerTasks

LOCAL = "local"
CONNECT_SECONDS = 5.0
NO_REPLY_SECONDS = 30.0  # time without a reply of any worker until a message to the user
_OBJECT_STORE_BYTES = 80 << 20  # Ray's minimum; tasks and records do not use the object store
_QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": ".*"}


def check_ray_address(address: str) -> None:
    """Check before long work that Ray is installed and, for HOST:PORT, that a cluster answers.

    Args:
        address: local, auto, or HOST:PORT.
    Raises:
        ConfigError: Ray is missing, or the address is invalid.
        WaveNetError: no cluster answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "a cluster needs the package ray, which is missing; install it with "
            f"`{install_command('ray')}`"
        )
    if address in (LOCAL, "auto"):
        return
    found = re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):(\d{1,5})", address)
    if found is None:
        raise ConfigError(f"invalid cluster address {address!r}; expected HOST:PORT or auto")
    try:
        socket.create_connection((found[1].strip("[]"), int(found[2])), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise WaveNetError(
            f"no cluster answers at {address} ({error}); start one with `ray start --head` on a "
            "private network, or omit --cluster-address"
        ) from None


def run_ray_workers(
    settings: BatchSettings,
    execution: ExecutionConfig,
    count: int | None,
    tasks: TaskQueue[ClipTask],
    progress: Progress,
    is_stopping: Callable[[], bool],
    journal: Path,
) -> None:
    """Generate the clips of all tasks with Ray actors.

    Args:
        count: number of actors; by default the number that the resources of the cluster allow.
        progress: in seconds of audio.
        is_stopping: returns True if no further clip is to be started.
        journal: path that must exist for workers, unless the clips are stored at a remote location.
    Raises:
        FolderError: the disk is full or not writable.
        WaveNetError: no worker can start, or the cluster is lost.
    """
    checkpoint = os.path.abspath(resolve_checkpoint(settings.checkpoint, settings.base_folder))
    paths = [checkpoint] if os.path.exists(checkpoint) else []
    paths += [] if execution.remote_url else [str(journal.absolute())]
    base_folder = os.path.abspath(settings.base_folder)
    settings = replace(settings, checkpoint=checkpoint, base_folder=base_folder)
    execution = replace(execution, folder=execution.folder.absolute())
    with ray_cluster(execution, count) as ray:
        execution, resources, capacity = _plan_actors(ray, execution)
        if not capacity:
            what = "GPU" if resources["num_gpus"] else f"machine of {resources['num_cpus']} CPUs"
            raise WaveNetError(f"the cluster has no {what} for a worker; see `ray status`")
        arguments = settings, execution, WorkerRequirements(VERSIONS, paths)
        driver = RayDriver(ray, resources, arguments, tasks, progress, is_stopping)
        try:
            driver.run(min(count or capacity, capacity))
        except ray.exceptions.RayError as error:
            brief = str(error).strip().split("\n")[0]
            raise WaveNetError(
                f"the cluster was lost ({brief}); run the same command again to resume"
            ) from None


@dataclass(eq=False)
class _ActorHandle:
    """An actor and its tasks.

    Attributes:
        reply: of the current call, or None.
        requested: number of requested tasks.
        is_out_of_tasks: the actor was informed that no task is available, and has not been idle
            since.
    """

    actor: Any
    reply: Any
    tasks: WorkerTasks[ClipTask] = field(default_factory=WorkerTasks)
    requested: int = 0
    is_out_of_tasks: bool = False


class RayDriver:
    """Spawns actors, exchanges tasks and events with them, and replaces those that are lost.

    Args:
        ray: the module.
        resources: of an actor, as options of `ray.remote`.
        arguments: of `RayWorker`.
        tasks, progress, is_stopping: as in `run_ray_workers`.
    """

    def __init__(
        self,
        ray: Any,
        resources: dict[str, int],
        arguments: tuple[BatchSettings, ExecutionConfig, WorkerRequirements],
        tasks: TaskQueue[ClipTask],
        progress: Progress,
        is_stopping: Callable[[], bool],
    ):
        self._ray, self._arguments = ray, arguments
        self._progress, self._is_stopping = progress, is_stopping
        self._actor_class = ray.remote(max_restarts=0, scheduling_strategy="SPREAD", **resources)(
            RayWorker
        )
        self._scheduler = TaskScheduler(tasks, progress)
        self._workers: list[_ActorHandle] = []
        self._last_reply = time.monotonic()

    def run(self, count: int) -> None:
        """Run `count` actors until no task is left; on return, no actor is running.

        Raises:
            WaveNetError: a worker reported an error that stops all work, or none can start.
        """
        try:
            for _ in range(count):
                self._spawn()
            while self._scheduler.may_have_tasks or any(w.tasks.is_busy for w in self._workers):
                self._wait()
                self._resume_idle()
        finally:
            for worker in self._workers:
                self._ray.kill(worker.actor)
            self._workers.clear()

    def _spawn(self) -> None:
        """Start an actor."""
        actor = self._actor_class.remote(*self._arguments)
        self._workers.append(_ActorHandle(actor, actor.exchange.remote([], False, False)))

    def _wait(self) -> None:
        """Wait up to a second for replies, and handle them."""
        replies = {w.reply: w for w in self._workers if w.reply is not None}
        if self._ray.wait([*replies], num_returns=1, timeout=1.0)[0]:
            ready, _ = self._ray.wait([*replies], num_returns=len(replies), timeout=0)
            for reply in ready:
                self._handle_reply(replies[reply])
            self._last_reply = time.monotonic()
        elif time.monotonic() - self._last_reply > NO_REPLY_SECONDS:
            self._progress.message("waiting for the cluster to start workers; see `ray status`")
            self._last_reply = time.monotonic()

    def _handle_reply(self, worker: _ActorHandle) -> None:
        """Handle the events of a reply; call again unless the worker is idle or lost."""
        try:
            events, worker.requested = self._ray.get(worker.reply)
        except self._ray.exceptions.RayActorError as error:
            return self._reap(worker, _last_sentence(error))
        for event, *content in events:
            if event == LOST:
                return self._reap(worker, content[0])
            self._scheduler.handle(worker.tasks, event, *content)
        if worker.tasks.is_idle:
            worker.reply, worker.is_out_of_tasks = None, False
        else:
            self._exchange(worker)

    def _resume_idle(self) -> None:
        """Call idle workers again if there are tasks."""
        for worker in self._workers:
            if worker.tasks.is_idle and self._scheduler.may_have_tasks:
                worker.tasks.is_idle = False
                self._exchange(worker)

    def _exchange(self, worker: _ActorHandle) -> None:
        """Send the requested tasks, and start a call that returns the next events."""
        tasks: list[ClipTask] = []
        was_out_of_tasks = worker.is_out_of_tasks
        while not worker.is_out_of_tasks and len(tasks) < worker.requested:
            task = self._scheduler.next_task(worker.tasks)
            if task is None:
                worker.is_out_of_tasks = True
            else:
                tasks.append(_with_absolute_paths(task))
        runs_out = worker.is_out_of_tasks and not was_out_of_tasks
        worker.reply = worker.actor.exchange.remote(tasks, runs_out, self._is_stopping())

    def _reap(self, worker: _ActorHandle, cause: str) -> None:
        """Remove a lost actor, requeue its tasks, and replace it if there are tasks."""
        self._workers.remove(worker)
        self._ray.kill(worker.actor)  # it may still run, but is unreachable
        advice = f"check that wavenet-studio {VERSIONS['wavenet-studio']} is on all machines"
        self._scheduler.requeue(worker.tasks, cause, advice)
        if self._scheduler.may_have_tasks:
            self._spawn()


def _plan_actors(
    ray: Any, execution: ExecutionConfig
) -> tuple[ExecutionConfig, dict[str, int], int]:
    """Choose device and threads; return them, an actor's resources, and the number of actors."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    if _uses_gpus(execution, gpus):
        return replace(execution, device="cuda"), {"num_cpus": 1, "num_gpus": 1}, gpus
    threads = execution.threads or 1
    capacity = sum(int(node.get("CPU", 0)) // threads for node in nodes)
    execution = replace(execution, device="cpu", threads=threads)
    return execution, {"num_cpus": threads, "num_gpus": 0}, capacity


def _uses_gpus(execution: ExecutionConfig, gpus: int) -> bool:
    if execution.device != "auto":
        return execution.device != "cpu"
    return execution.engine in GPU_NAMES or (execution.engine != "cpu" and gpus > 0)


@contextmanager
def ray_cluster(execution: ExecutionConfig, count: int | None) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine that ends with the block.

    Args:
        count: number of actors, for the size of a new cluster; by default as many as this machine
            allows.
    Yields:
        The module ray.
    Raises:
        WaveNetError: no cluster can be joined or started.
    """
    address = execution.cluster_address
    options = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    environment = dict(_QUIET)
    if address == LOCAL:
        options |= _local_cluster_options(execution, count)
        # the only way to make Ray listen on 127.0.0.1 on Linux as well
        environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    import ray  # needs a second, and reads the environment

    is_ours = not ray.is_initialized()
    try:
        if is_ours:
            ray.init(**options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        brief = str(error).strip().split("\n")[0]
        raise WaveNetError(f"the cluster {address} cannot be joined: {brief}") from None
    try:
        yield ray
    finally:
        if is_ours:
            ray.shutdown()


def _local_cluster_options(execution: ExecutionConfig, count: int | None) -> dict[str, Any]:
    """Return the options of `ray.init` for a cluster on this machine."""
    from wavenet.devices import available_cores

    gpus = torch.cuda.device_count() if _uses_gpus(execution, torch.cuda.device_count()) else 0
    cpus = gpus or (execution.threads or 1) * (count or 1)
    return {
        "num_cpus": max(cpus, available_cores()) if count is None else cpus,
        "num_gpus": gpus,
        "include_dashboard": False,
        "object_store_memory": _OBJECT_STORE_BYTES,
    }


def _with_absolute_paths(task: ClipTask) -> ClipTask:
    """Return a task whose paths do not depend on the working directory."""
    paths = {n: getattr(task, n) for n in ("checkpoint", "prompt_file", "condition_file")}
    return replace(task, **{n: os.path.abspath(path) for n, path in paths.items() if path})


def _last_sentence(error: Exception) -> str:
    """Return the last line of Ray's message, the reason why an actor was lost."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1].split(". ")[0][:200]
