"""The cached step recorded once and replayed: any model, any distribution, on a GPU.

From Python, one sample is about a hundred small launches, and starting them takes longer than their
work. Here everything that changes between samples (time, codes, the memory's cursor) is on the
device, so one recording, a CUDA graph, serves all samples. On another device the same body runs
from Python, which is how it is tested without a GPU.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.engines.cached import interpolate_biases
from wavenet.engines.engine import State, SteppedEngine
from wavenet.errors import EngineUnavailable
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import Memory
from wavenet.sampling import SamplingConfig, rows_per_clip

SAMPLES_AHEAD = 256  # samples for which noise and biases are on the device at once


@dataclass
class Recording:
    """What a graph reads and writes, always in the same memory.

    Attributes:
        source: the memory of its state; it shares tensors with `memory`.
        memory: the source with every changing number on the device.
        sampling: the settings of the draw.
        last: (B,), the newest codes.
        time: (1,) int64, samples since `_rewind`.
        noise, codes: (clips, samples ahead).
        frames: (B, frames under these samples, layers, bias width), or None.
        frame_offsets: (B,), samples from the first frame to sample 0.
        graph: the recorded step; None before the first sample, and on a CPU.
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
    """`recording` is created by the first run, and again for another memory or other settings."""

    recording: Recording | None = None


class GraphEngine(SteppedEngine):
    """See the module; on a CPU it gains nothing."""

    name = "graph"

    def start(self, conditioning: Conditioning) -> GraphState:
        """Return a state without a recording."""
        return GraphState(**vars(super().start(conditioning)))

    def _step(self, state: State) -> Tensor:
        recording = self._prepare(state, SamplingConfig(), 1)
        self._rewind(recording, state)
        params = self._predict(recording, state.conditioning.hop_length)
        state.memory.advance(1)
        return params

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Replay the step n times; the first time, after one sample, it is recorded."""
        assert isinstance(state, GraphState)
        recording, hop = state.recording, state.conditioning.hop_length
        if (
            recording is None
            or recording.source is not state.memory
            or recording.sampling != sampling
        ):
            recording = state.recording = self._prepare(state, sampling, SAMPLES_AHEAD)
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for begin in range(0, n, SAMPLES_AHEAD):
            part = noise[:, begin : min(begin + SAMPLES_AHEAD, n)]
            count = part.shape[1]
            self._rewind(recording, state)
            recording.noise[:, :count] = part
            for _ in range(count):
                self._replay(recording, hop)
            codes[:, begin : begin + count] = recording.codes[:, :count]
            state.last = recording.last.clone()
            state.position = state.position + count
            state.memory.advance(count)
        return codes

    def _prepare(self, state: State, sampling: SamplingConfig, samples: int) -> Recording:
        """Allocate the tensors of a graph for some samples; `_rewind` sets their values."""
        rows, device = state.position.shape[0], state.position.device
        conditioning, hop = state.conditioning, state.conditioning.hop_length
        first = torch.zeros_like(state.position)
        clips = rows // rows_per_clip(sampling)
        return Recording(
            state.memory,
            state.memory.on_device(),
            sampling,
            state.last.clone(),
            torch.zeros(1, dtype=torch.int64, device=device),
            torch.zeros(clips, samples, device=device),
            torch.zeros(clips, samples, dtype=torch.int64, device=device),
            conditioning.biases(first, frames_needed(hop - 1, samples, hop)),
            first,
        )

    def _rewind(self, recording: Recording, state: State) -> None:
        """Set the recording to where the state stands, with the biases of the next samples."""
        hop = state.conditioning.hop_length
        recording.last.copy_(state.last)
        recording.time.zero_()
        recording.memory.synchronize(state.memory)
        recording.frame_offsets.copy_(state.position % hop)
        if recording.frames is not None:
            count = recording.frames.shape[1]
            frames = state.conditioning.biases(state.position // hop, count)
            assert frames is not None
            recording.frames.copy_(frames)

    def _replay(self, recording: Recording, hop: int) -> None:
        """Generate one sample, by the graph if it is recorded."""
        if recording.graph is not None:
            recording.graph.replay()
            return
        # run once before recording: libraries initialise themselves at the first call
        self._sample(recording, hop)
        device = recording.last.device
        recording.graph = _record(lambda: self._sample(recording, hop), device)

    def _sample(self, recording: Recording, hop: int) -> None:
        """Predict, draw and accept a sample; depends on nothing that only Python knows."""
        uniforms = recording.noise.index_select(1, recording.time)
        codes = self._draw(self._predict(recording, hop), recording.sampling, uniforms)
        recording.codes.index_copy_(1, recording.time, codes)
        recording.last.copy_(codes[:, 0].repeat_interleave(rows_per_clip(recording.sampling)))
        recording.time.add_(1)

    def _predict(self, recording: Recording, hop: int) -> Tensor:
        """Send the newest code through the network: params (B, P)."""
        bias = None
        if recording.frames is not None:
            bias = interpolate_biases(
                recording.frames, recording.frame_offsets + recording.time, hop
            )
        return self.model.step(recording.memory, recording.last, bias)


def _record(body: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph | None:
    """Record what a call does on a GPU, without doing it; return None on another device."""
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    try:
        # other threads may continue with their own work
        with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            body()
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # an error of the device, not of the step
    except RuntimeError as error:
        raise EngineUnavailable(
            f"the step of this model cannot be recorded ({error}); use the engine cached"
        ) from None
    return graph
