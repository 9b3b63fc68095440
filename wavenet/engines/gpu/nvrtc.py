"""Compile CUDA C++ at run time, and launch it on clusters of thread blocks.

Input: source and macros. Output: a cubin, from which a `ClusterProgram` is built and launched.
NVRTC and the driver API are in the package cuda-bindings, a dependency of CUDA builds of torch.
Compiling needs no GPU. Called by `cluster_kernel`.
"""

import ctypes
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from wavenet.errors import EngineUnavailable

# no fast-math: exp must be accurate to the last bits, and infinities must be preserved
OPTIONS = ("--std=c++17", "--ptxas-options=-v")
PORTABLE_CLUSTER_SIZE = 8  # blocks that every device with clusters supports


class Cubin(NamedTuple):
    """Machine code of a kernel, and the compiler's log."""

    code: bytes
    log: str


@lru_cache(maxsize=32)
def compile_cubin(source: str, macros: tuple[tuple[str, int], ...], architecture: str) -> Cubin:
    """Compile CUDA C++.

    Args:
        macros: names and values.
        architecture: such as sm_90.
    Raises:
        EngineUnavailable: cuda-bindings or NVRTC is missing, or the source does not compile.
    """
    nvrtc, _ = import_bindings()
    options = [*OPTIONS, f"--gpu-architecture={architecture}"]
    options += [f"--define-macro={name}={value}" for name, value in macros]
    encoded = [option.encode() for option in options]
    program = _check(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        (result,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _read_bytes(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode()
        if int(result):
            raise EngineUnavailable(f"NVRTC could not compile the kernel for {architecture}: {log}")
        code = _read_bytes(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        return Cubin(code, log.strip("\0\n"))
    finally:
        nvrtc.nvrtcDestroyProgram(program)


class ClusterProgram:
    """A kernel on a device, launched with one cluster per stream.

    Args:
        device: a GPU.
        cubin: contains the kernel.
        name: of the kernel; its only parameter is a structure.
        blocks: per cluster.
        threads: per block.
        shared_memory: bytes per block.
    Raises:
        EngineUnavailable: the device cannot run a cluster of this size.
    """

    def __init__(
        self,
        device: torch.device,
        cubin: Cubin,
        name: str,
        blocks: int,
        threads: int,
        shared_memory: int,
    ):
        _, self._driver = import_bindings()
        self._device, self._sizes = device, (blocks, threads, shared_memory)
        with torch.cuda.device(device):
            torch.cuda.current_stream().synchronize()  # makes torch's context the current one
            self._load(cubin, name)

    def _load(self, cubin: Cubin, name: str) -> None:
        """Load the kernel, and check that the device supports a cluster of this size."""
        driver, (blocks, _, shared_memory) = self._driver, self._sizes
        self._module = _check(driver.cuModuleLoadData(cubin.code))
        self._kernel = _check(driver.cuModuleGetFunction(self._module, name.encode()))
        attribute = driver.CUfunction_attribute
        attributes = {attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: shared_memory}
        if blocks > PORTABLE_CLUSTER_SIZE:
            attributes[attribute.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1
        for key, value in attributes.items():
            _check(driver.cuFuncSetAttribute(self._kernel, key, value))
        config = self._launch_config(1)
        if _check(driver.cuOccupancyMaxActiveClusters(self._kernel, config)) < 1:
            raise EngineUnavailable(
                f"this device cannot run a cluster of {blocks} blocks with {shared_memory >> 10} "
                "KiB of shared memory each"
            )

    def launch(self, streams: int, arguments: ctypes.Structure) -> None:
        """Enqueue the kernel on torch's current stream."""
        pointers = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        config = self._launch_config(streams)
        with torch.cuda.device(self._device):
            config.hStream = torch.cuda.current_stream().cuda_stream
            launch = self._driver.cuLaunchKernelEx
            _check(launch(config, self._kernel, ctypes.addressof(pointers), 0))

    def _launch_config(self, streams: int) -> Any:
        """Return the configuration of a launch: one row of clusters."""
        driver, (blocks, threads, shared_memory) = self._driver, self._sizes
        cluster = driver.CUlaunchAttribute()
        cluster.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        size = cluster.value.clusterDim
        size.x, size.y, size.z = blocks, 1, 1
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = streams * blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared_memory
        config.attrs, config.numAttrs = [cluster], 1
        return config


def import_bindings() -> tuple[Any, Any]:
    """Return the modules of NVRTC and of the driver API; neither uses a device yet."""
    try:
        from cuda.bindings import driver, nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError):
        raise EngineUnavailable(
            "NVRTC, which compiles the kernel, cannot be loaded; install cuda-bindings or a CUDA "
            "build of torch"
        ) from None
    return nvrtc, driver


def _check(answer: tuple[Any, ...]) -> Any:
    """Check the result code of a CUDA call and return its value."""
    result, *values = answer
    if int(result):
        raise EngineUnavailable(f"CUDA failed with {result.name}")
    return values[0] if values else None


def _read_bytes(get_size: Any, read: Any, program: Any) -> bytes:
    """Read bytes from NVRTC, after reading their number."""
    buffer = b" " * _check(get_size(program))
    _check(read(program, buffer))
    return buffer
