"""The engine `cpu`: compiled by numba, one thread or two, float32 arithmetic.

Input: a conditioning and noise. Output: codes or params, as of the engine `cached`, many times
faster. Weights are stored in float32 or in bf16, which halves the bytes to read. Two threads
process few streams together and split many streams. The loop is in `sample_loop`; the package
docstring describes the plan. Called by `registry.make_engine`.
"""

import copy
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

from wavenet.devices import available_cores
from wavenet.engines.cpu import int8_loop, sample_loop
from wavenet.engines.cpu.int8_kernels import row_bytes
from wavenet.engines.cpu.int8_memory import Int8RingMemory
from wavenet.engines.cpu.int8_weights import (
    Int8Weights,
    pack_int8_weights,
    round_biases,
    round_int8_weights,
)
from wavenet.engines.cpu.packed_weights import (
    CpuShape,
    CpuWeights,
    interleave_gates,
    make_cpu_shape,
    pack_cpu_weights,
    round_cpu_weights,
)
from wavenet.engines.cpu.threads import (
    TWO_THREADS_SUPPORTED,
    ThreadCountTuner,
    ThreadPartition,
    make_counters,
    make_partition,
    run_in_parallel,
)
from wavenet.engines.cpu.workspace import (
    BiasFrames,
    Int8Workspace,
    Workspace,
    make_int8_workspace,
    make_params,
    make_workspace,
    share_workspace,
)
from wavenet.engines.engine import BaseEngine, State
from wavenet.engines.kernel_inputs import make_sampling_rules
from wavenet.errors import EngineUnavailable, ModelUnsupported
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.memory import RingMemory
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig, rows_per_clip

MAX_THREADS = 2
# panels that a row reads together on two threads; each half of the weights then fits into L2
PANELS_AT_ONCE = {"fp32": 1, "bf16": 2}
MAX_SHARED_STREAMS = {"fp32": 3, "bf16": 1, "int8": 1}  # streams that two threads process together
# from this number of streams on, an odd stream is split in time between the threads; with fewer
# streams in fp32, reading memory is the limit, and one more stream costs little
MIN_STREAMS_TO_SPLIT = {"fp32": 7, "bf16": 3, "int8": 3}
MIN_SAMPLES_FOR_TWO = 64  # of all rows; for fewer, the start of a second thread takes too long
MIN_PAUSE, MAX_PAUSE = 1.0, 30.0  # seconds on one thread after two threads slept often

# Two runs that each spin on two cores would slow each other down, so the later one uses one thread.
_second_thread = threading.Lock()


