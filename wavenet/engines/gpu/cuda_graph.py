"""The cached step recorded once and played back: any model, any distribution, on a GPU.

What `cached` does from Python sample by sample is a hundred small launches, and starting them takes
longer than their work. Here everything that changes between samples (time, codes, places in the
rings) lies on the device, so that one recording, a CUDA graph, serves all samples. On another
device the same body runs from Python, which is how it is tested without a GPU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines.rings import (
    RingState,
    empty_state,
    join_rows,
    read_prompts,
    ring_edges,
    select_rows,
)
from wavenet.errors import EngineUnavailable
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import guide, rows_per_clip

PIECE = 256  # samples for which there is noise and room on the device at once


@dataclass
class _Tape:
    """What a recording reads and writes, always in the same memory.

    Attributes:
        rings: those of the state that it belongs to.
        sampling: how it draws.
        last: (B,), the newest codes; time: (2,) int64, inputs since the start and in this piece.
        noise, codes: (clips, PIECE).
        frames: (B, as many as PIECE needs, layers, 2G), or None; lead: (B,).
        graph: the recording, once there is one.
    """

    rings: Tensor
    sampling: SamplingConfig
    last: Tensor
    time: Tensor
    noise: Tensor
    codes: Tensor
    frames: Tensor | None
    lead: Tensor
    graph: torch.cuda.CUDAGraph | None = None


@dataclass
class GraphState(RingState):
    """`tape`: made by the first run; a copy of the state makes its own."""

    tape: _Tape | None = None


class GraphEngine:
    """See the module.

    Args:
        model: on any device; there is something to gain on a GPU.
    """

    name = "graph"

    def __init__(self, model: WaveNet):
        self.model = model
        self._edges = ring_edges(model)

    def start(self, conditioning: Conditioning) -> GraphState:
        """Begin with zeros."""
        return _without_tape(empty_state(self.model, conditioning))

    def prefill(self, state: GraphState, prompts: Sequence[Tensor]) -> None:
        """Fill the rings by one parallel pass per clip."""
        read_prompts(self.model, state, prompts)

    @torch.no_grad()
    def step(self, state: GraphState, codes: Tensor) -> Tensor:
        """Predict, then take the codes."""
        tape = self._make_tape(state, SamplingConfig(), 1)
        self._rewind(tape, state)
        params = self._predict(tape, state.conditioning.hop)
        state.last = codes.clone()
        state.position = state.position + 1
        state.cursor += 1
        return params

    @torch.no_grad()
    def run(self, state: GraphState, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Play the step n times; the first time, after one sample, it is recorded."""
        self.model.distribution.check(sampling)
        tape, hop = state.tape, state.conditioning.hop
        if tape is None or tape.rings is not state.rings or tape.sampling != sampling:
            tape = state.tape = self._make_tape(state, sampling, PIECE)
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for begin in range(0, n, PIECE):
            piece = noise[:, begin : min(begin + PIECE, n)]
            taken = piece.shape[1]
            self._rewind(tape, state)
            tape.noise[:, :taken] = piece
            for _ in range(taken):
                self._play(tape, hop)
            codes[:, begin : begin + taken] = tape.codes[:, :taken]
            state.last = tape.last.clone()
            state.position = state.position + taken
            state.cursor += taken
        return codes

    def select(self, state: GraphState, rows: Sequence[int]) -> GraphState:
        """Keep some clips; what was recorded for all of them is dropped."""
        return _without_tape(select_rows(state, rows))

    def join(self, state: GraphState, other: GraphState) -> GraphState:
        """Take clips in; what was recorded for the others is dropped."""
        return _without_tape(join_rows(self.model, state, other))

    def _make_tape(self, state: GraphState, sampling: SamplingConfig, piece: int) -> _Tape:
        """Make room for pieces of so many samples; no number in it counts yet."""
        rows, device = state.position.shape[0], state.position.device
        conditioning = state.conditioning
        first, hop = torch.zeros_like(state.position), conditioning.hop
        frames = conditioning.frames(first, frames_needed(hop - 1, piece, hop))
        clips = rows // rows_per_clip(sampling)
        return _Tape(
            state.rings,
            sampling,
            state.last.clone(),
            torch.zeros(2, dtype=torch.int64, device=device),
            torch.zeros(clips, piece, device=device),
            torch.zeros(clips, piece, dtype=torch.int64, device=device),
            frames,
            first,
        )

    def _rewind(self, tape: _Tape, state: GraphState) -> None:
        """Set the tape to where the state stands, with the frames under the next samples."""
        hop = state.conditioning.hop
        tape.last.copy_(state.last)
        tape.time[0], tape.time[1] = state.cursor, 0
        tape.lead.copy_(state.position % hop)
        if tape.frames is not None:
            frames = state.conditioning.frames(state.position // hop, tape.frames.shape[1])
            assert frames is not None
            tape.frames.copy_(frames)

    def _play(self, tape: _Tape, hop: int) -> None:
        """Make one sample, by the recording if there is one."""
        if tape.graph is not None:
            tape.graph.replay()
            return
        # run once before it is recorded: libraries set themselves up at the first call
        self._sample(tape, hop)
        tape.graph = _record(lambda: self._sample(tape, hop), tape.rings.device)

    def _sample(self, tape: _Tape, hop: int) -> None:
        """Predict, draw and take a sample. Nothing here may depend on what Python knows."""
        params = guide(self._predict(tape, hop)[:, :, None], tape.sampling)
        uniforms = tape.noise.index_select(1, tape.time[1:])
        codes = self.model.distribution.sample(params, uniforms, tape.sampling)  # (clips, 1)
        tape.codes.index_copy_(1, tape.time[1:], codes)
        tape.last.copy_(codes[:, 0].repeat_interleave(rows_per_clip(tape.sampling)))
        tape.time.add_(1)

    def _predict(self, tape: _Tape, hop: int) -> Tensor:
        """Send the newest code through the layers and remember it: params (B, P)."""
        model, bias = self.model, _bias(tape, hop)
        x = model.embedding(tape.last)
        gated = []
        for n, (block, edges) in enumerate(zip(model.blocks, pairwise(self._edges), strict=True)):
            begin, end = edges
            ring, taps = tape.rings[:, begin:end], []
            for k in range(model.config.kernel_size - 1):
                slot = (tape.time[:1] + k * block.conv.dilation) % (end - begin)
                taps.append(ring.index_select(1, slot)[:, 0])
            gates = block.conv.linear(torch.cat([*taps, x], dim=1))
            if taps:
                ring.index_copy_(1, tape.time[:1] % (end - begin), x[:, None].to(ring.dtype))
            if bias is not None:
                gates = gates + bias[:, n]
            a, b = gates.chunk(2, dim=1)
            z = torch.tanh(a) * torch.sigmoid(b)
            gated.append(z)
            if block.residual is not None:
                x = x + block.residual(z)
        return model.post_net(torch.cat(gated, dim=1))


def _record(body: Callable[[], None], device: torch.device) -> torch.cuda.CUDAGraph | None:
    """Record what a call does on a GPU, without doing it; give None elsewhere."""
    if device.type != "cuda":
        return None
    graph = torch.cuda.CUDAGraph()
    try:
        # other threads may go on with their own work meanwhile
        with torch.cuda.device(device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            body()
    except (torch.OutOfMemoryError, torch.AcceleratorError):
        raise  # a fault of the device, not of the step
    except RuntimeError as error:
        raise EngineUnavailable(
            f"the step of this model cannot be recorded ({error}); use the engine cached"
        ) from None
    return graph


def _without_tape(state: RingState) -> GraphState:
    return GraphState(
        state.conditioning, state.position, state.last, state.rings, state.cursor, None
    )


def _bias(tape: _Tape, hop: int) -> Tensor | None:
    """Interpolate between two frames: (B, layers, 2G)."""
    if tape.frames is None:
        return None
    offsets = tape.lead + tape.time[1:]
    rows = torch.arange(tape.frames.shape[0], device=tape.frames.device)
    left, right = tape.frames[rows, offsets // hop], tape.frames[rows, offsets // hop + 1]
    return torch.lerp(left, right, ((offsets % hop) / hop)[:, None, None])
