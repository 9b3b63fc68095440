"""The compiled engine for a GPU: one kernel goes through all layers and all samples.

Same protocol and same numbers as `cached`, for few streams or thousands. Weights are kept in
float32 or in 16 bits; arithmetic is float32 to the last few bits either way. The kernel is in
`triton_kernels`; few streams use their own kernel, in `cluster_kernel`, if the device supports it.
Triton comes with the GPU build of torch. On a CPU its interpreter can replace it, very slowly: with
TRITON_INTERPRET=1 in the environment before triton is first imported, which is how this engine is
tested without a device.
"""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from wavenet.engines.base import State, SteppedEngine
from wavenet.engines.gpu.cluster_kernel import StreamKernel
from wavenet.engines.gpu.tile_weights import (
    SHARED_MEMORY,
    Shape,
    check_tiles,
    pack_weights,
    pad_frames,
    round_weights,
    shape_of,
)
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.model.base import AutoregressiveModel
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

# Streams up to which a program takes so many, and its warps. Few streams are spread over as many
# programs as can be; many share the reading of weights. By reckoning for 132 multiprocessors, to be
# tuned on a device.
TILES = ((2_048, (16, 8)), (8_192, (32, 8)))
LARGEST_TILE = (64, 8)
DRAWN_AT_ONCE = 2_048  # logits in registers while codes are drawn
STAGES = 2  # tiles of the post-net under way
FRAME_BYTES = 1 << 30  # of condition frames for one launch
MOST_SAMPLES = 1 << 20  # of one launch
OLDEST_DEVICE = (8, 0)  # compute capability: the first with bfloat16


