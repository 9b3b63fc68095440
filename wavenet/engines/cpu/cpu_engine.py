"""The compiled engine for a CPU: numba, one core or two, float32 arithmetic.

Same protocol and same numbers as `cached`, many times sooner. Weights are kept in float32 or, to
read half as much memory, in 16 bits. Two threads go through few streams together, and divide many.
The loop is in `sample_loop`.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.engines.base import State, SteppedEngine
from wavenet.engines.cpu import sample_loop
from wavenet.engines.cpu.class_sampling import rules_of
from wavenet.engines.cpu.packed_weights import gate_panels, gather_weights, round_weights, shape_of
from wavenet.engines.cpu.thread_count_tuner import Choice
from wavenet.engines.cpu.thread_sync import (
    CAN_WAIT,
    available_cores,
    make_counters,
    run_side_by_side,
)
from wavenet.engines.cpu.workspace import Frames, Room, Team, make_room, make_team, share_room
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.model.base import AutoregressiveModel
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

MAX_THREADS = 2
AT_ONCE = {"fp32": 1, "bf16": 2}  # panels that a row reads together where L2 holds a thread's half
SHARED = {"fp32": 3, "bf16": 1}  # streams that two threads go through together, at most
# streams from which on an odd one is halved: few in fp32 wait for memory, and one more is cheap
HALVE_FROM = {"fp32": 7, "bf16": 3}
FEW_SAMPLES = 64  # of all rows: for fewer a second thread is not worth starting
PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds without a second thread that was in the way

# Two streams that spin for each other on two cores would only be in each other's way: whoever
# comes second runs on one.
_second_core = threading.Lock()


class CpuEngine(SteppedEngine):
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
    model: WaveNet

    def __init__(
        self, model: AutoregressiveModel[Any], precision: str = "fp32", threads: int | None = None
    ):
        if not isinstance(model, WaveNet):
            raise ModelUnsupported(
                f"the engine cpu runs WaveNets only, found {type(model).__name__}; use the engine "
                "cached"
            )
        if model.device.type != "cpu":
            raise EngineUnavailable(
                "the cpu engine needs the model in main memory; use the engine cached on a GPU"
            )
        if model.dtype != torch.float32:
            found = str(model.dtype).removeprefix("torch.")
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
        # one thread or two, by rows and by how many samples they make, in powers of two
        self._choices: defaultdict[tuple[int, int], Choice] = defaultdict(Choice)

    def _initial_memory(self, conditioning: Conditioning) -> RingMemory:
        """Return ring buffers whose channels are padded to whole vectors."""
        edges = self.model.config.ring_edges
        rings = torch.zeros(conditioning.batch, edges[-1], self._shape.ring_width)
        return RingMemory(rings, edges)

    @property
    def _memory_values(self) -> int:
        return self.model.config.ring_edges[-1] * self._shape.ring_width

    def _step(self, state: State) -> Tensor:
        """Generate one sample, whose code is ignored, and return its params."""
        shape, batch = self._shape, state.position.shape[0]
        room = make_room(shape, batch)
        job = _Job.of(state, SamplingConfig(), torch.zeros(batch, 1))
        self._call(job, range(batch), range(1), room)()
        state.memory.advance(1)
        return torch.from_numpy(room.logits.reshape(batch, -1)[:, : shape.params].copy())

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip by the compiled loop."""
        pieces, made = [noise.new_empty(noise.shape[0], 0, dtype=torch.int64)], 0
        while made < n:
            pieces.append(self._some(state, sampling, noise[:, made:n].contiguous()))
            _advance(state, pieces[-1], rows_per_clip(sampling))
            made += pieces[-1].shape[1]
        return torch.cat(pieces, dim=1)

    def _some(self, state: State, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate as many samples as there is noise, or fewer if the second thread gave up."""
        job = _Job.of(state, sampling, noise)
        n = job.n
        worth_it = self.threads > 1 and job.rows * n >= FEW_SAMPLES
        in_the_way = time.monotonic() < self._alone_until
        choice = self._choices[job.rows, n.bit_length()]
        wanted = worth_it and not in_the_way and choice.pick()
        two = wanted and _second_core.acquire(blocking=False)
        began = time.perf_counter()
        if two:
            try:
                made = self._on_two(job)
            finally:
                _second_core.release()
            self._note_patience(made == n)
        else:
            self._call(job, range(job.clips), range(n))()
            made = n
        if worth_it:
            choice.note(two, (time.perf_counter() - began) / made)
        return job.codes[:, :made]

    def _note_patience(self, held: bool) -> None:
        """Leave a second thread that was in the way alone for a while, longer each time."""
        if held:
            self._pause = PAUSE
        else:
            self._alone_until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def _on_two(self, job: "_Job") -> int:
        """Share few streams, divide many. Gives how many samples were made."""
        counters = make_counters(self._shape.layers + 4)
        few = job.clips == 1 or job.rows <= SHARED[self.precision]
        here, there = self._share(job, counters) if few else self._divide(job)
        return min(run_side_by_side(here, there, counters))

    def _share(self, job: "_Job", counters: NDArray[np.int64]) -> list[Callable[[], int]]:
        """Make the calls of two threads that go through a few streams together."""
        clips = range(job.clips)
        room = make_room(self._shape, job.rows, AT_ONCE[self.precision])
        rooms = (room, share_room(room, self._shape))
        teams = (make_team(self._shape, part, 2, counters) for part in range(2))
        return [
            self._call(job, clips, range(job.n), *one) for one in zip(rooms, teams, strict=True)
        ]

    def _divide(self, job: "_Job") -> tuple[Callable[[], int], Callable[[], int]]:
        """Make the calls of two threads that have as many streams each, and half of an odd one."""
        half, n = job.clips // 2, job.n
        whole = job.clips % 2 == 0 or job.rows < HALVE_FROM[self.precision]
        one = self._call(job, range(half), range(n))
        two = self._call(job, range(half, job.clips if whole else 2 * half), range(n))
        if whole:
            return one, two
        odd, ready = range(2 * half, job.clips), threading.Event()
        begin, end = (self._call(job, odd, part) for part in (range(n // 2), range(n // 2, n)))

        def here() -> int:
            try:
                begin()
            finally:
                ready.set()  # even if it failed: the other is called off, and must not wait
            return one()

        def there() -> int:
            made = two()
            ready.wait()
            end()
            return made

        return here, there

    def _call(
        self,
        job: "_Job",
        clips: range,
        samples: range,
        room: Room | None = None,
        team: Team | None = None,
    ) -> Callable[[], int]:
        """Make the compiled call for some clips and samples, alone unless there is a team."""
        team = team or make_team(self._shape, 0, 1, make_counters(0))
        per_clip = rows_per_clip(job.sampling)
        rows = range(clips.start * per_clip, clips.stop * per_clip)
        of, span = slice(clips.start, clips.stop), slice(samples.start, samples.stop)
        of_rows = slice(rows.start, rows.stop)
        arguments = (
            self._weights,
            self._shape,
            job.rings[of_rows].numpy().reshape(-1),
            room or make_room(self._shape, len(rows)),
            # only the leader reads conditions
            self._frames(job.state, samples if team.part == 0 else range(0), rows),
            job.cursor + samples.start,
            job.last[of_rows],
            job.noise[of, span].numpy(),
            rules_of(job.sampling),
            team,
            job.codes[of, span].numpy(),
        )
        return lambda: int(sample_loop.run(*arguments))

    @torch.no_grad()
    def _frames(self, state: State, samples: range, rows: range) -> Frames:
        """Compute the condition frames under some of the next samples of some rows."""
        conditioning, shape = state.conditioning.select(rows), self._shape
        position = state.position[rows.start : rows.stop] + samples.start
        hop = conditioning.hop_length
        count = frames_needed(int((position % hop).max()), len(samples), hop)
        frames = conditioning.biases(position // hop, count)
        if frames is None:
            nothing = np.zeros(len(rows) * shape.layers * 2 * shape.z_width, np.float32)
            return Frames(nothing, 1, np.zeros(len(rows), np.int64), 0)
        biases = gate_panels(frames.numpy(), shape).reshape(-1)
        return Frames(biases, count, (position % hop).numpy(), hop)


@dataclass(frozen=True)
class _Job:
    """One call of `run`: noise (clips, n) enters, codes (clips, n) are written, last changed."""

    state: State
    sampling: SamplingConfig
    noise: Tensor
    codes: Tensor
    last: NDArray[np.int64]

    @classmethod
    def of(cls, state: State, sampling: SamplingConfig, noise: Tensor) -> "_Job":
        """Gather what a call needs; the state is left as it is."""
        codes = torch.empty(noise.shape, dtype=torch.int64)
        return cls(state, sampling, noise, codes, state.last.numpy().copy())

    @property
    def rings(self) -> Tensor:
        return _rings(self.state).rings

    @property
    def cursor(self) -> int:
        return _rings(self.state).cursor

    @property
    def clips(self) -> int:
        return self.noise.shape[0]

    @property
    def rows(self) -> int:
        """Count the rows of the batch: with guidance, two for each clip."""
        return self.clips * rows_per_clip(self.sampling)

    @property
    def n(self) -> int:
        """Count the samples of each row."""
        return self.noise.shape[1]


def _advance(state: State, codes: Tensor, rows: int) -> None:
    """Count the codes (B, n) that were taken by so many rows each."""
    state.last = codes[:, -1].repeat_interleave(rows)
    state.position = state.position + codes.shape[1]
    state.memory.advance(codes.shape[1])


def _rings(state: State) -> RingMemory:
    assert isinstance(state.memory, RingMemory)
    return state.memory
