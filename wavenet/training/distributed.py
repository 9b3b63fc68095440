"""The processes of one training and their communication: all of torch.distributed is here.

torchrun starts the processes and sets environment variables that identify each. Input: these
variables. Output: a `Ranks`, which sums results over all processes. The first process writes files
and messages. Called by the command line, which passes the `Ranks` on to `loop`.

Nothing here is encrypted or authenticated: any process that can reach torchrun's port can take
part. On one machine the processes communicate over its loopback interface; several machines need a
private network.
"""

import hashlib
import json
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

# Imported here, before a process group exists. If it is imported later (torch does that when it
# needs it), its functions keep a reference to the group, whose threads then outlive the interpreter
# and sometimes crash the process.
import torch.distributed.nn
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from audio_utils.errors import AudioError
from wavenet.devices import AUTO, available_cores, choose_device
from wavenet.errors import ConfigError, TrainingError, WaveNetError

# Longer than any expected wait for one process, such as for a snapshot on a slow disk or for a
# preview clip; short enough to notice a process that hangs.
TIMEOUT = timedelta(minutes=10)
_TORCHRUN_VARIABLES = {
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
}
_LOOPBACK_INTERFACES = ("lo", "lo0")


@dataclass(frozen=True)
class Ranks:
    """The ranks of a training, as this one sees them: its number, their count, communication.

    By default a single process.

    Attributes:
        rank: of this process, counted from 0.
        world_size: number of processes.
        local_rank, local_world_size: rank and number of processes, counted on this machine only.
        store: key-value store that all processes share; None for a single process.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    store: PrefixStore | None = None

    @property
    def max_wait_seconds(self) -> float:
        """Half of the timeout, as a margin: seconds that the others may wait for one process."""
        return TIMEOUT.total_seconds() / 2

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one dtype and device by their sums over all processes."""
        if self.world_size == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _peer_errors():
            dist.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view_as(tensor))

    def sum_numbers(self, *numbers: float) -> list[float]:
        """Return the sums of numbers over all processes."""
        sums = torch.tensor(numbers, dtype=torch.float64)
        self.all_reduce([sums])
        return sums.tolist()

    def barrier(self) -> None:
        """Wait for all processes; raise TrainingError if one has ended."""
        self.sum_numbers(0)

    def any(self, flag: bool) -> bool:
        """Return whether the flag is true in any process; the same in all."""
        return self.sum_numbers(flag)[0] > 0

    def broadcast(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.world_size > 1:
            with _peer_errors(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def check_identical(self, content: str) -> None:
        """Check that a text is equal in all processes, such as the fingerprint of a task.

        Raises:
            TrainingError: they differ.
        """
        digest = int.from_bytes(hashlib.sha256(content.encode()).digest()[:7])
        # the maximum and, as a negated maximum, the minimum
        bounds = torch.tensor([digest, -digest])
        with _peer_errors():
            dist.all_reduce(bounds, dist.ReduceOp.MAX)
        if bounds[0] != -bounds[1]:
            raise TrainingError(
                "the processes of this training have different recipes, options or recordings; "
                "start all of them with the same"
            )

    def choose_device(self, name: str = AUTO) -> torch.device:
        """Return a different GPU for each process, or the CPU for all.

        Raises:
            ConfigError: as `devices.choose_device`, or one GPU is named for several processes.
        """
        if self.local_world_size == 1:
            return choose_device(name)
        if name.startswith("cuda:"):
            raise ConfigError(
                f"--device {name} is one GPU for {self.local_world_size} processes; omit it, "
                "and each process uses a different GPU (the variable CUDA_VISIBLE_DEVICES selects "
                "them)"
            )
        if choose_device(name).type == "cpu":
            return torch.device("cpu")
        if self.local_world_size > torch.cuda.device_count():
            raise ConfigError(
                f"there are {self.local_world_size} processes and {torch.cuda.device_count()} GPUs "
                "on this machine; start no more processes than GPUs, or use --device cpu"
            )
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return device

    def choose_threads(self) -> int | None:
        """Return the share of this machine's cores for one process; None for a single process."""
        if self.local_world_size == 1:
            return None
        return max(1, available_cores() // self.local_world_size)

    def mark_run_started(self) -> None:
        """Record that the run has started, for processes that torchrun may restart."""
        if self.store is not None:
            self.store.underlying_store.set("wavenet/started", "yes")

    def is_run_started(self) -> bool:
        """Return whether processes that this torchrun started earlier have started the run."""
        return self.store is not None and self.store.underlying_store.check(["wavenet/started"])

    def claim_first_error(self) -> bool:
        """Count an error of this process; return whether it is the first of all processes.

        The errors of the other processes are its consequence.
        """
        with suppress(RuntimeError):  # torchrun itself has ended
            return self.store is None or self.store.add("wavenet/errors", 1) == 1
        return True


SINGLE_RANK = Ranks()


@contextmanager
def init_ranks() -> Iterator[Ranks]:
    """Connect to the other processes of a training, if torchrun started this one.

    The first process that fails reports its error; the others exit without a message.

    Raises:
        TrainingError: the others cannot be reached.
        SystemExit: another process reports the error.
    """
    if not os.environ.keys() >= _TORCHRUN_VARIABLES:
        yield SINGLE_RANK
        return
    ranks = _connect()
    try:
        yield ranks
    except (WaveNetError, AudioError) as error:
        if not ranks.claim_first_error():
            raise SystemExit(1) from None
        _write_torchrun_error(str(error))
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    # not after an error: the others may have ended, and this would wait for them
    dist.destroy_process_group()


def _connect() -> Ranks:
    """Open a process group under a new store prefix."""
    local_rank, local_world_size = (
        int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
    )
    if local_world_size == int(os.environ["WORLD_SIZE"]):
        for _, name in socket.if_nameindex():
            if name in _LOOPBACK_INTERFACES:
                os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    with _peer_errors():
        shared, rank, world_size = next(rendezvous("env://", timeout=TIMEOUT))
        store = PrefixStore(_agree_on_prefix(shared, rank, world_size), shared)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(
            backend, store=store, rank=rank, world_size=world_size, timeout=TIMEOUT
        )
    return Ranks(rank, world_size, local_rank, local_world_size, store)


def _agree_on_prefix(store: Store, rank: int, world_size: int) -> str:
    """Agree on a store prefix that no earlier processes have used.

    When torchrun restarts processes, the store still has the addresses of the ended ones, and gloo
    would try to connect to them (https://github.com/pytorch/pytorch/issues/135712).
    """
    own = uuid.uuid4().hex
    if rank == 0:
        store.set("wavenet/first", own)
        for other in range(1, world_size):
            request = store.get(f"wavenet/{own}/{other}").decode()  # waits for the key
            store.set(f"wavenet/{request}", "yes")
        return own
    deadline = time.monotonic() + TIMEOUT.total_seconds()
    while True:
        prefix = store.get("wavenet/first").decode()  # may be that of an ended process
        store.set(f"wavenet/{prefix}/{rank}", own)
        for _ in range(20):
            if store.check([f"wavenet/{own}"]):
                return prefix
            time.sleep(0.02)
        if time.monotonic() > deadline:
            raise RuntimeError("timed out")


@contextmanager
def _peer_errors() -> Iterator[None]:
    """Convert the error that torch raises if another process has ended to a TrainingError."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except RuntimeError as error:
        text = str(error).lower()
        if "timed out" in text or "timeout" in text:
            minutes = TIMEOUT.total_seconds() / 60
            event = f"did not answer for {minutes:g} minutes"
        else:
            event = "ended"
        restarts, max_restarts = (
            int(os.environ.get(f"TORCHELASTIC_{name}", 0))
            for name in ("RESTART_COUNT", "MAX_RESTARTS")
        )
        advice = "start the same command again with --resume"
        if restarts < max_restarts:
            advice = "torchrun now restarts the training"
        raise TrainingError(
            f"another process of this training {event}; the snapshots are kept; {advice}"
        ) from None


def _write_torchrun_error(sentence: str) -> None:
    """Write the sentence to torchrun's error file; torchrun ends its own report with it."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    extra = {"py_callstack": sentence, "timestamp": str(int(time.time()))}
    with suppress(OSError):
        text = json.dumps({"message": {"message": sentence, "extraInfo": extra}})
        Path(path).write_text(text, encoding="utf-8")