class GpuEngine(SteppedEngine):
    """See the module.

    Attributes:
        model: what this engine runs; in 16 bits a copy that has the rounded weights.
        shared_reason: why few streams run in the kernel for many; "" if they have their own.

    Args:
        model: on a CUDA device.
        precision: "fp32" or "bf16", how the weights are stored.
    Raises:
        EngineUnavailable: there is no triton, the model lies on another device, is not in float32
            or is too wide.
    """

    name = "gpu"
    model: WaveNet

    def __init__(self, model: AutoregressiveModel[Any], precision: str = "fp32"):
        if not isinstance(model, WaveNet):
            raise ModelUnsupported(
                f"the engine gpu runs WaveNets only, found {type(model).__name__}; use the engine "
                "graph"
            )
        device = model.device
        shape = shape_of(model, precision)
        _check_device(device)
        _check_model(model, shape, precision)
        self._kernels = _load_kernels()
        self.precision = precision
        self.model = round_weights(model, precision)
        self._shape = shape
        self._packed = pack_weights(self.model, precision)
        layout = [model.config.ring_edges[:-1], model.config.dilations]
        self._layout = torch.tensor(layout, dtype=torch.int32, device=device)
        self._few, self.shared_reason = _make_stream_kernel(self.model, precision)

    def _initial_memory(self, conditioning: Conditioning) -> RingMemory:
        """Return ring buffers whose channels are padded to a power of two."""
        edges = self.model.config.ring_edges
        shape = (conditioning.batch, edges[-1], self._shape.residual)
        return RingMemory(torch.zeros(shape, device=conditioning.device), edges)

    @property
    def _memory_values(self) -> int:
        return self.model.config.ring_edges[-1] * self._shape.residual

    def _step(self, state: State) -> Tensor:
        return self._launch(state, SamplingConfig(), None, None)

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip, in one launch unless their frames take much memory."""
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        most = self._most_samples(state)
        for begin in range(0, n, most):
            part = noise[:, begin : min(begin + most, n)]
            # a copy: triton would compile once more for a slice that begins off a boundary
            part = part.clone(memory_format=torch.contiguous_format)
            drawn = torch.empty(part.shape, dtype=torch.int64, device=noise.device)
            self._launch(state, sampling, part, drawn)
            codes[:, begin : begin + most] = drawn
            state.last = drawn[:, -1].repeat_interleave(rows_per_clip(sampling))
            state.position = state.position + part.shape[1]
        return codes

    def _most_samples(self, state: State) -> int:
        """Count the samples whose condition frames fit into memory."""
        if state.conditioning.network is None:
            return MOST_SAMPLES
        shape = self._shape
        of_a_frame = state.position.shape[0] * shape.layers * 2 * shape.gate * 4
        spare = FRAME_BYTES // of_a_frame - 2  # that before the first sample, that after the last
        return min(max(1, spare * state.conditioning.hop_length), MOST_SAMPLES)

    def _launch(
        self, state: State, sampling: SamplingConfig, noise: Tensor | None, codes: Tensor | None
    ) -> Tensor:
        """Advance the rings as far as there is noise and write the codes, or predict one sample.

        Returns:
            params (B, P) of the last sample.
        """
        shape, streams, device = self._shape, state.position.shape[0], state.position.device
        n = 1 if noise is None else noise.shape[1]
        rings = state.memory
        assert isinstance(rings, RingMemory)
        frames, count = self._frames(state, n)
        if self._few and self._few.takes(streams, sampling):
            params = self._few.launch(state, sampling, noise, codes, frames, count)
            rings.advance(n)
            return params[:, : shape.params]
        tile, warps = tile_for(streams)
        whole = -(-streams // tile) * tile
        last = state.last.clone()
        # of a kernel of one tap the rings have no slots
        lengths = ((shape.taps - 1) * self._layout[1]).clamp(min=1)
        oldest = (rings.cursor % lengths).to(torch.int32)
        rules = [sampling.temperature, sampling.top_p or 1.0, sampling.guidance]
        wide = shape.residual + shape.layers * shape.gate + 2 * shape.skip
        params = torch.empty(whole, shape.out, device=device)
        launcher = self._kernels.advance[(whole // tile,)]
        with _on(device):
            try:
                launcher(
                    rings.rings,
                    last,
                    params if noise is None else noise,
                    last if codes is None else codes,
                    frames,
                    state.position % state.conditioning.hop_length,
                    torch.empty(whole, wide, device=device),
                    params,
                    *self._packed,
                    torch.cat([self._layout.flatten(), oldest]),
                    torch.tensor(rules, dtype=torch.float64, device=device),
                    streams,
                    rings.rings.shape[1],
                    n,
                    count,
                    state.conditioning.hop_length,
                    sampling.top_k or 0,
                    **_constants(shape, sampling, codes is not None, tile),
                    CONDITIONED=state.conditioning.network is not None,
                    HALF=self.precision == "bf16",
                    num_warps=warps,
                )
            except self._kernels.OutOfResources as error:
                raise EngineUnavailable(
                    f"this device is too small for the engine gpu ({error}); use the engine graph"
                ) from None
        rings.advance(n)
        return params[:streams, : shape.params]

    def _frames(self, state: State, n: int) -> tuple[Tensor, int]:
        """Compute the padded condition frames under the next n samples, and count them."""
        hop = state.conditioning.hop_length
        count = frames_needed(int((state.position % hop).max()), n, hop)
        frames = state.conditioning.biases(state.position // hop, count)
        if frames is None:
            return self._packed.biases, 0  # not read
        return pad_frames(frames, self._shape), count


def tile_for(streams: int) -> tuple[int, int]:
    """Choose how many streams a program advances, and its warps."""
    return next((chosen for most, chosen in TILES if streams <= most), LARGEST_TILE)


def _constants(shape: Shape, sampling: SamplingConfig, drawn: bool, tile: int) -> dict[str, Any]:
    """Gather what the kernel is compiled for."""
    drawn_by_rules = drawn and not sampling.greedy
    each = rows_per_clip(sampling) if drawn else 1
    at_once = DRAWN_AT_ONCE // (shape.mixture if shape.family else shape.out)
    return {
        "LAYERS": shape.layers,
        "TAPS": shape.taps,
        "BITS": shape.classes.bit_length() - 1,
        "SCALAR": shape.scalar,
        "R": shape.residual,
        "G": shape.gate,
        "S": shape.skip,
        "P": shape.out,
        "FAMILY": shape.family,
        "COMPONENTS": shape.components,
        "M": shape.mixture,
        "GREEDY": drawn and sampling.greedy,
        "TOP_K": drawn_by_rules and (sampling.top_k or shape.classes) < shape.classes,
        "TOP_P": drawn_by_rules and (sampling.top_p or 1) < 1,
        "GUIDED": each == 2,
        "DRAWN": drawn,
        "BM": tile,
        "D": max(1, min(tile // each, at_once)),
        "WIDE": shape.wide,
        "CHUNK": shape.chunk,
        "STAGES": STAGES,
    }


def _interpreted() -> bool:
    return os.environ.get("TRITON_INTERPRET") == "1"


def _check_device(device: torch.device) -> None:
    """Refuse what is no GPU, or one that is too old."""
    if device.type == "cuda":
        if torch.cuda.get_device_capability(device) < OLDEST_DEVICE:
            needed, found = (
                ".".join(map(str, version))
                for version in (OLDEST_DEVICE, torch.cuda.get_device_capability(device))
            )
            raise EngineUnavailable(
                f"the engine gpu needs a device of compute capability {needed} or more, found "
                f"{found}; use the engine graph"
            )
    elif not (device.type == "cpu" and _interpreted()):
        raise EngineUnavailable(
            f"the engine gpu needs the model on a CUDA device, found {device.type}; use the "
            f"engine {'cpu' if device.type == 'cpu' else 'cached'}"
        )


def _check_model(model: WaveNet, shape: Shape, precision: str) -> None:
    """Refuse weights of another kind, and tiles that are too large."""
    weight = model.output.weight
    if weight.dtype != torch.float32:
        found = str(weight.dtype).removeprefix("torch.")
        raise EngineUnavailable(
            f"the engine gpu takes models in float32, found {found}; use the engine graph"
        )
    memory = SHARED_MEMORY
    if weight.device.type == "cuda":
        properties = torch.cuda.get_device_properties(weight.device)
        memory = getattr(properties, "shared_memory_per_block_optin", SHARED_MEMORY)
    check_tiles(shape, precision, memory)


def _load_kernels() -> Any:
    """Import the kernels, and triton with them."""
    missing = "the engine gpu needs triton, which cannot be imported here; use the engine graph"
    if find_spec("triton") is None:
        raise EngineUnavailable(missing)
    try:
        from wavenet.engines.gpu import triton_kernels
    except ImportError:
        raise EngineUnavailable(missing) from None
    if _interpreted() and not triton_kernels.INTERPRETED.value:
        raise EngineUnavailable(
            "triton was imported before TRITON_INTERPRET=1 was set; set it before python starts"
        )
    return triton_kernels


def _make_stream_kernel(model: WaveNet, precision: str) -> tuple[StreamKernel | None, str]:
    """Make the kernel for few streams, or say why there is none."""
    try:
        return StreamKernel(model, precision), ""
    except EngineUnavailable as error:
        return None, str(error)


def _on(device: torch.device) -> AbstractContextManager[Any]:
    """Launch on the device of the model, which need not be the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()
