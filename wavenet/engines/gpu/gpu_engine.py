"""The engine `gpu`: one launch of a kernel computes all layers and all samples.

Input: a conditioning and noise. Output: codes or params, as of the engine `cached`, for a few
streams or thousands. Weights are stored in float32 or in bf16; the results equal float32 arithmetic
to the last few bits with both. Any number of streams can use the kernel in `triton_kernels`; few
streams use `cluster_kernel` instead if the device supports it. The package docstring describes the
plan. Called by `registry.make_engine`.

Triton is part of GPU builds of torch. On a CPU its interpreter can replace the compiler if
TRITON_INTERPRET=1 is in the environment before triton is first imported. The interpreter is very
slow; tests use it.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from wavenet.engines.engine import BaseEngine, State
from wavenet.engines.gpu.cluster_kernel import ClusterKernel
from wavenet.engines.gpu.tile_weights import (
    TileShape,
    block_shared_memory,
    check_part_size,
    make_tile_shape,
    pack_tile_weights,
    pad_frames,
    round_gpu_weights,
)
from wavenet.engines.kernel_inputs import CATEGORICAL, SamplingRules, make_sampling_rules
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

# Maximum of streams, and the streams and warps of a program. For few streams there are as many
# programs as possible; for many, a program reads each weight once for more streams. Calculated for
# 132 multiprocessors, not yet tuned on a device.
TILES = ((2_048, (16, 8)), (8_192, (32, 8)))
LARGEST_TILE = (64, 8)
MAX_DRAW_LOGITS = 2_048  # in registers while codes are drawn
STAGES = 2  # chunks of weights of the output layers that are loaded ahead
MAX_FRAME_BYTES = 1 << 30  # of condition frames per launch
MAX_SAMPLES = 1 << 20  # per launch
MIN_CAPABILITY = (8, 0)  # compute capability: the first with bfloat16


class GpuEngine(BaseEngine):
    """The engine that generates all samples of a run by one launch of a kernel.

    Attributes:
        model: the model that this engine runs; in bf16 a copy with the rounded weights.
        cluster_reason: why the cluster kernel is not used; "" if few streams use it.

    Args:
        model: on a CUDA device.
        precision: "fp32" or "bf16", how the weights are stored.
    Raises:
        EngineUnavailable: triton is missing, or the model is on another device, not in float32 or
            too wide.
    """

    name = "gpu"
    model: WaveNet

    def __init__(self, model: AutoregressiveModel[Any], precision: str = "fp32"):
        if not isinstance(model, WaveNet):
            raise ModelUnsupported(
                f"the engine gpu runs WaveNets only, found {model.config.architecture}; use "
                "the engine graph"
            )
        device = model.device
        shape = make_tile_shape(model, precision)
        _check_device(device)
        _check_model(model, shape, precision)
        self._kernels = _import_kernels()
        self.precision = precision
        self.model = round_gpu_weights(model, precision)
        self._shape = shape
        self._weights = pack_tile_weights(self.model, precision)
        layout = [model.config.ring_edges[:-1], model.config.dilations]
        self._layout = torch.tensor(layout, dtype=torch.int32, device=device)
        self._cluster, self.cluster_reason = _make_cluster_kernel(self.model, precision)

    def _initial_memory(self, conditioning: Conditioning) -> RingMemory:
        """Return ring buffers whose channels are padded to a power of two."""
        edges = self.model.config.ring_edges
        shape = (conditioning.batch, edges[-1], self._shape.residual_width)
        return RingMemory(torch.zeros(shape, device=conditioning.device), edges)

    @property
    def _memory_values(self) -> int:
        return self.model.config.ring_edges[-1] * self._shape.residual_width

    def _step(self, state: State) -> Tensor:
        return self._launch(state, SamplingConfig(), None, None)

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip, in one launch unless the frames need too much memory."""
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        most = self._max_samples(state)
        for begin in range(0, n, most):
            part = noise[:, begin : min(begin + most, n)]
            # a copy, because triton would compile again for a slice at an unaligned address
            part = part.clone(memory_format=torch.contiguous_format)
            drawn = torch.empty(part.shape, dtype=torch.int64, device=noise.device)
            self._launch(state, sampling, part, drawn)
            codes[:, begin : begin + most] = drawn
            state.last = drawn[:, -1].repeat_interleave(rows_per_clip(sampling))
            state.position = state.position + part.shape[1]
        return codes

    def _max_samples(self, state: State) -> int:
        """Return the largest number of samples whose condition frames fit into memory."""
        if state.conditioning.network is None:
            return MAX_SAMPLES
        shape = self._shape
        frame_bytes = state.position.shape[0] * shape.layers * 2 * shape.gate_width * 4
        # without the frames before the first and after the last sample
        frames = MAX_FRAME_BYTES // frame_bytes - 2
        return min(max(1, frames * state.conditioning.hop_length), MAX_SAMPLES)

    def _launch(
        self, state: State, sampling: SamplingConfig, noise: Tensor | None, codes: Tensor | None
    ) -> Tensor:
        """Generate one sample per uniform and write the codes; without noise, predict one sample.

        Returns:
            params (B, P) of the last sample.
        """
        streams = state.position.shape[0]
        samples = 1 if noise is None else noise.shape[1]
        memory = state.memory
        assert isinstance(memory, RingMemory)
        frames, frame_count = self._frames(state, samples)
        if self._cluster and self._cluster.supports(streams, sampling):
            params = self._cluster.launch(state, sampling, noise, codes, frames, frame_count)
        else:
            params = self._launch_triton(state, sampling, noise, codes, frames, frame_count)
        memory.move_cursor(samples)
        return params[:streams, : self._shape.n_params]

    def _launch_triton(
        self,
        state: State,
        sampling: SamplingConfig,
        noise: Tensor | None,
        codes: Tensor | None,
        frames: Tensor,
        frame_count: int,
    ) -> Tensor:
        """Implement `_launch` by the Triton kernel; params are padded to whole tiles."""
        shape, streams, device = self._shape, state.position.shape[0], state.position.device
        memory, hop = state.memory, state.conditioning.hop_length
        assert isinstance(memory, RingMemory)
        tile, warps = choose_tile(streams)
        whole = -(-streams // tile) * tile
        last = state.last.clone()
        # with kernel size 1 the rings have no slots
        lengths = ((shape.kernel_size - 1) * self._layout[1]).clamp(min=1)
        oldest = (memory.cursor % lengths).to(torch.int32)
        rules = make_sampling_rules(sampling)
        numbers = [rules.temperature, rules.top_p, rules.guidance]
        width = shape.residual_width + shape.layers * shape.gate_width + 2 * shape.skip_width
        params = torch.empty(whole, shape.params_width, device=device)
        launcher = self._kernels.generate_tile[(whole // tile,)]
        with _device_context(device):
            try:
                launcher(
                    memory.rings,
                    last,
                    params if noise is None else noise,
                    last if codes is None else codes,
                    frames,
                    state.position % hop,
                    torch.empty(whole, width, device=device),
                    params,
                    *self._weights,
                    torch.cat([self._layout.flatten(), oldest]),
                    torch.tensor(numbers, dtype=torch.float64, device=device),
                    streams,
                    memory.rings.shape[1],
                    1 if noise is None else noise.shape[1],
                    frame_count,
                    hop,
                    rules.top_k,
                    **_kernel_constants(shape, rules, codes is not None, tile),
                    HAS_CONDITIONS=state.conditioning.network is not None,
                    BF16=self.precision == "bf16",
                    num_warps=warps,
                )
            except self._kernels.OutOfResources as error:
                raise EngineUnavailable(
                    f"this device is too small for the engine gpu ({error}); use the engine graph"
                ) from None
        return params

    def _frames(self, state: State, samples: int) -> tuple[Tensor, int]:
        """Compute the padded condition frames of the next samples; return them and their number.

        Without conditions the result is an unused tensor and 0.
        """
        hop = state.conditioning.hop_length
        count = frames_needed(int((state.position % hop).max()), samples, hop)
        frames = state.conditioning.biases(state.position // hop, count)
        if frames is None:
            return self._weights.biases, 0
        return pad_frames(frames, self._shape), count


def choose_tile(streams: int) -> tuple[int, int]:
    """Return the numbers of streams and of warps of a program."""
    return next((tile for most, tile in TILES if streams <= most), LARGEST_TILE)


def _kernel_constants(
    shape: TileShape, rules: SamplingRules, draw: bool, tile: int
) -> dict[str, Any]:
    """Return the compile-time constants of the kernel."""
    draws_randomly = draw and not rules.greedy
    guided = draw and rules.guidance != 1
    width = shape.params_width if shape.family == CATEGORICAL else shape.components_width
    return {
        "LAYERS": shape.layers,
        "KERNEL_SIZE": shape.kernel_size,
        "BITS": shape.n_classes.bit_length() - 1,
        "SCALAR": shape.scalar_input,
        "R": shape.residual_width,
        "G": shape.gate_width,
        "S": shape.skip_width,
        "P": shape.params_width,
        "FAMILY": shape.family,
        "COMPONENTS": shape.components,
        "M": shape.components_width,
        "GREEDY": draw and rules.greedy,
        "TOP_K": draws_randomly and 0 < rules.top_k < shape.n_classes,
        "TOP_P": draws_randomly and rules.top_p < 1,
        "GUIDED": guided,
        "DRAW": draw,
        "TILE": tile,
        "DRAW_TILE": max(1, min(tile // (2 if guided else 1), MAX_DRAW_LOGITS // width)),
        "SPLITS_LAYERS": shape.splits_layers,
        "CHUNK_SIZE": shape.chunk_size,
        "STAGES": STAGES,
    }


def _is_interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _check_device(device: torch.device) -> None:
    """Check that a device is a GPU of sufficient compute capability."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        if capability < MIN_CAPABILITY:
            needed, found = (".".join(map(str, c)) for c in (MIN_CAPABILITY, capability))
            raise EngineUnavailable(
                f"the engine gpu needs a device of compute capability {needed} or more, found "
                f"{found}; use the engine graph"
            )
    elif not (device.type == "cpu" and _is_interpreted()):
        raise EngineUnavailable(
            f"the engine gpu needs the model on a CUDA device, found {device.type}; use the "
            f"engine {'cpu' if device.type == 'cpu' else 'cached'}"
        )


def _check_model(model: WaveNet, shape: TileShape, precision: str) -> None:
    """Check the type of the weights and the size of the tiles."""
    if model.dtype != torch.float32:
        found = str(model.dtype).removeprefix("torch.")
        raise EngineUnavailable(
            f"the engine gpu needs a model in float32, found {found}; use the engine graph"
        )
    check_part_size(shape, precision, block_shared_memory(model.device))


def _import_kernels() -> Any:
    """Import the kernels and triton."""
    missing = "the engine gpu needs triton, which cannot be imported; use the engine graph"
    if find_spec("triton") is None:
        raise EngineUnavailable(missing)
    try:
        from wavenet.engines.gpu import triton_kernels
    except ImportError:
        raise EngineUnavailable(missing) from None
    if _is_interpreted() and not triton_kernels.INTERPRETED.value:
        raise EngineUnavailable(
            "triton was imported before TRITON_INTERPRET=1 was set; set it before python starts"
        )
    return triton_kernels


def _make_cluster_kernel(model: WaveNet, precision: str) -> tuple[ClusterKernel | None, str]:
    """Build the kernel for few streams; return it and "", or None and the reason."""
    try:
        return ClusterKernel(model, precision), ""
    except EngineUnavailable as error:
        return None, str(error)


def _device_context(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which the GPU is the current device."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
