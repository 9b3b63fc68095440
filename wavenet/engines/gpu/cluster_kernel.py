"""The kernel for few streams: a cluster of thread blocks stores the network on the chip.

Input: a model with rounded weights, a state, noise and condition frames. Output: codes, the same as
those of the Triton kernel, or the params of one sample. `cluster_kernel.cu` contains and describes
the kernel. This file distributes the work to blocks and threads, packs the weights accordingly, and
compiles the kernel for a network. Called by `gpu_engine` for few streams.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wavenet.engines.engine import State
from wavenet.engines.gpu import nvrtc
from wavenet.engines.gpu.tile_weights import (
    BYTES_PER_WEIGHT,
    SHARED_MEMORY_BYTES,
    TileShape,
    block_shared_memory,
    make_tile_shape,
    pad_last_axes,
)
from wavenet.engines.kernel_inputs import CATEGORICAL, embedding_rows, make_sampling_rules
from wavenet.errors import EngineUnavailable
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

SOURCES = [Path(__file__).with_name(name) for name in ("cluster_device.cuh", "cluster_kernel.cu")]
MIN_CLUSTER_CAPABILITY = (9, 0)  # compute capability: the first with clusters
CLUSTER_SIZES = (8, 16)  # blocks; every device with clusters supports 8, some support 16
MAX_STREAMS = 4  # for more, the Triton kernel reads each weight once for many streams
MAX_LANES = 16  # threads that share a row of a product
MAX_POLLS = 1 << 26  # of one wait: some seconds


class ClusterPlan(NamedTuple):
    """The distribution of the work to blocks and threads.

    Attributes:
        blocks: per cluster.
        layers_per_block: layers of the chain in one block.
        gate_threads, residual_threads, head_threads, tap_threads: per block, of the four roles.
        shared_memory: bytes per block.
    """

    blocks: int
    layers_per_block: int
    gate_threads: int
    residual_threads: int
    head_threads: int
    tap_threads: int
    shared_memory: int


class KernelArguments(ctypes.Structure):
    """The parameter of the kernel: its `struct KernelArguments`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rings", "last", "noise", "codes", "params")),
        *((name, ctypes.c_void_p) for name in ("frames", "frame_offsets", "block_weights")),
        *((name, ctypes.c_void_p) for name in ("past_taps", "skips", "embedding", "biases")),
        *((name, ctypes.c_void_p) for name in ("layout", "status")),
        *((name, ctypes.c_double) for name in ("temperature", "top_p")),
        *((name, ctypes.c_int) for name in ("slots", "ring_width", "samples", "frame_count")),
        *((name, ctypes.c_int) for name in ("hop_length", "top_k", "greedy")),
    )


class ClusterWeights(NamedTuple):
    """Flat tensors on the model's device; `KernelArguments` in the kernel has their shapes."""

    block_weights: Tensor
    past_taps: Tensor
    skips: Tensor
    embedding: Tensor
    biases: Tensor


class Launcher(Protocol):
    """Launches the kernel: an `nvrtc.ClusterProgram`, or in tests an emulation on the CPU."""

    def launch(self, streams: int, arguments: ctypes.Structure) -> None:
        """Run the kernel, one cluster per stream."""
        ...


class ClusterKernel:
    """The kernel for one model.

    Args:
        model: with weights rounded to the precision, see `tile_weights.round_gpu_weights`.
        plan, build: for tests; by default those of the model's device.
    Raises:
        EngineUnavailable: the kernel does not support the device, the output or the size of the
            model.
    """

    def __init__(
        self,
        model: WaveNet,
        precision: str,
        plan: ClusterPlan | None = None,
        build: Callable[[dict[str, int]], Launcher] | None = None,
    ):
        self._shape = shape = make_tile_shape(model, precision)
        if shape.family != CATEGORICAL:
            raise EngineUnavailable(
                "the kernel for few streams draws from categorical outputs only, found a mixture"
            )
        self.plan = plan or plan_for_device(model, shape, precision)
        macros = kernel_macros(shape, self.plan, precision, model.condition is not None)
        self._program = build(macros) if build else compile_program(model, self.plan, macros)
        self._weights = pack_cluster_weights(model, shape, self.plan, precision)
        self._layout = torch.tensor([model.config.ring_edges[:-1], model.config.dilations])

    def supports(self, streams: int, sampling: SamplingConfig) -> bool:
        """Return whether this kernel can run this number of streams with these settings."""
        return streams <= MAX_STREAMS and rows_per_clip(sampling) == 1

    def launch(
        self,
        state: State,
        sampling: SamplingConfig,
        noise: Tensor | None,
        codes: Tensor | None,
        frames: Tensor,
        frame_count: int,
    ) -> Tensor:
        """Generate one sample per uniform and write the codes; without noise, predict one sample.

        Args:
            state: only its rings are changed, in place.
            noise, codes: (B, samples) float32 and int64, contiguous.
            frames: (B, frame_count, layers, 2, padded G), read if the model has conditions.
        Returns:
            params (B, padded P) of the sample, if codes is None.
        """
        memory = state.memory
        assert isinstance(memory, RingMemory)
        shape, device = self._shape, memory.rings.device
        streams, slots, ring_width = memory.rings.shape
        lengths = ((shape.kernel_size - 1) * self._layout[1]).clamp(min=1)
        layout = torch.cat([self._layout, (memory.cursor % lengths)[None]])
        rules = make_sampling_rules(sampling)
        tensors = {
            "rings": memory.rings,
            "last": state.last.contiguous(),
            "noise": noise,
            "codes": codes,
            "params": torch.empty(streams, shape.params_width, device=device),
            "frames": frames,
            "frame_offsets": state.position % state.conditioning.hop_length,
            "layout": layout.to(device, torch.int32),
            "status": torch.zeros(1, dtype=torch.int32, device=device),
            **self._weights._asdict(),
        }
        pointers = {name: t if t is None else t.data_ptr() for name, t in tensors.items()}
        arguments = KernelArguments(
            **pointers,
            temperature=rules.temperature,
            top_p=rules.top_p,
            slots=slots,
            ring_width=ring_width,
            samples=1 if noise is None else noise.shape[1],
            frame_count=frame_count,
            hop_length=state.conditioning.hop_length,
            top_k=rules.top_k,
            greedy=rules.greedy,
        )
        self._program.launch(streams, arguments)
        # reading the status waits for the kernel, so its inputs may be freed afterwards
        if int(tensors["status"]):
            raise RuntimeError(
                "a thread of the kernel for few streams waited too long; the codes are invalid"
            )
        params: Tensor = tensors["params"]
        return params


