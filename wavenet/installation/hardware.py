"""The hardware of this machine: processor, instruction sets, cores, memory and GPUs.

Output: facts by name; for each problem one sentence, which says what to do. Called by `wavenet
doctor`.
"""

import os
import platform
from pathlib import Path
from typing import Any

from wavenet.devices import available_cores, processor_name
from wavenet.installation.packages import can_import, import_package

# The instruction sets of which the engine cpu uses one or more.
_INSTRUCTION_SETS = (
    *("fma", "avx2", "avx512f", "avx512bw", "avx512vnni", "avxvnni"),
    *("neon", "dotprod"),
)
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def describe_hardware() -> dict[str, Any]:
    """Return the system, the processor with its instruction sets, cores, memory and GPUs."""
    found: dict[str, Any] = {"system": f"{platform.platform(terse=True)} {platform.machine()}"}
    if can_import("numba", "torch"):
        from wavenet.engines.cpu.int8_kernels import INSTRUCTIONS, SCHEME
        from wavenet.engines.cpu.jit import target_features

        features = target_features()
        found["processor"] = processor_name()
        found["instruction sets"] = [name for name in _INSTRUCTION_SETS if features.get(name)]
        found["int8 uses"] = INSTRUCTIONS[SCHEME]
    found["cores"] = f"{available_cores()} of {os.cpu_count()}"
    found["memory"] = _describe_memory()
    found["GPUs"] = _list_gpus()
    return found


def _describe_memory() -> str:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return "unknown"
    return f"{total / 1e9:.1f} GB"


def _list_gpus() -> list[str]:
    if not can_import("torch") or not (torch := import_package("torch")).cuda.is_available():
        return []
    devices = map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    return [f"{device.name}, {device.total_memory / 1e9:.0f} GB" for device in devices]


def check_hardware() -> list[str]:
    """Return a problem if there is a driver of an NVIDIA GPU, but PyTorch cannot use it."""
    if not can_import("torch") or _list_gpus() or not NVIDIA_DRIVER.exists():
        return []
    cuda = import_package("torch").version.cuda
    if cuda is None:
        return [
            "this machine has an NVIDIA driver, but PyTorch is a build without CUDA; install a "
            "build with CUDA to use the GPU"
        ]
    return [
        f"PyTorch with CUDA {cuda} cannot use the GPU; update the NVIDIA driver, or "
        "unset CUDA_VISIBLE_DEVICES"
    ]
