"""The engine `reference`: a forward pass over the receptive field for every sample, for any model.

Input: a conditioning and noise. Output: codes or params. The code is as simple as possible and
therefore slow, O(receptive field) per sample. Its memory is the list of all codes. Every other
engine is tested against it. Never edit it to make a test succeed. Called by `registry`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from wavenet.engines.engine import BaseEngine, State
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory
from wavenet.sampling import SamplingConfig, rows_per_clip


@dataclass
class CodeHistory(Memory):
    """Every code so far, per row (T,) int64."""

    codes: list[Tensor]

    def select(self, rows: Sequence[int]) -> Self:
        """Return some rows."""
        return type(self)([self.codes[row] for row in rows])

    def join(self, other: Self) -> Self:
        """Return the rows of both."""
        return type(self)([*self.codes, *other.codes])

    def clone(self) -> Self:
        """Return a copy; histories are replaced, not changed in place."""
        return type(self)(list(self.codes))

    def set_row(self, row: int, source: Self) -> None:
        """Replace a row."""
        self.codes[row] = source.codes[0]

    def move_cursor(self, samples: int) -> None:
        """Do nothing: this memory has no cursor."""

    def with_device_cursor(self) -> "CodeHistory":
        """Return this memory; the engine graph does not use it."""
        return self

    def synchronize(self, source: Memory) -> None:
        """Do nothing: this memory has no counters."""


class ReferenceEngine(BaseEngine):
    """The engine that computes every prediction by the forward pass of the model."""

    name = "reference"

    def prefill(self, state: State, prompts: Sequence[Tensor]) -> None:
        """Store the prompts as histories."""
        memory = _history(state)
        for row, prompt in enumerate(prompts):
            memory.codes[row] = prompt
            state.position[row] = prompt.numel()
            if prompt.numel():
                state.last[row] = prompt[-1]

    def accept(self, state: State, codes: Tensor) -> None:
        """Append codes to the histories; no prediction is necessary before."""
        memory = _history(state)
        pairs = zip(memory.codes, codes.split(1), strict=True)
        memory.codes = [torch.cat(pair) for pair in pairs]
        state.params = None
        state.last = codes.clone()
        state.position = state.position + 1

    def _initial_memory(self, conditioning: Conditioning) -> CodeHistory:
        nothing = torch.zeros(0, dtype=torch.int64, device=conditioning.device)
        return CodeHistory([nothing] * conditioning.batch)

    def _step(self, state: State) -> Tensor:
        """Compute the forward pass over the receptive field of the next sample."""
        params = []
        for row, history in enumerate(_history(state).codes):
            field = self.model.receptive_field
            window = history[-max(1, history.numel() if field is None else field) :]
            start = state.position[row : row + 1] - window.numel()
            # The model predicts each code from those before it, so the appended code has no effect:
            # it is only a place for the prediction.
            clip = torch.cat([window, state.last[row : row + 1]])
            conditioning = state.conditioning.select([row])
            params.append(self.model(clip[None], conditioning, start)[0, :, -1])
        return torch.stack(params)

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Predict, draw, accept, n times."""
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for t in range(n):
            codes[:, t] = self._draw(self.predict(state), sampling, noise[:, t : t + 1])[:, 0]
            self.accept(state, codes[:, t].repeat_interleave(rows_per_clip(sampling)))
        return codes


def _history(state: State) -> CodeHistory:
    assert isinstance(state.memory, CodeHistory)
    return state.memory
