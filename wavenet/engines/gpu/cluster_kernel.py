"""One stream, as soon as can be: a cluster of thread blocks keeps the network on the chip.

A model with the rounded weights enters, with states, noise and condition frames; codes leave, the
same as those of the engine's other kernel, or the params of one sample. Called by `gpu` for few
streams. The kernel is `cluster_kernel.cu`, which says how it works; `cluster_plan` decides what
each block keeps; this file lays the weights out and has the kernel compiled for the network.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from wavenet.engines.base import State
from wavenet.engines.gpu import nvrtc
from wavenet.engines.gpu.cluster_plan import Plan, macros_of, make_plan
from wavenet.engines.gpu.tile_weights import SHARED_MEMORY, Shape, input_rows, pad, shape_of
from wavenet.errors import EngineUnavailable
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

SOURCES = [Path(__file__).with_name(name) for name in ("cluster_device.cuh", "cluster_kernel.cu")]
OLDEST_DEVICE = (9, 0)  # compute capability: the first with clusters
MOST_LANES = 16  # threads that share a row of a product
MOST_STREAMS = 4  # more are taken by the kernel that shares the reading of weights


class Launcher(Protocol):
    """What runs the kernel: a `nvrtc.Program`, or in tests a CPU."""

    def launch(self, streams: int, arguments: ctypes.Structure) -> None:
        """Run the kernel, one cluster for each stream."""
        ...


class Arguments(ctypes.Structure):
    """What the kernel is given: the fields of its `struct Arguments`."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("rings", "last", "noise", "codes", "params")),
        *((name, ctypes.c_void_p) for name in ("frames", "leads", "image", "taps", "skips")),
        *((name, ctypes.c_void_p) for name in ("embedding", "biases", "layout", "status")),
        *((name, ctypes.c_double) for name in ("temperature", "top_p")),
        *((name, ctypes.c_int) for name in ("slots", "width", "n", "count", "hop")),
        *((name, ctypes.c_int) for name in ("top_k", "greedy")),
    )


class Packed(NamedTuple):
    """Flat tensors on the model's device; `cluster_kernel.cu` gives their shapes."""

    image: Tensor
    taps: Tensor
    skips: Tensor
    embedding: Tensor
    biases: Tensor


class StreamKernel:
    """The kernel for one model.

    Args:
        model: with the weights that the precision can hold, see `tile_weights.round_weights`.
        plan, program: for tests; made for the model's device when left out.
    Raises:
        EngineUnavailable: the device, the output or the size of the model is not for this kernel.
    """

    def __init__(
        self,
        model: WaveNet,
        precision: str,
        plan: Plan | None = None,
        program: Callable[[dict[str, int]], Launcher] | None = None,
    ):
        self._shape = shape = shape_of(model, precision)
        if shape.family:
            raise EngineUnavailable("the kernel for one stream draws classes, no mixtures")
        self.plan = plan or plan_for(model, shape, precision)
        macros = macros_of(shape, self.plan, precision, model.condition is not None)
        self._program = program(macros) if program else compile_program(model, self.plan, macros)
        self._packed = pack(model, shape, self.plan, precision)
        self._layout = torch.tensor([model.config.ring_edges[:-1], model.config.dilations])

    def takes(self, streams: int, sampling: SamplingConfig) -> bool:
        """Say whether this kernel is for so many streams, drawn so."""
        return streams <= MOST_STREAMS and rows_per_clip(sampling) == 1

    def launch(
        self,
        state: State,
        sampling: SamplingConfig,
        noise: Tensor | None,
        codes: Tensor | None,
        frames: Tensor,
        count: int,
    ) -> Tensor:
        """Advance the rings as far as there is noise and write the codes, or predict one sample.

        Args:
            state: its rings are changed in place, and nothing else.
            noise, codes: (B, n) float32 and int64, contiguous.
            frames: (B, count, layers, 2, padded G), read if the model has conditions.
        Returns:
            params (B, padded P) of the sample, if there are no codes.
        """
        memory = state.memory
        assert isinstance(memory, RingMemory)
        shape, device = self._shape, memory.rings.device
        streams, slots, width = memory.rings.shape
        lengths = ((shape.taps - 1) * self._layout[1]).clamp(min=1)
        layout = torch.cat([self._layout, (memory.cursor % lengths)[None]])
        given = {
            "rings": memory.rings,
            "last": state.last.contiguous(),
            "noise": noise,
            "codes": codes,
            "params": torch.empty(streams, shape.out, device=device),
            "frames": frames,
            "leads": state.position % state.conditioning.hop_length,
            "layout": layout.to(device, torch.int32),
            "status": torch.zeros(1, dtype=torch.int32, device=device),
            **self._packed._asdict(),
        }
        arguments = Arguments(
            **{name: None if part is None else part.data_ptr() for name, part in given.items()},
            temperature=sampling.temperature,
            top_p=sampling.top_p or 1.0,
            slots=slots,
            width=width,
            n=1 if noise is None else noise.shape[1],
            count=count,
            hop=state.conditioning.hop_length,
            top_k=sampling.top_k or 0,
            greedy=sampling.greedy,
        )
        self._program.launch(streams, arguments)
        # waits for the kernel, so that all it was given may go
        if int(given["status"]):
            raise RuntimeError("the kernel for one stream waited in vain; its codes are void")
        params: Tensor = given["params"]
        return params


