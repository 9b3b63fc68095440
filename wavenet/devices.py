"""The device that a model runs on, and the errors of devices.

Input: the name of a device. Output: a `torch.device`, or an error with the reason why it cannot be
used. Errors that torch raises for a lost or full device become errors of this package. Called by
every part that loads, runs or trains a model. Three other places choose among several devices by
these rules: `Ranks.choose_device`, `device_for` of the engines, and the Ray driver.
"""

import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from wavenet.errors import ConfigError, DeviceError, OutOfMemory

AUTO = "auto"
DEVICE_VARIABLE = "WAVENET_DEVICE"  # environment: the device that auto selects
NAMED = re.compile(r"cpu|cuda(:\d{1,3})?")
# Beginnings of messages from torch, its libraries and Triton that mean that a device is lost.
LOST_PHRASES = (
    "CUDA error",
    "Triton Error [CUDA]",
    "CUDA driver error",
    "CUDNN_STATUS",
    "CUBLAS_STATUS",
)
# Beginnings of messages that mean too little memory: torch on a CPU, the driver, Triton.
OUT_OF_MEMORY_PHRASES = (
    "DefaultCPUAllocator: ",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of mem",
)

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def choose_device(name: str = AUTO, required_by: str = "") -> torch.device:
    """Return the device of a name.

    Args:
        name: auto (the device of the variable WAVENET_DEVICE, or else a GPU if available,
            otherwise the CPU), cpu, cuda or cuda:N.
        required_by: the subject of the error message if a GPU is required, such as "the engine
            gpu"; auto then never selects the CPU. "" if a CPU is allowed.
    Raises:
        ConfigError: the name is unknown, or there is no such GPU.
    """
    if name == AUTO and not required_by:
        name = os.environ.get(DEVICE_VARIABLE, AUTO)
    if name == AUTO and not required_by:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != AUTO and not NAMED.fullmatch(name):
        raise ConfigError(f"unknown device {name!r}; expected auto, cpu, cuda or cuda:N")
    if name == "cpu":
        return torch.device("cpu")
    if not torch.cuda.is_available():
        why = "" if torch.version.cuda else ", and this torch is built without CUDA"
        raise ConfigError(
            f"{required_by or f'the device {name}'} needs a CUDA GPU, but none was found{why}; "
            "install a driver and a torch build for it, or omit the option to use the CPU"
        )
    device = torch.device("cuda" if name == AUTO else name)
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ConfigError(f"there is no GPU {name}; this machine has cuda:0 to cuda:{count - 1}")
    return device


@contextmanager
def device_errors(
    advice: str = "start again, or use --device cpu",
    memory_advice: str = "generate less at once, or use --device cpu",
) -> Iterator[None]:
    """Convert what torch raises for a full or lost device to an error of this package.

    Args:
        advice: what to do about a lost device.
        memory_advice: what to do about too little memory.
    Raises:
        OutOfMemory: there is too little memory.
        DeviceError: the device is lost; this process cannot use it again.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        # The further lines of torch's message are advice for programmers.
        first_line = str(error).strip().split("\n")[0].rstrip(". ")
        is_full = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if is_full or _contains_any(error, OUT_OF_MEMORY_PHRASES):
            raise OutOfMemory(
                f"there is too little memory ({first_line or 'all of it is in use'}); "
                f"{memory_advice}"
            ) from None
        if isinstance(error, torch.AcceleratorError) or _contains_any(error, LOST_PHRASES):
            raise DeviceError(
                f"the GPU was lost ({first_line}); finished work is kept; {advice}"
            ) from None
        raise


def release_cached_memory() -> None:
    """Release the memory that torch has cached on a GPU."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def available_cores() -> int:
    """Return the number of cores that this process may use, by affinity and container quota."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cores, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or no limit
        return cores


def processor_name() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _contains_any(error: Exception, phrases: tuple[str, ...]) -> bool:
    return any(phrase in str(error) for phrase in phrases)
