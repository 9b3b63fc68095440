"""The engine protocol: one model, run sample by sample, with an explicit state.

Input: a `Conditioning` and codes. Output: codes or predictions. An engine stores no stream:
everything that changes is in the `State`, a value that the caller holds, so streams can be
interleaved, copied and dropped. `BaseEngine` implements the protocol; all engines extend it. Called
by generation, likelihood, benchmarks and the studio.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory
from wavenet.sampling import SamplingConfig, apply_guidance, rows_per_clip

BYTES_PER_VALUE = 4  # memories are float32


@dataclass
class State:
    """Position, newest codes and memory of a batch of streams.

    Attributes:
        conditioning: of the batch.
        position: (B,) int64, number of samples of each stream so far.
        last: (B,) int64, the newest code of each stream; at first the start code. The network has
            not read it yet, unless `params` is set.
        memory: of the codes that the network has read; `predict` adds `last` to it.
        params: (B, P), the prediction of the next sample, if `predict` has computed it.
        drawn_params: (B, P), the prediction from which the newest code was drawn, if the last
            operation was a run of an engine that returns it; guidance may be applied.
    """

    conditioning: Conditioning
    position: Tensor
    last: Tensor
    memory: Memory
    params: Tensor | None = None
    drawn_params: Tensor | None = None


StateT = TypeVar("StateT", bound=State)


class Engine(Protocol[StateT]):
    """Runs one model. B counts streams, P the parameters of the output distribution.

    A clip has one stream, with guidance two.
    """

    name: str
    precision: str  # of the stored weights, one of `registry.PRECISIONS`

    @property
    def model(self) -> AutoregressiveModel[Any]:
        """The model that this engine runs; with bf16 weights, a copy with the rounded weights."""
        ...

    def start(self, conditioning: Conditioning) -> StateT:
        """Return the state of streams without samples, one per row of the conditioning."""
        ...

    def prefill(self, state: StateT, prompts: Sequence[Tensor]) -> None:
        """Read the prompt of each stream, each in one parallel pass.

        Args:
            state: returned by `start`, not used since; changed in place.
            prompts: per stream (T,) int64 codes; T may be 0 and differ between streams.
        """
        ...

    def predict(self, state: StateT) -> Tensor:
        """Predict the next sample of each stream: params (B, P).

        Two calls without `accept` between them return the same params.
        """
        ...

    def accept(self, state: StateT, codes: Tensor) -> None:
        """Append codes (B,) int64 as the next sample of each stream."""
        ...

    def run(self, state: StateT, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each clip.

        Args:
            state: changed in place. With guidance it has two rows per clip, the first with all
                conditions and the second without the droppable ones (see
                `sampling.apply_guidance`); both accept the same codes.
            noise: (clips, n) float32 uniforms in [0, 1), one per sample.
        Returns:
            codes (clips, n) int64.
        """
        ...

    def select(self, state: StateT, rows: Sequence[int]) -> StateT:
        """Return a copy of the state of some rows; a row may occur several times."""
        ...

    def join(self, state: StateT, other: StateT) -> StateT:
        """Return the streams of one state followed by those of another; use neither again."""
        ...

    def clone(self, state: StateT) -> StateT:
        """Return a copy of a state that shares no changing part with it."""
        ...

    def state_bytes(self, batch: int) -> int:
        """Return the memory size of `batch` rows in bytes, at least 1."""
        ...


def has_finite_predictions(engine: Engine[StateT], state: StateT, codes: Tensor) -> bool:
    """Return whether the predictions of a run were finite, as far as they can be checked cheaply.

    A number that is not finite stays in the memory for about a receptive field, so one prediction
    is checked instead of all predictions: the last one of the run, or the next one if the engine
    does not return the last one. The next one costs a sample and the biases of its conditions.

    Args:
        state: after the run; not changed.
        codes: (clips, n), the result of the run; engines return -1 for many predictions that are
            not finite.
    """
    if not (codes >= 0).all():
        return False
    params = state.drawn_params
    if params is None:
        params = engine.predict(engine.clone(state))
    return bool(params.isfinite().all())