class CpuEngine(BaseEngine):
    """The engine that generates all samples of a run in one compiled loop.

    Attributes:
        model: the model that this engine runs; in bf16 a copy with the rounded weights.

    Args:
        model: in main memory.
        precision: "fp32" or "bf16", how the weights are stored.
        threads: 1 or 2; None: 1 or 2, whichever is measured to be faster; 1 on a machine with one
            core.
    Raises:
        EngineUnavailable: the model is on another device or not in float32, or `threads` is out of
            range.
    """

    name = "cpu"
    model: WaveNet

    def __init__(
        self, model: AutoregressiveModel[Any], precision: str = "fp32", threads: int | None = None
    ):
        if not isinstance(model, WaveNet):
            raise ModelUnsupported(
                f"the engine cpu runs WaveNets only, found {model.config.architecture}; use "
                "the engine cached"
            )
        if model.device.type != "cpu":
            raise EngineUnavailable(
                f"the engine cpu needs the model in main memory, found {model.device.type}; use "
                "the engine cached on a GPU"
            )
        if model.dtype != torch.float32:
            found = str(model.dtype).removeprefix("torch.")
            raise EngineUnavailable(
                f"the engine cpu needs a model in float32, found {found}; use the engine cached"
            )
        if threads not in (None, 1, 2):
            raise EngineUnavailable(f"the engine cpu runs on 1 or 2 threads, found {threads}")
        self.precision = precision
        cores = available_cores()
        self.threads = min(threads or MAX_THREADS, cores) if TWO_THREADS_SUPPORTED else 1
        self._shape = make_cpu_shape(model)
        self._weights: CpuWeights | Int8Weights
        if precision == "int8":
            self.model = round_int8_weights(model)
            self._weights = pack_int8_weights(model)
            network = model.condition
            self._double_network = network and copy.deepcopy(network).double()
        else:
            self.model = round_cpu_weights(model, precision)
            self._weights = pack_cpu_weights(self.model, precision)
        self._one_thread_until, self._pause = 0.0, MIN_PAUSE
        # key: rows, and the bit length of the samples per row
        self._tuners: defaultdict[tuple[int, int], ThreadCountTuner] = defaultdict(ThreadCountTuner)

    def _initial_memory(self, conditioning: Conditioning) -> RingMemory:
        """Return ring buffers whose channels are padded to whole vectors."""
        edges, width = self.model.config.ring_edges, self._shape.ring_width
        shape = (conditioning.batch, edges[-1])
        if self.precision == "int8":
            rings = torch.zeros(*shape, row_bytes(width), dtype=torch.uint8)
            return Int8RingMemory(rings, edges, width=width)
        return RingMemory(torch.zeros(*shape, width), edges)

    @property
    def _memory_values(self) -> int:
        return self.model.config.ring_edges[-1] * self._shape.ring_width

    def _step(self, state: State) -> Tensor:
        """Generate one sample and return its params; the code is not used."""
        shape, batch = self._shape, state.position.shape[0]
        inputs = _RunInputs.of(state, SamplingConfig(), torch.zeros(batch, 1), shape)
        self._make_call(inputs, range(batch), range(1))()
        state.memory.move_cursor(1)
        return inputs.params

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip by the compiled loop."""
        parts, done = [noise.new_empty(noise.shape[0], 0, dtype=torch.int64)], 0
        while done < n:
            parts.append(self._run_some(state, sampling, noise[:, done:n].contiguous()))
            _update_state(state, parts[-1], rows_per_clip(sampling))
            done += parts[-1].shape[1]
        return torch.cat(parts, dim=1)

    def _run_some(self, state: State, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate one sample per uniform, or fewer if two threads stopped early."""
        inputs = _RunInputs.of(state, sampling, noise, self._shape)
        n = inputs.samples
        may_use_two = self.threads > 1 and inputs.rows * n >= MIN_SAMPLES_FOR_TWO
        is_paused = time.monotonic() < self._one_thread_until
        tuner = self._tuners[inputs.rows, n.bit_length()]
        wants_two = may_use_two and not is_paused and tuner.choose()
        two = wants_two and _second_thread.acquire(blocking=False)
        began = time.perf_counter()
        if two:
            try:
                done = self._run_on_two_threads(inputs)
            finally:
                _second_thread.release()
            self._update_pause(finished=done == n)
        else:
            self._make_call(inputs, range(inputs.clips), range(n))()
            done = n
        if may_use_two:
            tuner.record(two, (time.perf_counter() - began) / done)
        state.drawn_params = inputs.params
        return inputs.codes[:, :done]

    def _update_pause(self, finished: bool) -> None:
        """Use one thread for a while if two stopped early, longer each time in a row."""
        if finished:
            self._pause = MIN_PAUSE
        else:
            self._one_thread_until = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, MAX_PAUSE)

    def _run_on_two_threads(self, inputs: "_RunInputs") -> int:
        """Process few streams together, or split many; return the number of generated samples."""
        counters = make_counters(self._shape.layers + 4)
        if self.precision == "int8" and (inputs.clips, inputs.rows) == (1, 2):
            first_call, second_call = self._process_rows_apart(inputs, counters)
        elif inputs.clips == 1 or inputs.rows <= MAX_SHARED_STREAMS[self.precision]:
            first_call, second_call = self._process_together(inputs, counters)
        else:
            first_call, second_call = self._split_streams(inputs)
        return min(run_in_parallel(first_call, second_call, counters))

    def _process_together(
        self, inputs: "_RunInputs", counters: NDArray[np.int64]
    ) -> list[Callable[[], int]]:
        """Return the calls of two threads that compute all streams together."""
        clips, samples = range(inputs.clips), range(inputs.samples)
        workspace = self._make_workspace(inputs.rows, PANELS_AT_ONCE.get(self.precision, 1))
        workspaces = (workspace, share_workspace(workspace, self._shape))
        partitions = (make_partition(self._shape, thread, 2, counters) for thread in range(2))
        return [
            self._make_call(inputs, clips, samples, *of_thread)
            for of_thread in zip(workspaces, partitions, strict=True)
        ]

    def _process_rows_apart(
        self, inputs: "_RunInputs", counters: NDArray[np.int64]
    ) -> list[Callable[[], int]]:
        """Return the calls of two threads that each compute one row of a guided clip.

        The first thread draws the codes from the params of both.
        """
        calls = []
        for thread in range(2):
            workspace = self._make_workspace(1)
            partition = make_partition(self._shape, thread, 2, counters, has_own_row=True)
            arguments = (range(1), range(inputs.samples), workspace, partition)
            calls.append(self._make_call(inputs, *arguments, range(thread, thread + 1)))
        return calls

    def _split_streams(self, inputs: "_RunInputs") -> tuple[Callable[[], int], Callable[[], int]]:
        """Return the calls of two threads, each with half of the streams.

        An odd stream is split in time, if there are enough streams.
        """
        half, n = inputs.clips // 2, inputs.samples
        is_whole = inputs.clips % 2 == 0 or inputs.rows < MIN_STREAMS_TO_SPLIT[self.precision]
        first_call = self._make_call(inputs, range(half), range(n))
        second_clips = range(half, inputs.clips if is_whole else 2 * half)
        second_call = self._make_call(inputs, second_clips, range(n))
        if is_whole:
            return first_call, second_call
        odd, ready = range(2 * half, inputs.clips), threading.Event()
        first_half, second_half = (
            self._make_call(inputs, odd, part) for part in (range(n // 2), range(n // 2, n))
        )

        def first_call_with_odd() -> int:
            try:
                first_half()
            finally:
                ready.set()  # also after an error, so that the other thread does not wait
            return first_call()

        def second_call_with_odd() -> int:
            done = second_call()
            ready.wait()
            second_half()
            return done

        return first_call_with_odd, second_call_with_odd

    def _make_call(
        self,
        inputs: "_RunInputs",
        clips: range,
        samples: range,
        workspace: Workspace | Int8Workspace | None = None,
        partition: ThreadPartition | None = None,
        rows: range | None = None,
    ) -> Callable[[], int]:
        """Return the compiled call for some clips and samples, on one thread by default.

        Args:
            rows: of this thread; by default all rows of the clips.
        """
        partition = partition or make_partition(self._shape, 0, 1, make_counters(0))
        per_clip = rows_per_clip(inputs.sampling)
        all_rows = range(clips.start * per_clip, clips.stop * per_clip)
        rows = rows or all_rows
        clip_slice, row_slice = slice(clips.start, clips.stop), slice(rows.start, rows.stop)
        sample_slice = slice(samples.start, samples.stop)
        workspace = workspace or self._make_workspace(len(rows))
        # the thread that draws reads the params and writes the codes of all rows
        drawn_rows = slice(rows.start, all_rows.stop)
        params = inputs.params_by_row[drawn_rows].reshape(-1)
        computes_gates = partition.thread == 0 or partition.has_own_row
        arguments = (
            self._weights,
            self._shape,
            inputs.memory.rings[row_slice].numpy().reshape(-1),
            workspace._replace(params=params),
            # a follower reads no biases
            self._bias_frames(inputs.state, samples if computes_gates else range(0), rows),
            inputs.memory.cursor + samples.start,
            inputs.last[drawn_rows],
            inputs.noise[clip_slice, sample_slice].numpy(),
            make_sampling_rules(inputs.sampling),
            partition,
            inputs.codes[clip_slice, sample_slice].numpy(),
        )
        if self.precision == "int8":
            return lambda: int(int8_loop.generate_int8_samples(*arguments))
        return lambda: int(sample_loop.generate_samples(*arguments))

    def _make_workspace(self, rows: int, panels_at_once: int = 1) -> Workspace | Int8Workspace:
        if self.precision == "int8":
            return make_int8_workspace(self._shape, rows)
        return make_workspace(self._shape, rows, panels_at_once)

    @torch.no_grad()
    def _bias_frames(self, state: State, samples: range, rows: range) -> BiasFrames:
        """Compute the bias frames under some of the next samples of some rows."""
        conditioning, shape = state.conditioning.select(rows), self._shape
        position = state.position[rows.start : rows.stop] + samples.start
        hop = conditioning.hop_length
        count = frames_needed(int((position % hop).max()), len(samples), hop)
        if self.precision == "int8":
            # sums in float64 differ so little from machine to machine, and with the number of
            # frames, that rounding makes them equal
            conditioning = conditioning.in_double(self._double_network)
            frames = conditioning.biases(position // hop, count, frames_per_pass=1)
        else:
            frames = conditioning.biases(position // hop, count)
        if frames is None:
            zeros = np.zeros(len(rows) * shape.layers * 2 * shape.gate_width, np.float32)
            return BiasFrames(zeros, 1, np.zeros(len(rows), np.int64), 0)
        biases = interleave_gates(frames.numpy(), shape)
        if self.precision == "int8":
            biases = round_biases(biases, shape)
        biases = biases.reshape(-1)
        return BiasFrames(biases, count, (position % hop).numpy(), hop)


@dataclass(frozen=True)
class _RunInputs:
    """The inputs of one run, and its outputs.

    The outputs are codes (clips, samples), last (rows,), and params_by_row (rows, padded P), the
    last prediction.
    """

    state: State
    sampling: SamplingConfig
    noise: Tensor
    codes: Tensor
    last: NDArray[np.int64]
    params_by_row: NDArray[np.float32]
    n_params: int

    @classmethod
    def of(
        cls, state: State, sampling: SamplingConfig, noise: Tensor, shape: CpuShape
    ) -> "_RunInputs":
        """Return the inputs for noise (clips, samples); the state is not changed."""
        codes, last = torch.empty(noise.shape, dtype=torch.int64), state.last.numpy().copy()
        params = make_params(shape, len(last)).reshape(len(last), -1)
        return cls(state, sampling, noise, codes, last, params, shape.n_params)

    @property
    def memory(self) -> RingMemory:
        assert isinstance(self.state.memory, RingMemory)
        return self.state.memory

    @property
    def params(self) -> Tensor:
        """The last prediction, (rows, P)."""
        return torch.from_numpy(self.params_by_row[:, : self.n_params])

    @property
    def clips(self) -> int:
        return self.noise.shape[0]

    @property
    def rows(self) -> int:
        """Number of rows of the batch; with guidance, two per clip."""
        return self.clips * rows_per_clip(self.sampling)

    @property
    def samples(self) -> int:
        """Number of samples per row."""
        return self.noise.shape[1]


def _update_state(state: State, codes: Tensor, rows: int) -> None:
    """Advance the state by codes (clips, samples); each clip has `rows` rows."""
    state.last = codes[:, -1].repeat_interleave(rows)
    state.position = state.position + codes.shape[1]
    state.memory.move_cursor(codes.shape[1])
