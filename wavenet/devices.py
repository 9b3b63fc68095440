"""Which device a model runs on, and what can go wrong with one: the only place that decides.

A name that a person gave enters, a `torch.device` leaves, or one sentence. Faults of a device that
torch raises in the middle of the work become errors of this package.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from wavenet.errors import ConfigError, DeviceError, OutOfMemory

AUTO = "auto"
NAMED = re.compile(r"cpu|cuda(:\d{1,3})?")
# How torch, its libraries and Triton begin to say that a device is no longer to be had.
LOST = ("CUDA error", "Triton Error [CUDA]", "CUDA driver error", "CUDNN_STATUS", "CUBLAS_STATUS")
# And that there is no room: torch on a CPU, the driver, Triton.
NO_ROOM = ("DefaultCPUAllocator: ", "CUDA error: out of memory", "Triton Error [CUDA]: out of mem")

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def choose_device(name: str = AUTO, wanted_by: str = "") -> torch.device:
    """Find the device that a name stands for.

    Args:
        name: auto, for a GPU where there is one and else the CPU; cpu, cuda or cuda:N.
        wanted_by: what cannot do without a GPU, for the sentence when there is none.
    Raises:
        ConfigError: the name is not known, or there is no such GPU.
    """
    if name == AUTO and not wanted_by:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != AUTO and not NAMED.fullmatch(name):
        raise ConfigError(f"the device {name!r} is not known; choose auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "" if torch.version.cuda else ", and this torch is built without CUDA"
        raise ConfigError(
            f"{wanted_by or f'the device {name}'} needs a CUDA GPU, and none was found here{why}; "
            "install a driver and a torch for it, or leave the option out to use the CPU"
        )
    device = torch.device("cuda" if name == AUTO else name)
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ConfigError(f"there is no GPU {name} here; there are cuda:0 to cuda:{count - 1}")
    return device


@contextmanager
def device_faults(
    advice: str = "start again, or use --device cpu",
    smaller: str = "make less at once, or use --device cpu",
) -> Iterator[None]:
    """Turn what torch raises when a device has no room, or is lost, into one sentence.

    Args:
        advice: what to do about a lost device.
        smaller: what to do about too little memory.
    Raises:
        OutOfMemory: there is too little memory.
        DeviceError: the device is lost; this process cannot use it again.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # the rest of torch's words is advice for programmers
        first = str(error).strip().split("\n")[0].rstrip(". ")
        if isinstance(error, torch.OutOfMemoryError | MemoryError) or _says(error, NO_ROOM):
            raise OutOfMemory(
                f"there is too little memory ({first or 'it is all taken'}); {smaller}"
            ) from None
        if isinstance(error, torch.AcceleratorError) or _says(error, LOST):
            raise DeviceError(
                f"the GPU was lost ({first}); what was finished before is kept; {advice}"
            ) from None
        raise


def free_memory() -> None:
    """Give what torch keeps for later back to a device that had too little."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def available_cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return cores


def _says(error: Exception, phrases: tuple[str, ...]) -> bool:
    return any(phrase in str(error) for phrase in phrases)