class BaseEngine:
    """Base of the engines: implements the protocol by `_step` and `_run` of a subclass.

    Args:
        model: on any device.
    """

    name: str
    precision = "fp32"

    def __init__(self, model: AutoregressiveModel[Any]):
        self.model = model

    def start(self, conditioning: Conditioning) -> State:
        """Return a state with the start code and an empty memory."""
        position = torch.zeros(conditioning.batch, dtype=torch.int64, device=conditioning.device)
        last = torch.full_like(position, self.model.start_code)
        return State(conditioning, position, last, self._initial_memory(conditioning))

    @torch.no_grad()
    def prefill(self, state: State, prompts: Sequence[Tensor]) -> None:
        """Read the last receptive field of each prompt in one parallel pass."""
        model = self.model
        for row, prompt in enumerate(prompts):
            if not prompt.numel():
                continue
            # the newest code becomes `last`; the next prediction reads it
            inputs = F.pad(prompt[:-1], (1, 0), value=model.start_code)
            window = inputs[-(model.receptive_field or inputs.numel()) :]
            start = torch.tensor([inputs.numel() - window.numel()], device=prompt.device)
            memory = model.initial_memory(1, prompt.device)
            conditioning = state.conditioning.select([row])
            model.hidden_states(window[None], conditioning, start, memory)
            state.memory.set_row(row, memory)
            state.position[row] = prompt.numel()
            state.last[row] = prompt[-1]

    @torch.no_grad()
    def predict(self, state: State) -> Tensor:
        """Compute params from `last`, unless they are computed already."""
        if state.params is None:
            state.params = self._step(state)
        return state.params

    def accept(self, state: State, codes: Tensor) -> None:
        """Append codes, after the network has read the code before them."""
        self.predict(state)
        state.params = state.drawn_params = None
        state.last = codes.clone()
        state.position = state.position + 1

    @torch.no_grad()
    def run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples; use the prediction of the first one if it is computed already."""
        self.model.distribution.check(sampling)
        if state.params is None or n == 0:
            return self._run(state, n, sampling, noise)
        first = self._draw(state.params, sampling, noise[:, :1])
        self.accept(state, first[:, 0].repeat_interleave(rows_per_clip(sampling)))
        return torch.cat([first, self._run(state, n - 1, sampling, noise[:, 1:])], dim=1)

    def select(self, state: State, rows: Sequence[int]) -> State:
        """Return a copy of some rows."""
        index = list(rows)
        return replace(
            state,
            conditioning=state.conditioning.select(rows),
            position=state.position[index],
            last=state.last[index],
            memory=state.memory.select(rows),
            params=None if state.params is None else state.params[index],
            drawn_params=None,
        )

    def join(self, state: State, other: State) -> State:
        """Return the rows of both."""
        params = None
        if state.params is not None or other.params is not None:
            params = torch.cat([self.predict(state), self.predict(other)])
        return replace(
            state,
            conditioning=state.conditioning.join(other.conditioning),
            position=torch.cat([state.position, other.position]),
            last=torch.cat([state.last, other.last]),
            memory=state.memory.join(other.memory),
            params=params,
            drawn_params=None,
        )

    def clone(self, state: State) -> State:
        """Return a copy; the conditioning is immutable and shared."""
        return replace(
            state,
            position=state.position.clone(),
            last=state.last.clone(),
            memory=state.memory.clone(),
            params=None if state.params is None else state.params.clone(),
            drawn_params=None,
        )

    def state_bytes(self, batch: int) -> int:
        """Return the size of the memory in bytes."""
        return batch * max(1, self._memory_values) * BYTES_PER_VALUE

    @property
    def _memory_values(self) -> int:
        """Number of values in the memory of one row."""
        return self.model.config.memory_values

    def _initial_memory(self, conditioning: Conditioning) -> Memory:
        return self.model.initial_memory(conditioning.batch, conditioning.device)

    @abstractmethod
    def _step(self, state: State) -> Tensor:
        """Read `last` into the memory and return params (B, P); change nothing else."""

    @abstractmethod
    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Implement `run`; the state has no params."""

    def _draw(self, params: Tensor, sampling: SamplingConfig, uniforms: Tensor) -> Tensor:
        """Draw codes (clips, 1) from params (B, P) and uniforms (clips, 1)."""
        guided = apply_guidance(params[:, :, None], sampling)
        return self.model.distribution.sample(guided, uniforms, sampling)
