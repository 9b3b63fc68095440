"""The oracle: the full forward over the last receptive field, for every sample.

Written to be obviously right and therefore slow, O(receptive field) a sample. Its state is the
codes themselves. Every other engine is tested against it; it is never changed to make one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines.base import State
from wavenet.model.conditioning import Conditioning
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import guide, rows_per_clip


@dataclass
class ReferenceState(State):
    """`history`: per clip (T,) int64, every code so far."""

    history: list[Tensor]


class ReferenceEngine:
    """See the module."""

    name = "reference"

    def __init__(self, model: WaveNet):
        self.model = model

    def start(self, conditioning: Conditioning) -> ReferenceState:
        """Begin with empty histories."""
        device = conditioning.total.device
        position = torch.zeros(conditioning.batch, dtype=torch.int64, device=device)
        last = torch.full_like(position, self.model.start_code)
        return ReferenceState(conditioning, position, last, [position[:0]] * conditioning.batch)

    def prefill(self, state: ReferenceState, prompts: Sequence[Tensor]) -> None:
        """Take the prompts as the histories."""
        for row, prompt in enumerate(prompts):
            state.history[row] = prompt
            state.position[row] = prompt.numel()
            if prompt.numel():
                state.last[row] = prompt[-1]

    def step(self, state: ReferenceState, codes: Tensor) -> Tensor:
        """Predict from the whole receptive field, then append the codes."""
        params = self._predict(state)
        self._append(state, codes)
        return params

    def run(self, state: ReferenceState, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Predict, draw, append, n times."""
        drawn = [noise.new_zeros(noise.shape[0], 0, dtype=torch.int64)]
        for t in range(n):
            params = guide(self._predict(state)[:, :, None], sampling)
            codes = self.model.distribution.sample(params, noise[:, t : t + 1], sampling)
            self._append(state, codes[:, 0].repeat_interleave(rows_per_clip(sampling)))
            drawn.append(codes)
        return torch.cat(drawn, dim=1)

    def select(self, state: ReferenceState, rows: Sequence[int]) -> ReferenceState:
        """Keep some clips."""
        return ReferenceState(
            state.conditioning.select(rows),
            state.position[list(rows)],
            state.last[list(rows)],
            [state.history[row] for row in rows],
        )

    def join(self, state: ReferenceState, other: ReferenceState) -> ReferenceState:
        """Take clips in with their histories."""
        return ReferenceState(
            state.conditioning.join(other.conditioning),
            torch.cat([state.position, other.position]),
            torch.cat([state.last, other.last]),
            [*state.history, *other.history],
        )

    @torch.no_grad()
    def _predict(self, state: ReferenceState) -> Tensor:
        """Run the definition over the codes that the next sample can see: (B, P)."""
        params = []
        for row, history in enumerate(state.history):
            window = history[-self.model.receptive_field :]
            start = state.position[row : row + 1] - window.numel()
            # the forward predicts each code from those before it; the one appended is not read
            clip = torch.cat([window, state.last[row : row + 1]])
            conditioning = state.conditioning.select([row])
            params.append(self.model(clip[None], conditioning, start)[0, :, -1])
        return torch.stack(params)

    def _append(self, state: ReferenceState, codes: Tensor) -> None:
        state.history = [
            torch.cat([history, codes[row : row + 1]]) for row, history in enumerate(state.history)
        ]
        state.position = state.position + 1
        state.last = codes.clone()