def plan_for_device(model: WaveNet, shape: TileShape, precision: str) -> ClusterPlan:
    """Choose the smallest cluster of the model's device with sufficient shared memory.

    Raises:
        EngineUnavailable: the device is too old or too small.
    """
    device = model.device
    if device.type != "cuda":
        raise EngineUnavailable(f"the kernel for few streams needs a GPU, found {device.type}")
    found = torch.cuda.get_device_capability(device)
    if found < MIN_CLUSTER_CAPABILITY:
        raise EngineUnavailable(
            "the kernel for few streams needs thread block clusters, of compute capability 9.0 or "
            f"more, found {found[0]}.{found[1]}"
        )
    return make_plan(shape, precision, block_shared_memory(device))


def make_plan(
    shape: TileShape,
    precision: str,
    memory: int = SHARED_MEMORY_BYTES,
    cluster_sizes: tuple[int, ...] = CLUSTER_SIZES,
) -> ClusterPlan:
    """Choose the first of these cluster sizes with sufficient memory, and the fewest chain blocks.

    Args:
        memory: bytes of shared memory per block of the device.
    Raises:
        EngineUnavailable: no size is sufficient; the message has the bytes that the model needs.
    """
    gate, residual = (min(256, 2 * width) for width in (shape.gate_width, shape.residual_width))
    head = max(32, min(128, shape.params_width // 2))
    needed = 0
    for blocks in cluster_sizes:
        for chain_blocks in range(1, min(blocks, shape.layers) + 1):
            layers = -(-shape.layers // chain_blocks)
            needed = shared_memory_bytes(shape, precision, blocks, layers, head)
            if needed <= memory:
                return ClusterPlan(blocks, layers, gate, residual, head, min(128, gate), needed)
    raise EngineUnavailable(
        f"the kernel for few streams keeps weights in the shared memory of {cluster_sizes[-1]} "
        f"blocks, {memory >> 10} KiB each, and these weights need {needed >> 10} KiB each in "
        f"{precision}"
    )


def shared_memory_bytes(
    shape: TileShape, precision: str, blocks: int, layers_per_block: int, head_threads: int
) -> int:
    """Return an upper bound of the shared memory of a block in bytes, weights included."""
    r, g, s, p = shape.residual_width, shape.gate_width, shape.skip_width, shape.params_width
    chain_blocks = -(-shape.layers // layers_per_block)
    tap_layers = -(-shape.layers // (blocks - chain_blocks or blocks))
    messages = shape.layers * g + 2 * s + p + layers_per_block * 2 * g + (tap_layers + 1) * r + 2
    floats = 2 * r + 2 * g + max(1, shape.kernel_size - 1) * r
    draw = 12 * p + 16 * (head_threads // 32) + 8
    weights = layers_per_block * 3 * g * r + (s + p) // blocks * s
    return 8 * messages + 4 * floats + draw + 16 * 16 + BYTES_PER_WEIGHT[precision] * weights


def kernel_macros(
    shape: TileShape, plan: ClusterPlan, precision: str, has_conditions: bool
) -> dict[str, int]:
    """Return the macros of the kernel."""
    return {
        "LAYERS": shape.layers,
        "KERNEL_SIZE": shape.kernel_size,
        "R": shape.residual_width,
        "G": shape.gate_width,
        "S": shape.skip_width,
        "P": shape.params_width,
        "CLASSES": shape.n_classes,
        "BLOCKS": plan.blocks,
        "LAYERS_PER_BLOCK": plan.layers_per_block,
        "GATE_THREADS": plan.gate_threads,
        "RESIDUAL_THREADS": plan.residual_threads,
        "HEAD_THREADS": plan.head_threads,
        "TAP_THREADS": plan.tap_threads,
        "BF16": int(precision == "bf16"),
        "HAS_CONDITIONS": int(has_conditions),
        "SHARED_MEMORY_BYTES": plan.shared_memory,
        "MAX_POLLS": MAX_POLLS,
    }


def compile_program(
    model: WaveNet, plan: ClusterPlan, macros: dict[str, int]
) -> nvrtc.ClusterProgram:
    """Compile the kernel for the model's device."""
    device = model.device
    major, minor = torch.cuda.get_device_capability(device)
    cubin = nvrtc.compile_cubin(read_source(), tuple(macros.items()), f"sm_{major}{minor}")
    threads = plan.gate_threads + plan.residual_threads + plan.head_threads + plan.tap_threads
    return nvrtc.ClusterProgram(
        device, cubin, "generate_stream", plan.blocks, threads, plan.shared_memory
    )


def read_source() -> str:
    """Return the CUDA C++ source for a device."""
    return "".join(path.read_text(encoding="utf-8") for path in SOURCES)


@torch.no_grad()
def pack_cluster_weights(
    model: WaveNet, shape: TileShape, plan: ClusterPlan, precision: str
) -> ClusterWeights:
    """Pack weights and biases in the layout that the kernel reads."""
    s, p, g, blocks = shape.skip_width, shape.params_width, shape.gate_width, plan.blocks
    layers, past_taps, gate_biases, residual_biases = _pack_layers(model, shape, plan)
    missing = blocks * plan.layers_per_block - shape.layers
    chain = pad_last_axes(layers, missing + shape.layers, layers.shape[1]).reshape(blocks, -1)
    products = [
        pack_quads(pad_last_axes(layer.weight, rows, s).reshape(blocks, -1, s), plan.head_threads)
        for layer, rows in ((model.hidden, s), (model.output, p))
    ]
    skips = pad_last_axes(model.skip.weight.unflatten(1, (shape.layers, -1)), s, shape.layers, g)
    skips = skips.reshape(blocks, -1, shape.layers, g).transpose(1, 2)
    biases = [*gate_biases, *residual_biases]
    biases += [pad_last_axes(model.skip.bias, s), pad_last_axes(model.hidden.bias, s)]
    biases.append(pad_last_axes(model.output.bias, p))
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    return ClusterWeights(
        torch.cat([chain, *products], dim=1).to(dtype).contiguous(),
        past_taps.to(dtype),
        pack_quads(skips, plan.head_threads).to(dtype).contiguous(),
        pad_last_axes(embedding_rows(model), shape.residual_width).contiguous(),
        torch.cat(biases),
    )


def _pack_layers(
    model: WaveNet, shape: TileShape, plan: ClusterPlan
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Pack the layers: current taps and residuals, past taps, and the biases of both."""
    r, g, taps = shape.residual_width, shape.gate_width, shape.kernel_size
    current_taps, past_taps, gate_biases, residuals, residual_biases = [], [], [], [], []
    for block in model.blocks:
        conv = block.conv.linear
        # rows alternate between tanh and sigmoid, taps are separate: (2G, K, R)
        rows = conv.weight.unflatten(0, (2, -1)).unflatten(2, (taps, -1))
        rows = pad_last_axes(rows.transpose(0, 1), 2, taps, r)
        rows = pad_last_axes(rows.flatten(1), g, 2 * taps * r)
        rows = rows.reshape(2 * g, taps, r)
        current_taps.append(pack_quads(rows[:, -1], plan.gate_threads))
        past_taps.append(pack_quads(rows[:, :-1].flatten(1), plan.tap_threads))
        gate_biases.append(pad_last_axes(conv.bias.unflatten(0, (2, -1)), g).T.flatten())
        if block.residual is None:  # nothing reads the output of the last layer
            weight, bias = conv.weight.new_zeros(r, g), conv.bias.new_zeros(r)
        else:
            weight = pad_last_axes(block.residual.weight, r, g)
            bias = pad_last_axes(block.residual.bias, r)
        residuals.append(pack_quads(weight, plan.residual_threads))
        residual_biases.append(bias)
    layers = torch.cat([torch.stack(current_taps), torch.stack(residuals)], dim=1)
    return layers, torch.stack(past_taps), gate_biases, residual_biases


def pack_quads(rows: Tensor, threads: int) -> Tensor:
    """Order matrices (.., N, K) by the threads that read them: (.., N * K).

    A quad is the weights of four neighbouring inputs, which a thread reads at once; see `Product`
    in the kernel.
    """
    n, k = rows.shape[-2:]
    if not k:
        return rows.flatten(-2)
    lanes = min(max(1, threads // n), MAX_LANES, (k & -k) // 4)
    active = min(n * lanes, threads)
    quads = rows.unflatten(-1, (-1, lanes, 4)).unflatten(-4, (-1, active // lanes))
    return quads.transpose(-4, -3).flatten(-5)
