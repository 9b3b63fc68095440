"""The compiled engine for a CPU: numba, one core or two, float32 arithmetic.

Same protocol and same numbers as `cached`, many times sooner. Weights are kept in float32 or, to
read half as much memory, in 16 bits. Few streams share every layer between two threads; many are
divided among them. The loop is in `cpu_kernels`.
"""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines import cpu_kernels
from wavenet.engines.cpu_draw import rules_of
from wavenet.engines.cpu_room import Frames, Room, Team, make_room, make_team, share_room
from wavenet.engines.cpu_threads import CAN_WAIT, available_cores, make_counters, run_side_by_side
from wavenet.engines.cpu_weights import gate_panels, gather_weights, round_weights, shape_of
from wavenet.engines.rings import RingState, empty_state, read_prompts, select_rows
from wavenet.errors import EngineUnavailable
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.wavenet import WaveNet

MAX_THREADS = 2
AT_ONCE = {"fp32": 1, "bf16": 2}  # panels that a row reads together where L2 holds a thread's half
FEW_SAMPLES = 64  # of all rows: for fewer a second thread is not worth starting
LOOK_EVERY = 16  # runs, one of which tries the way, one thread or two, that was slower last time
PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds without a second thread that was in the way

# Two streams that spin for each other on two cores would only be in each other's way: whoever
# comes second runs on one.
_second_core = threading.Lock()


