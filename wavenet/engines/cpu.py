"""The compiled engine for a CPU: numba, one core, float32.

Same protocol and same numbers as `cached`, some thirty times sooner. Rows of a batch run one after
the other. The loop itself is in `cpu_kernels`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wavenet.config import SamplingConfig
from wavenet.engines import cpu_kernels
from wavenet.engines.rings import RingState, empty_state, read_prompts, ring_edges, select_rows
from wavenet.errors import EngineUnavailable
from wavenet.model.conditioning import Conditioning, frames_needed
from wavenet.model.wavenet import WaveNet


class CpuEngine:
    """See the module.

    Raises:
        EngineUnavailable: the model lies on another device.
    """

    name = "cpu"

    def __init__(self, model: WaveNet):
        if model.embedding.weight.device.type != "cpu":
            raise EngineUnavailable(
                "the cpu engine needs the model in main memory; use the engine cached on a GPU"
            )
        self.model = model
        self._weights = gather_weights(model)

    def start(self, conditioning: Conditioning) -> RingState:
        """Begin with zeros."""
        return empty_state(self.model, conditioning)

    def prefill(self, state: RingState, prompts: Sequence[Tensor]) -> None:
        """Fill the rings by one parallel pass per clip."""
        read_prompts(self.model, state, prompts)

    def step(self, state: RingState, codes: Tensor) -> Tensor:
        """Predict, then take the codes."""
        params = torch.empty(codes.shape[0], self.model.distribution.n_params)
        frames, hop = self._frames(state, 1)
        for row in range(codes.shape[0]):
            share = np.float32(int(state.position[row]) % hop / hop if hop else 0.0)
            cpu_kernels.predict(
                self._weights,
                state.rings[row].numpy(),
                state.cursor,
                int(state.last[row]),
                frames[row, 0],
                frames[row, -1 if hop else 0],
                share,
                params[row].numpy(),
            )
        state.last = codes.clone()
        state.position = state.position + 1
        state.cursor += 1
        return params

    def run(self, state: RingState, n: int, sampling: SamplingConfig, noise: Tensor) -> Tensor:
        """Generate n samples of each row by the compiled loop."""
        codes = torch.empty(noise.shape[0], n, dtype=torch.int64)
        if n == 0:
            return codes
        frames, hop = self._frames(state, n)
        for row in range(noise.shape[0]):
            cpu_kernels.run(
                self._weights,
                state.rings[row].numpy(),
                state.cursor,
                int(state.last[row]),
                frames[row],
                int(state.position[row]) % hop if hop else 0,
                hop,
                noise[row].numpy(),
                sampling.temperature,
                sampling.top_k or 0,
                1.0 if sampling.top_p is None else sampling.top_p,
                sampling.greedy,
                codes[row].numpy(),
            )
        state.last = codes[:, -1].clone()
        state.position = state.position + n
        state.cursor += n
        return codes

    def select(self, state: RingState, rows: Sequence[int]) -> RingState:
        """Keep some clips."""
        return select_rows(state, rows)

    @torch.no_grad()
    def _frames(self, state: RingState, n: int) -> tuple[np.ndarray, int]:
        """Compute the condition frames (B, F, L, 2G) under the next n samples, and their hop."""
        hop = state.conditioning.hop
        count = frames_needed(int((state.position % hop).max()), n, hop)
        frames = state.conditioning.frames(state.position // hop, count)
        if frames is None:
            layers, gates = self._weights.conv_bias.shape
            return np.zeros((state.position.shape[0], 1, layers, gates), np.float32), 0
        return np.ascontiguousarray(frames.numpy()), hop


def gather_weights(model: WaveNet) -> cpu_kernels.Weights:
    """Lay the weights out as the compiled loop wants them, (in, out) and contiguous."""
    config = model.config
    layers, gate, width = len(config.dilations), config.gate_channels, config.residual_channels
    residual = np.zeros((layers, gate, width), np.float32)
    residual_bias = np.zeros((layers, width), np.float32)
    for n, block in enumerate(model.blocks):
        if block.residual is not None:
            residual[n] = _array(block.residual.weight.T)
            residual_bias[n] = _array(block.residual.bias)
    return cpu_kernels.Weights(
        embedding=_array(model.embedding.weight),
        conv=np.stack([_array(block.conv.linear.weight.T) for block in model.blocks]),
        conv_bias=np.stack([_array(block.conv.linear.bias) for block in model.blocks]),
        residual=residual,
        residual_bias=residual_bias,
        skip=_array(model.skip.weight.T).reshape(layers, gate, -1),
        skip_bias=_array(model.skip.bias),
        hidden=_array(model.hidden.weight.T),
        hidden_bias=_array(model.hidden.bias),
        output=_array(model.output.weight.T),
        output_bias=_array(model.output.bias),
        dilations=np.array(config.dilations, np.int64),
        edges=np.array(ring_edges(model), np.int64),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
