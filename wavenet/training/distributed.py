"""The processes of one training, and what they tell each other: all of torch.distributed is here.

torchrun starts the processes and tells each of them, in its environment, which one it is. `init_ranks`
brings them together; a `Ranks` leaves, by which the loop adds up what all of them found. The first
one writes and speaks for all. Called by the command line and handed down to `loop`.

Nothing here is secret or checked: whoever reaches torchrun's port takes part. On one machine the
processes talk by its loopback; several machines need a network of their own.
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

# Imported by torch itself once the processes have met, its functions would keep their group for
# ever: its threads would outlive the interpreter, and sometimes bring the process down with them.
import torch.distributed.nn
from torch import Tensor
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from audio_utils.errors import AudioError
from wavenet.devices import AUTO, choose_device
from wavenet.errors import ConfigError, TrainingError, WaveNetError

# Longer than one process may keep the others waiting: for a snapshot on a slow disk, or a clip to
# be heard. Shorter than anybody wants to wait for one that hangs.
PATIENCE = timedelta(minutes=10)
_GIVEN = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_RESTARTS = ("MAX_RESTARTS", "RESTART_COUNT")
_LOOPBACKS = ("lo", "lo0")


@dataclass(frozen=True)
class Ranks:
    """This process among those of a training; alone unless told otherwise.

    Attributes:
        rank: of this process, counted from 0.
        count: of processes.
        local_rank, local_count: the same on this machine.
        store: where all of them leave notes; None alone.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    store: PrefixStore | None = None

    @property
    def most_seconds(self) -> float:
        """For how long one process may leave the others waiting."""
        return PATIENCE.total_seconds() / 2

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one type and device by their sums over all processes."""
        if self.count == 1:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _peers():
            dist.all_reduce(flat)
        sums = flat.split([tensor.numel() for tensor in tensors])
        for tensor, total in zip(tensors, sums, strict=True):
            tensor.copy_(total.view_as(tensor))

    def total(self, *numbers: float) -> list[float]:
        """Add up numbers over all processes."""
        found = torch.tensor(numbers, dtype=torch.float64)
        self.add_up([found])
        return found.tolist()

    def meet(self) -> None:
        """Wait until all processes are here, and end with any that is not coming."""
        self.total(0)

    def any(self, wish: bool) -> bool:
        """Say whether any process has a wish; all get the same answer."""
        return self.total(wish)[0] > 0

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process."""
        if self.count > 1:
            with _peers(), torch.no_grad():
                for tensor in tensors:
                    dist.broadcast(tensor, 0)

    def check_same(self, content: str) -> None:
        """See that all processes have the same recipe and recordings.

        Raises:
            TrainingError: they have not.
        """
        number = int.from_bytes(hashlib.sha256(content.encode()).digest()[:7])
        # the largest, and the smallest as the largest of what is below 0
        found = torch.tensor([number, -number])
        with _peers():
            dist.all_reduce(found, dist.ReduceOp.MAX)
        if found[0] != -found[1]:
            raise TrainingError(
                "the processes of this training have different recipes, options or recordings; "
                "give all of them the same"
            )

    def choose_device(self, name: str = AUTO) -> torch.device:
        """Give each process a GPU of its own, or the CPU to all.

        Raises:
            ConfigError: as of `devices.choose_device`, or one GPU is named for several processes.
        """
        if self.local_count == 1:
            return choose_device(name)
        if name.startswith("cuda:"):
            raise ConfigError(
                f"--device {name} is one GPU for {self.local_count} processes; leave it out, and "
                "each takes one of its own (the variable CUDA_VISIBLE_DEVICES limits which)"
            )
        if choose_device(name).type == "cpu":
            return torch.device("cpu")
        if self.local_count > torch.cuda.device_count():
            raise ConfigError(
                f"there are {self.local_count} processes and {torch.cuda.device_count()} GPUs on "
                "this machine; start no more processes than GPUs, or use --device cpu"
            )
        device = torch.device("cuda", self.local_rank)
        torch.cuda.set_device(device)
        return device

    def choose_threads(self) -> int | None:
        """Divide the cores of this machine among its processes; None leaves them to one alone."""
        if self.local_count == 1:
            return None
        known = hasattr(os, "sched_getaffinity")
        cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
        return max(1, cores // self.local_count)

    def note_begun(self) -> None:
        """Note for processes that torchrun may start in place of these that the run has begun."""
        if self.store is not None:
            self.store.underlying_store.set("wavenet/begun", "yes")

    def has_begun(self) -> bool:
        """Whether processes that this torchrun started before had begun the run."""
        return self.store is not None and self.store.underlying_store.check(["wavenet/begun"])

    def tells(self) -> bool:
        """Whether this process is the first with a fault; the others have but followed."""
        with suppress(RuntimeError):  # torchrun itself is gone
            return self.store is None or self.store.add("wavenet/told", 1) == 1
        return True


SINGLE_RANK = Ranks()


@contextmanager
def init_ranks() -> Iterator[Ranks]:
    """Join the other processes of a training, where torchrun started this one.

    A fault is told by the process that met it first; the others end without a word.

    Raises:
        TrainingError: the others cannot be reached.
        SystemExit: another process tells what happened.
    """
    if not os.environ.keys() >= _GIVEN:
        yield SINGLE_RANK
        return
    ranks = _join()
    try:
        yield ranks
    except (WaveNetError, AudioError) as error:
        if not ranks.tells():
            raise SystemExit(1) from None
        _note_for_torchrun(str(error))
        raise
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    # after a fault the others may be gone, and cannot be taken leave of
    dist.destroy_process_group()


def _join() -> Ranks:
    local_rank, local_count = (int(os.environ[n]) for n in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    # accelerate would choose a number itself, and warn that it did
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    if local_count == int(os.environ["WORLD_SIZE"]):
        for _, name in socket.if_nameindex():
            if name in _LOOPBACKS:
                os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
    with _peers():
        left, rank, count = next(rendezvous("env://", timeout=PATIENCE))
        store = PrefixStore(_agree_on_prefix(left, rank, count), left)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=count, timeout=PATIENCE)
    return Ranks(rank, count, local_rank, local_count, store)


def _agree_on_prefix(store: Store, rank: int, count: int) -> str:
    """Agree on a word that no processes before these have used, to keep what follows under it.

    When torchrun starts processes anew it leaves them the store of the dead ones, with addresses in
    it to which gloo would connect in vain (https://github.com/pytorch/pytorch/issues/135712).
    """
    mine = uuid.uuid4().hex
    if rank == 0:
        store.set("wavenet/first", mine)
        for other in range(1, count):
            asked = store.get(f"wavenet/{mine}/{other}").decode()  # waits until it is there
            store.set(f"wavenet/{asked}", "yes")
        return mine
    until = time.monotonic() + PATIENCE.total_seconds()
    while True:
        word = store.get("wavenet/first").decode()  # of a dead one, it may be: that does not answer
        store.set(f"wavenet/{word}/{rank}", mine)
        for _ in range(20):
            if store.check([f"wavenet/{mine}"]):
                return word
            time.sleep(0.02)
        if time.monotonic() > until:
            raise RuntimeError("timed out")


@contextmanager
def _peers() -> Iterator[None]:
    """Turn what torch raises when another process is gone into one sentence."""
    try:
        yield
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except RuntimeError as error:
        words = str(error).lower()
        if "timed out" in words or "timeout" in words:
            minutes = PATIENCE.total_seconds() / 60
            happened = f"did not answer for {minutes:g} minutes"
        else:
            happened = "ended"
        asked, made = (int(os.environ.get(f"TORCHELASTIC_{n}", 0)) for n in _RESTARTS)
        again = "start the same command again with --resume"
        if asked > made:
            again = "torchrun now starts it again"
        raise TrainingError(
            f"another process of this training {happened}; what was saved is kept: {again}"
        ) from None


def _note_for_torchrun(sentence: str) -> None:
    """Leave the sentence where torchrun looks for it, so that it ends its own report."""
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path is None:
        return
    more = {"py_callstack": sentence, "timestamp": str(int(time.time()))}
    with suppress(OSError):
        text = json.dumps({"message": {"message": sentence, "extraInfo": more}})
        Path(path).write_text(text, encoding="utf-8")
