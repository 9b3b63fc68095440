"""State-space model: residual blocks with diagonal state-space layers over codes.

    x_t = embedding(code_(t-1)) + condition bias at t
    x = x + GLU(linear(GELU(layer(norm(x)))))                    for each block
    p(code_t | codes before) = distribution(output(GELU(hidden(norm(x_t)))))

A layer (`state_space_layer`) is a linear recurrence per channel; all other operations act on each
sample alone. Because the recurrence is linear, a recording is computed in parallel, which a GRU
cannot do, and a step needs a state of fixed size, as in a GRU. A WaveNet is parallel too; its
memory grows with its receptive field, which is limited, while the receptive field here is
unlimited. The price is that the past is stored in decaying oscillators of a fixed number: what
happened long ago is stored less exactly. Called by `architectures`.

Sources: Gu et al. 2022, "On the Parameterization and Initialization of Diagonal State Space Models"
(S4D); for samples of audio Goel et al. 2022, "It's Raw! Audio Generation with State-Space Models".
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, sample_biases
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig
from wavenet.model.state_space_layer import StateSpaceLayer


class StateSpaceConfig(ModelConfig):
    """Config of a state-space model: an embedding, blocks, a hidden layer, the output layer.

    Attributes:
        channels: width of the embedding and of every block.
        states: complex states of one channel of one layer.
        layers: number of blocks.
        output_channels: width of the hidden layer before the output layer.
    """

    architecture: Literal["state-space"] = "state-space"
    channels: Width = 64
    states: int = Field(default=16, ge=1, le=256)
    layers: int = Field(default=6, ge=1, le=32)
    output_channels: Width = 128

    @property
    def bias_layers(self) -> int:
        """One: the bias of the conditions is added to the embedding only."""
        return 1

    @property
    def bias_width(self) -> int:
        """Width of the embedding."""
        return self.channels

    @property
    def memory_values(self) -> int:
        """Numbers in the states of all layers, real and imaginary."""
        return 2 * self.layers * self.channels * self.states

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        width, hidden = self.channels, self.output_channels
        block = width * (4 * self.states + 2 * width + 6)
        return self.layers * block + 1024 * width + hidden * (width + 1024 + 1)


class StateSpaceBlock(nn.Module):
    """One residual block: x + GLU(linear(GELU(layer(norm(x)))))."""

    def __init__(self, channels: int, states: int):
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.layer = StateSpaceLayer(channels, states)
        self.mix = nn.Linear(channels, 2 * channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Compute (B, T, C) and the next state, from x (B, T, C) and the state (B, C, N)."""
        y, state = self.layer(self.norm(x), state)
        return x + F.glu(self.mix(F.gelu(y)), dim=-1), state


class StateSpace(AutoregressiveModel[StateSpaceConfig]):
    """The network: embedding, residual blocks, a hidden layer with GELU, and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: StateSpaceConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._add_embedding(config.channels)
        blocks = [StateSpaceBlock(config.channels, config.states) for _ in range(config.layers)]
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(config.channels)
        self.hidden = nn.Linear(config.channels, config.output_channels)
        self.output = nn.Linear(config.output_channels, self.distribution.n_params)
        self._finish_init()

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the outputs of the last block, (B, T, channels); see the base class."""
        x = self.embedding(inputs)
        biases = sample_biases(conditioning, start, x.shape[1])
        if biases is not None:
            x = x + biases[:, :, 0]
        return self._run_blocks(x, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from the outputs of the last block (.., channels)."""
        params: Tensor = self.output(F.gelu(self.hidden(self.norm(hidden))))
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return zero states, real and imaginary parts: each (B, layers, channels, states)."""
        config = self.config
        shape = (batch, config.layers, config.channels, config.states)
        return TensorMemory(
            [torch.zeros(shape, device=device or self.device, dtype=self.dtype) for _ in range(2)]
        )

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Compute one step of the recurrences."""
        x = self.embedding(codes)
        if bias is not None:
            x = x + bias[:, 0]
        return self.output_params(self._run_blocks(x[:, None], memory)[:, 0])

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return the matrices between layers, without the parameters of the state-space layers."""
        layers = [m for m in self.modules() if isinstance(m, StateSpaceLayer)]
        excluded = {id(p) for layer in layers for p in layer.parameters()}
        return [p for p in super().hidden_matrices() if id(p) not in excluded]

    def network_facts(self) -> dict[str, Fact]:
        """Return depth and widths."""
        return {
            "layers": self.config.layers,
            "channels": self.config.channels,
            "states": self.config.states,
            "output_channels": self.config.output_channels,
        }

    def _run_blocks(self, x: Tensor, memory: Memory | None) -> Tensor:
        """Run all blocks over x (B, T, channels) from the states of the memory, or from zeros."""
        kept = self.initial_memory(len(x), x.device) if memory is None else memory
        real, imaginary = cast(TensorMemory, kept).tensors
        for n, block in enumerate(self.blocks):
            x, state = block(x, torch.complex(real[:, n], imaginary[:, n]))
            if memory is not None:
                real[:, n] = state.real.detach()
                imaginary[:, n] = state.imag.detach()
        return x
