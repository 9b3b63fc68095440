"""CUDA C++ compiled while the program runs, and launched on clusters of thread blocks.

Source and macros enter, a cubin leaves; a cubin becomes a `Program` that takes arguments. NVRTC and
the driver come with the CUDA builds of torch, in the package cuda-bindings. Compiling needs no GPU.
"""

import ctypes
from functools import lru_cache
from typing import Any, NamedTuple

import torch

from wavenet.errors import EngineUnavailable

# No fast-math: exp is exact to the last bits, and infinities stay what they are.
OPTIONS = ("--std=c++17", "--ptxas-options=-v")
PORTABLE_BLOCKS = 8  # of a cluster; more must be asked for


class Cubin(NamedTuple):
    """Machine code of a kernel, and what the compiler said."""

    code: bytes
    log: str


@lru_cache(maxsize=32)
def compile_cubin(source: str, macros: tuple[tuple[str, int], ...], architecture: str) -> Cubin:
    """Compile CUDA C++.

    Args:
        macros: names and values.
        architecture: such as sm_90.
    Raises:
        EngineUnavailable: cuda-bindings or NVRTC are not there, or refuse the source.
    """
    nvrtc, _ = load_bindings()
    options = [*OPTIONS, f"--gpu-architecture={architecture}"]
    options += [f"--define-macro={name}={value}" for name, value in macros]
    encoded = [option.encode() for option in options]
    made = _succeed(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        (result,) = nvrtc.nvrtcCompileProgram(made, len(encoded), encoded)
        log = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, made).decode()
        if int(result):
            raise EngineUnavailable(f"NVRTC could not compile the kernel for {architecture}: {log}")
        return Cubin(_read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, made), log.strip("\0\n"))
    finally:
        nvrtc.nvrtcDestroyProgram(made)


class Program:
    """A kernel, launched one cluster for each stream.

    Args:
        device: on which it runs.
        name: of the kernel, which takes one structure.
        blocks: of a cluster.
        threads: of a block.
        shared: bytes of shared memory of a block.
    Raises:
        EngineUnavailable: the device has no room for such a cluster.
    """

    def __init__(
        self,
        device: torch.device,
        cubin: Cubin,
        name: str,
        blocks: int,
        threads: int,
        shared: int,
    ):
        _, self._driver = load_bindings()
        self._device, self._sizes = device, (blocks, threads, shared)
        with torch.cuda.device(device):
            torch.cuda.current_stream().synchronize()  # makes the context of torch the current one
            self._load(cubin, name)

    def _load(self, cubin: Cubin, name: str) -> None:
        """Load the kernel and ask for the cluster."""
        driver, (blocks, _, shared) = self._driver, self._sizes
        self._module = _succeed(driver.cuModuleLoadData(cubin.code))
        self._kernel = _succeed(driver.cuModuleGetFunction(self._module, name.encode()))
        wanted = driver.CUfunction_attribute
        attributes = {wanted.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: shared}
        if blocks > PORTABLE_BLOCKS:
            attributes[wanted.CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED] = 1
        for attribute, value in attributes.items():
            _succeed(driver.cuFuncSetAttribute(self._kernel, attribute, value))
        room = _succeed(driver.cuOccupancyMaxActiveClusters(self._kernel, self._launching(1)))
        if room < 1:
            raise EngineUnavailable(
                f"this device has no room for a cluster of {blocks} blocks with {shared >> 10} KiB "
                "of shared memory each"
            )

    def launch(self, streams: int, arguments: ctypes.Structure) -> None:
        """Start the kernel behind what torch has begun on its current stream."""
        places = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
        config = self._launching(streams)
        with torch.cuda.device(self._device):
            config.hStream = torch.cuda.current_stream().cuda_stream
            launch = self._driver.cuLaunchKernelEx
            _succeed(launch(config, self._kernel, ctypes.addressof(places), 0))

    def _launching(self, streams: int) -> Any:
        """Describe a launch: one row of clusters."""
        driver, (blocks, threads, shared) = self._driver, self._sizes
        cluster = driver.CUlaunchAttribute()
        cluster.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
        size = cluster.value.clusterDim
        size.x, size.y, size.z = blocks, 1, 1
        config = driver.CUlaunchConfig()
        config.gridDimX, config.gridDimY, config.gridDimZ = streams * blocks, 1, 1
        config.blockDimX, config.blockDimY, config.blockDimZ = threads, 1, 1
        config.sharedMemBytes = shared
        config.attrs, config.numAttrs = [cluster], 1
        return config


def load_bindings() -> tuple[Any, Any]:
    """Import NVRTC and the driver's functions; neither touches a device yet."""
    try:
        from cuda.bindings import driver, nvrtc

        nvrtc.nvrtcVersion()
    except (ImportError, RuntimeError):
        raise EngineUnavailable(
            "NVRTC, which compiles the kernel, cannot be loaded here; the package cuda-bindings "
            "and CUDA builds of torch bring it"
        ) from None
    return nvrtc, driver


def _succeed(answer: tuple[Any, ...]) -> Any:
    """Give what a function of CUDA returned behind its result."""
    result, *rest = answer
    if int(result):
        raise EngineUnavailable(f"CUDA failed with {result.name}")
    return rest[0] if rest else None


def _read(measure: Any, read: Any, program: Any) -> bytes:
    """Read bytes of which NVRTC first tells the number."""
    room = b" " * _succeed(measure(program))
    _succeed(read(program, room))
    return room
