"""The engine `cached`: `AutoregressiveModel.step` from Python, for any model on any device.

Input: a conditioning and noise. Output: codes or params. The memory of the model contains the past,
so one sample costs one small product per layer, O(layers), for a past of any length. Called by
`registry`, `verification`, searches and `cuda_graph`.
"""

import torch
from torch import Tensor

from wavenet.engines.engine import BaseEngine, State
from wavenet.model.conditioning import frames_needed
from wavenet.sampling import SamplingConfig, rows_per_clip


class CachedEngine(BaseEngine):
    """The engine that calls `step` once per sample from Python."""

    name = "cached"

    def _step(self, state: State) -> Tensor:
        return self.model.step(state.memory, state.last, BiasInterpolator(state, 1).at(0))

    def _run(self, state: State, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Predict, draw, accept, n times."""
        biases = BiasInterpolator(state, n)
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for t in range(n):
            params = self.model.step(state.memory, state.last, biases.at(t))
            codes[:, t] = self._draw(params, sampling, noise[:, t : t + 1])[:, 0]
            state.last = codes[:, t].repeat_interleave(rows_per_clip(sampling))
        state.position = state.position + n
        return codes


class BiasInterpolator:
    """The biases of the next n samples of a batch, interpolated on access.

    Args:
        state: not changed.
        n: number of samples.
    """

    def __init__(self, state: State, n: int):
        self._hop = state.conditioning.hop_length
        self._offsets = state.position % self._hop
        count = frames_needed(int(self._offsets.max()), n, self._hop)
        self._frames = state.conditioning.biases(state.position // self._hop, count)

    def at(self, t: int) -> Tensor | None:
        """Return the biases (B, layers, bias width) of sample t, 0 to n - 1, or None."""
        if self._frames is None:
            return None
        return interpolate_biases(self._frames, self._offsets + t, self._hop)


def interpolate_biases(frames: Tensor, offsets: Tensor, hop_length: int) -> Tensor:
    """Interpolate the biases of one sample per row between two frames.

    Args:
        frames: (B, F, layers, bias width).
        offsets: (B,) int64, samples after the first frame.
    Returns:
        (B, layers, bias width).
    """
    rows = torch.arange(frames.shape[0], device=frames.device)
    index = offsets // hop_length
    fraction = (offsets % hop_length) / hop_length
    return torch.lerp(frames[rows, index], frames[rows, index + 1], fraction[:, None, None])
