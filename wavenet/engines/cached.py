"""Ring buffers in torch: any model, any device, O(layers) a sample.

One sample costs one small product per layer; what the layers remember is a `rings.RingState`.
"""

from itertools import pairwise

import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines.rings import RingEngine, RingState, empty_state, ring_edges
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import guide, rows_per_clip


class CachedEngine(RingEngine):
    """See the module."""

    name = "cached"

    def __init__(self, model: WaveNet):
        self.model = model
        self._edges = ring_edges(model)

    def start(self, conditioning: Conditioning) -> RingState:
        """Begin with zeros."""
        return empty_state(self.model, conditioning)

    @torch.no_grad()
    def step(self, state: RingState, codes: Tensor) -> Tensor:
        """Predict, then take the codes."""
        params = self._predict(state, self._biases(state, 1), 0)
        state.last = codes.clone()
        state.position = state.position + 1
        return params

    @torch.no_grad()
    def run(self, state: RingState, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Predict, draw, take, n times."""
        biases = self._biases(state, n)
        drawn = torch.empty(noise.shape[0], n, dtype=torch.int64, device=noise.device)
        for t in range(n):
            params = guide(self._predict(state, biases, t)[:, :, None], sampling)
            drawn[:, t] = self.model.distribution.sample(params, noise[:, t : t + 1], sampling)[
                :, 0
            ]
            state.last = drawn[:, t].repeat_interleave(rows_per_clip(sampling))
        state.position = state.position + n
        return drawn

    def _biases(self, state: RingState, n: int) -> tuple[Tensor, Tensor] | None:
        """Compute the condition frames under the next n samples, and how far into them we are."""
        hop = state.conditioning.hop
        lead = state.position % hop
        count = frames_needed(int(lead.max()), n, hop)
        frames = state.conditioning.frames(state.position // hop, count)
        return None if frames is None else (frames, lead)

    def _bias(self, biases: tuple[Tensor, Tensor], t: int, hop: int) -> Tensor:
        """Interpolate between two frames: (B, layers, 2G)."""
        frames, lead = biases
        offset = lead + t
        rows = torch.arange(frames.shape[0], device=frames.device)
        left, right = frames[rows, offset // hop], frames[rows, offset // hop + 1]
        return torch.lerp(left, right, ((offset % hop) / hop)[:, None, None])

    def _predict(self, state: RingState, biases: tuple[Tensor, Tensor] | None, t: int) -> Tensor:
        """Send the newest code through the layers and remember it: params (B, P)."""
        model, kernel_size = self.model, self.model.config.kernel_size
        bias = None if biases is None else self._bias(biases, t, state.conditioning.hop)
        x = model.embedding(state.last)
        gated = []
        for n, (block, (begin, end)) in enumerate(
            zip(model.blocks, pairwise(self._edges), strict=True)
        ):
            ring = state.rings[:, begin:end]
            taps = [
                ring[:, (state.cursor + k * block.conv.dilation) % (end - begin)]
                for k in range(kernel_size - 1)
            ]
            gates = block.conv.linear(torch.cat([*taps, x], dim=1))
            if kernel_size > 1:
                ring[:, state.cursor % (end - begin)] = x
            if bias is not None:
                gates = gates + bias[:, n]
            a, b = gates.chunk(2, dim=1)
            z = torch.tanh(a) * torch.sigmoid(b)
            gated.append(z)
            if block.residual is not None:
                x = x + block.residual(z)
        state.cursor += 1
        return model.post_net(torch.cat(gated, dim=1))