class CpuEngine:
    """See the module.

    Attributes:
        model: what this engine runs; in 16 bits a copy that has the rounded weights.

    Args:
        model: in main memory.
        precision: "fp32" or "bf16", how the weights are stored.
        threads: 1 or 2; None for as many as there are cores, two at most.
    Raises:
        EngineUnavailable: the model lies on another device or is not in float32, or the settings
            are not to be had.
    """

    name = "cpu"

    def __init__(self, model: WaveNet, precision: str = "fp32", threads: int | None = None):
        if model.embedding.weight.device.type != "cpu":
            raise EngineUnavailable(
                "the cpu engine needs the model in main memory; use the engine cached on a GPU"
            )
        if model.embedding.weight.dtype != torch.float32:
            found = str(model.embedding.weight.dtype).removeprefix("torch.")
            raise EngineUnavailable(
                f"the cpu engine takes models in float32, found {found}; use the engine cached"
            )
        if threads not in (None, 1, 2):
            raise EngineUnavailable(f"the cpu engine runs on 1 or 2 threads; found {threads}")
        self.precision = precision
        self.threads = min(threads or MAX_THREADS, available_cores()) if CAN_WAIT else 1
        self.model = round_weights(model, precision)
        self._shape = shape_of(model)
        self._weights = gather_weights(self.model, precision)
        self._alone_until, self._pause = 0.0, PAUSE
        self._runs = 0
        self._cost: dict[tuple[int, bool], float] = {}  # seconds a sample, by rows and way

    def start(self, conditioning: Conditioning) -> RingState:
        """Begin with zeros."""
        return empty_state(self.model, conditioning, self._shape.ring_width)

    def prefill(self, state: RingState, prompts: Sequence[Tensor]) -> None:
        """Fill the rings by one parallel pass per clip."""
        read_prompts(self.model, state, prompts)

    def step(self, state: RingState, codes: Tensor) -> Tensor:
        """Predict, then take the codes."""
        shape, batch = self._shape, codes.shape[0]
        room = make_room(shape, batch)
        job = _Job(state, SamplingConfig(), torch.zeros(batch, 1), torch.empty_like(codes)[:, None])
        self._call(job, range(batch), room, self._alone())()  # what it draws is of no use
        _advance(state, codes[:, None])
        return torch.from_numpy(room.logits.reshape(batch, -1)[:, : shape.params].copy())

    def run(self, state: RingState, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each row by the compiled loop."""
        pieces, made = [noise.new_empty(noise.shape[0], 0, dtype=torch.int64)], 0
        while made < n:
            pieces.append(self._some(state, sampling, noise[:, made:n].contiguous()))
            _advance(state, pieces[-1])
            made += pieces[-1].shape[1]
        return torch.cat(pieces, dim=1)

    def select(self, state: RingState, rows: Sequence[int]) -> RingState:
        """Keep some clips."""
        return select_rows(state, rows)

    def _some(self, state: RingState, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate as many samples as there is noise, or fewer if the second thread gave up."""
        batch, n = noise.shape
        job = _Job(state, sampling, noise, torch.empty(batch, n, dtype=torch.int64))
        worth_it = self.threads > 1 and batch * n >= FEW_SAMPLES
        in_the_way = time.monotonic() < self._alone_until
        wanted = worth_it and not in_the_way and self._two_are_better(batch)
        two = wanted and _second_core.acquire(blocking=False)
        began = time.perf_counter()
        if two:
            try:
                made = self._on_two(job)
            finally:
                _second_core.release()
            self._note_patience(made == n)
        else:
            self._call(job, range(batch), make_room(self._shape, batch), self._alone())()
            made = n
        if worth_it:
            self._cost[batch, two] = (time.perf_counter() - began) / made
        return job.codes[:, :made]

    def _two_are_better(self, batch: int) -> bool:
        """Say whether two threads were faster than one last time; now and then, try the other."""
        self._runs += 1
        one, two = (self._cost.get((batch, way), math.inf) for way in (False, True))
        better = two <= one
        return better if self._runs % LOOK_EVERY != 4 else not better

    def _note_patience(self, held: bool) -> None:
        """Leave a second thread that was in the way alone for a while, longer each time."""
        if held:
            self._pause = PAUSE
        else:
            self._alone_until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _on_two(self, job: "_Job") -> int:
        """Share each product of few rows; divide many. Gives how many samples were made."""
        shape, batch = self._shape, job.noise.shape[0]
        counters = make_counters(shape.layers + 4)
        if batch == 1:
            room, rows = make_room(shape, 1, AT_ONCE[self.precision]), range(1)
            here = self._call(job, rows, room, make_team(shape, 0, 2, counters))
            there = self._call(
                job, rows, share_room(room, shape), make_team(shape, 1, 2, counters)
            )
        else:
            here, there = (
                self._call(job, rows, make_room(shape, len(rows)), self._alone())
                for rows in (range(batch // 2), range(batch // 2, batch))
            )
        return min(run_side_by_side(here, there, counters))

    def _call(self, job: "_Job", rows: range, room: Room, team: Team) -> Callable[[], int]:
        """Make the compiled call for some rows, or for one thread's share of them."""
        state, of = job.state, slice(rows.start, rows.stop)
        rings = state.rings[of].numpy().reshape(-1)
        # only the leader reads conditions
        frames = self._frames(state, job.noise.shape[1] if team.part == 0 else 0, rows)
        arguments = (
            self._weights,
            self._shape,
            rings,
            room,
            frames,
            state.cursor,
            state.last[of].numpy().copy(),
            job.noise[of].numpy(),
            rules_of(job.sampling),
            team,
            job.codes[of].numpy(),
        )
        return lambda: int(cpu_kernels.run(*arguments))

    def _alone(self) -> Team:
        return make_team(self._shape, 0, 1, make_counters(0))

    @torch.no_grad()
    def _frames(self, state: RingState, n: int, rows: range) -> Frames:
        """Compute the condition frames under the next n samples of some rows."""
        conditioning, shape = state.conditioning.select(rows), self._shape
        position, hop = state.position[rows.start : rows.stop], conditioning.hop
        count = frames_needed(int((position % hop).max()), n, hop)
        frames = conditioning.frames(position // hop, count)
        if frames is None:
            nothing = np.zeros(len(rows) * shape.layers * 2 * shape.z_width, np.float32)
            return Frames(nothing, 1, np.zeros(len(rows), np.int64), 0)
        biases = gate_panels(frames.numpy(), shape).reshape(-1)
        return Frames(biases, count, (position % hop).numpy(), hop)


@dataclass(frozen=True)
class _Job:
    """One call of `run`: noise (B, n) enters, codes (B, n) are written."""

    state: RingState
    sampling: SamplingConfig
    noise: Tensor
    codes: Tensor


def _advance(state: RingState, codes: Tensor) -> None:
    """Count the codes (B, n) that were taken."""
    state.last = codes[:, -1].clone()
    state.position = state.position + codes.shape[1]
    state.cursor += codes.shape[1]