def plan_for(model: WaveNet, shape: Shape, precision: str) -> Plan:
    """Choose the smallest cluster of the model's device that keeps the model.

    Raises:
        EngineUnavailable: the device is too old or too small.
    """
    device = model.device
    if device.type != "cuda":
        raise EngineUnavailable(f"the kernel for one stream needs a GPU, found {device.type}")
    found = torch.cuda.get_device_capability(device)
    if found < OLDEST_DEVICE:
        raise EngineUnavailable(
            "the kernel for one stream needs thread block clusters, of compute capability 9.0 or "
            f"more, found {found[0]}.{found[1]}"
        )
    properties = torch.cuda.get_device_properties(device)
    memory = getattr(properties, "shared_memory_per_block_optin", SHARED_MEMORY)
    return make_plan(shape, precision, memory)


def compile_program(model: WaveNet, plan: Plan, macros: dict[str, int]) -> nvrtc.Program:
    """Compile the kernel for the device of the model."""
    device = model.device
    major, minor = torch.cuda.get_device_capability(device)
    cubin = nvrtc.compile_cubin(read_source(), tuple(macros.items()), f"sm_{major}{minor}")
    threads = plan.gate + plan.residual + plan.head + plan.taps
    return nvrtc.Program(device, cubin, "advance", plan.blocks, threads, plan.shared)


def read_source() -> str:
    """Read what is compiled for a device."""
    return "".join(path.read_text(encoding="utf-8") for path in SOURCES)


@torch.no_grad()
def pack(model: WaveNet, shape: Shape, plan: Plan, precision: str) -> Packed:
    """Lay weights and biases out as the kernel reads them."""
    r, g, s, p, blocks = shape.residual, shape.gate, shape.skip, shape.out, plan.blocks
    gates, olds, gate_biases, residuals, residual_biases = [], [], [], [], []
    for block in model.blocks:
        conv = block.conv.linear
        # rows of tanh and sigmoid in turn, taps apart: (2G, K, R)
        taps = conv.weight.unflatten(0, (2, -1)).unflatten(2, (shape.taps, -1))
        taps = pad(taps.transpose(0, 1), 2, shape.taps, r)
        taps = pad(taps.flatten(1), g, 2 * shape.taps * r)
        taps = taps.reshape(2 * g, shape.taps, r)
        gates.append(pack_rows(taps[:, -1], plan.gate))
        olds.append(pack_rows(taps[:, :-1].flatten(1), plan.taps))
        gate_biases.append(pad(conv.bias.unflatten(0, (2, -1)), g).T.flatten())
        if block.residual is None:  # the last layer: nobody reads x behind it
            weight, bias = conv.weight.new_zeros(r, g), conv.bias.new_zeros(r)
        else:
            weight, bias = pad(block.residual.weight, r, g), pad(block.residual.bias, r)
        residuals.append(pack_rows(weight, plan.residual))
        residual_biases.append(bias)
    layers = torch.cat([torch.stack(gates), torch.stack(residuals)], dim=1)
    missing = blocks * plan.layers - shape.layers
    chain = pad(layers, missing + shape.layers, layers.shape[1]).reshape(blocks, -1)
    products = [
        pack_rows(pad(product.weight, rows, s).reshape(blocks, -1, s), plan.head)
        for product, rows in ((model.hidden, s), (model.output, p))
    ]
    skips = pad(model.skip.weight.unflatten(1, (shape.layers, -1)), s, shape.layers, g)
    skips = skips.reshape(blocks, -1, shape.layers, g).transpose(1, 2)
    biases = [*gate_biases, *residual_biases]
    biases += [pad(model.skip.bias, s), pad(model.hidden.bias, s), pad(model.output.bias, p)]
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    return Packed(
        torch.cat([chain, *products], dim=1).to(kind).contiguous(),
        torch.stack(olds).to(kind),
        pack_rows(skips, plan.head).to(kind).contiguous(),
        pad(input_rows(model), r).contiguous(),
        torch.cat(biases),
    )


def pack_rows(rows: Tensor, threads: int) -> Tensor:
    """Order matrices (.., N, K) by the thread that reads each quad of weights: (.., N * K).

    See `Product` in the kernel.
    """
    n, k = rows.shape[-2:]
    if not k:
        return rows.flatten(-2)
    lanes = min(max(1, threads // n), MOST_LANES, (k & -k) // 4)
    active = min(n * lanes, threads)
    quads = rows.unflatten(-1, (-1, lanes, 4)).unflatten(-4, (-1, active // lanes))
    return quads.transpose(-4, -3).flatten(-5)
