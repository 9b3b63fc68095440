"""The engine `graph`: one `step` captured in a CUDA graph and replayed, for any model on a GPU.

Input: a conditioning and noise. Output: codes or params. From Python, one sample needs about a
hundred small launches, and starting them takes longer than their work. Here all values that change
between samples (time, codes, the memory's cursor) are on the device, so one graph generates all
samples. On other devices the same function is called from Python, so that it can be tested without
a GPU. Called by `registry`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.engines.cached import interpolate_biases
from wavenet.engines.engine import BaseEngine, State
from wavenet.errors import EngineUnavailable
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import Memory
from wavenet.sampling import SamplingConfig, rows_per_clip

SAMPLES_AHEAD = 256  # samples for which noise and biases are on the device at once


@dataclass
class CapturedGraph:
    """The buffers that a graph reads and writes, always at the same addresses.

    Attributes:
        source: the memory of the state; it shares tensors with `memory`.
        memory: the source with its counters on the device.
        sampling: the settings of the draw.
        last: (B,), the newest codes.
        time: (1,) int64, samples since `_rewind`.
        noise, codes: (clips, samples ahead).
        frames: (B, frames of these samples, layers, bias width), or None.
        frame_offsets: (B,), samples from the first frame to sample 0.
        graph: the captured step; None before the first sample, and on a CPU.
    """

    source: Memory
    memory: Memory
    sampling: SamplingConfig
    last: Tensor
    time: Tensor
    noise: Tensor
    codes: Tensor
    frames: Tensor | None
    frame_offsets: Tensor
    graph: torch.cuda.CUDAGraph | None = None


@dataclass
class GraphState(State):
    """A state with its graph; `captured` is replaced if the memory or the settings change."""

    captured: CapturedGraph | None = None


class GraphEngine(BaseEngine):
    """The engine that replays a CUDA graph per sample; on a CPU it is not faster than `cached`."""

    name = "graph"

    def start(self, conditioning: Conditioning) -> GraphState:
        """Return a state without a graph."""
        return GraphState(**vars(super().start(conditioning)))

    def _step(self, state: State) -> Tensor:
        captured = self._prepare(state, SamplingConfig(), 1)
        self._rewind(captured, state)
        params = self._predict(captured, state.conditioning.hop_length)
        state.memory.move_cursor(1)
        return params

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Replay the step n times; capture it after the first sample of a state."""
        assert isinstance(state, GraphState)
        captured, hop = state.captured, state.conditioning.hop_length
        if captured is None or captured.source is not state.memory or captured.sampling != sampling:
            captured = state.captured = self._prepare(state, sampling, SAMPLES_AHEAD)
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for begin in range(0, n, SAMPLES_AHEAD):
            part = noise[:, begin : min(begin + SAMPLES_AHEAD, n)]
            count = part.shape[1]
            self._rewind(captured, state)
            captured.noise[:, :count] = part
            for _ in range(count):
                self._replay(captured, hop)
            codes[:, begin : begin + count] = captured.codes[:, :count]
            state.last = captured.last.clone()
            state.position = state.position + count
            state.memory.move_cursor(count)
        return codes

    def _prepare(self, state: State, sampling: SamplingConfig, samples: int) -> CapturedGraph:
        """Allocate the buffers of a graph for some samples; `_rewind` sets their values."""
        rows, device = state.position.shape[0], state.position.device
        conditioning, hop = state.conditioning, state.conditioning.hop_length
        first = torch.zeros_like(state.position)
        clips = rows // rows_per_clip(sampling)
        return CapturedGraph(
            state.memory,
            state.memory.with_device_cursor(),
            sampling,
            state.last.clone(),
            torch.zeros(1, dtype=torch.int64, device=device),
            torch.zeros(clips, samples, device=device),
            torch.zeros(clips, samples, dtype=torch.int64, device=device),
            conditioning.biases(first, frames_needed(hop - 1, samples, hop)),
            first,
        )

    def _rewind(self, captured: CapturedGraph, state: State) -> None:
        """Copy the state and the biases of the next samples into the graph's buffers."""
        hop = state.conditioning.hop_length
        captured.last.copy_(state.last)
        captured.time.zero_()
        captured.memory.synchronize(state.memory)
        captured.frame_offsets.copy_(state.position % hop)
        if captured.frames is not None:
            count = captured.frames.shape[1]
            frames = state.conditioning.biases(state.position // hop, count)
            assert frames is not None
            captured.frames.copy_(frames)

    def _replay(self, captured: CapturedGraph, hop: int) -> None:
        """Generate one sample, by the graph if it is captured."""
        if captured.graph is not None:
            captured.graph.replay()
            return
        # call it once before the capture, because libraries initialise themselves at the first call
        self._sample(captured, hop)
        device = captured.last.device
        captured.graph = _capture(lambda: self._sample(captured, hop), device)

    def _sample(self, captured: CapturedGraph, hop: int) -> None:
        """Predict, draw and accept a sample; use no Python numbers that change."""
        uniforms = captured.noise.index_select(1, captured.time)
        codes = self._draw(self._predict(captured, hop), captured.sampling, uniforms)
        captured.codes.index_copy_(1, captured.time, codes)
        captured.last.copy_(codes[:, 0].repeat_interleave(rows_per_clip(captured.sampling)))
        captured.time.add_(1)

    def _predict(self, captured: CapturedGraph, hop: int) -> Tensor:
        """Compute params (B, P) from the newest codes."""
        bias = None
        if captured.frames is not None:
            bias = interpolate_biases(captured.frames, captured.frame_offsets + captured.time, hop)
        return self.model.step(captured.memory, captured.last, bias)


def _capture(body: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph | None:
    """Capture the operations of a call on a GPU, without results; return None on another device."""
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    try:
        # other threads may use the GPU meanwhile
        with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            body()
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # an error of the device, not of the step
    except RuntimeError as error:
        raise EngineUnavailable(
            f"the step of this model cannot be captured ({error}); use the engine cached"
        ) from None
    return graph
