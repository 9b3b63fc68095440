"""WaveNet: gated residual dilated causal convolutions over codes.

The definition, written for clarity: the parallel pass (`hidden_states`) and the step with ring
buffers (`step`). The compiled engines implement the same computation and are tested against it.
Called by `architectures`, engines and analyses.
"""

from itertools import accumulate
from typing import Annotated, Any, Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.errors import ModelUnsupported
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, frame_biases
from wavenet.model.conditioning import Conditioning, interpolate_rows
from wavenet.model.layers import ResidualBlock
from wavenet.model.memory import Memory, RingMemory
from wavenet.model.model_config import ModelConfig


class WaveNetConfig(ModelConfig):
    """Config of a WaveNet. The length of `dilations`, one per layer, is the depth.

    Attributes:
        residual_channels: width of the input and of the output of each block.
        gate_channels: width of EACH half of the gate.
        skip_channels: width of the sum of the skip outputs, and of the layers after it.
        kernel_size: number of taps of each dilated convolution.
        dilations: samples between the taps, per layer.
    """

    architecture: Literal["wavenet"] = "wavenet"
    residual_channels: Width
    gate_channels: Width
    skip_channels: Width
    kernel_size: int = Field(default=2, ge=1, le=64)
    dilations: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        min_length=1, max_length=1000
    )

    @property
    def receptive_field(self) -> int:
        """1 + sum((kernel_size - 1) * dilation), in samples."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    @property
    def ring_edges(self) -> tuple[int, ...]:
        """The first slot of each layer's ring buffer, and the end of the last one."""
        lengths = ((self.kernel_size - 1) * dilation for dilation in self.dilations)
        return tuple(accumulate(lengths, initial=0))

    @property
    def bias_layers(self) -> int:
        """Number of layers: every layer has a bias."""
        return len(self.dilations)

    @property
    def bias_width(self) -> int:
        """Width of both halves of the gate."""
        return 2 * self.gate_channels

    @property
    def memory_values(self) -> int:
        """Numbers in the ring buffers of one stream."""
        return (self.receptive_field - 1) * self.residual_channels

    @property
    def network_parameters(self) -> int:
        """Number of weights, for a 10-bit codec."""
        gate, residual, skip = self.gate_channels, self.residual_channels, self.skip_channels
        block = 2 * gate * (self.kernel_size * residual + 1) + gate * (residual + skip) + residual
        return len(self.dilations) * block + skip * (skip + 1024) + 1024 * residual


class WaveNet(AutoregressiveModel[WaveNetConfig]):
    """The network.

    An embedding of the previous code, or of its value if the output is not categorical; one
    `ResidualBlock` per dilation; the skip path, one product over the gated outputs of all layers;
    ReLU, 1x1, ReLU, 1x1.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    Source: van den Oord et al. 2016, "WaveNet: A Generative Model for Raw Audio".
    """

    def __init__(
        self, config: WaveNetConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        layers, gate, skip = len(config.dilations), config.gate_channels, config.skip_channels
        residual = config.residual_channels
        self._add_embedding(residual)
        # a ModuleList, typed as a list of its modules
        self.blocks = cast(
            list[ResidualBlock],
            nn.ModuleList(
                ResidualBlock(residual, gate, config.kernel_size, d, n == layers - 1)
                for n, d in enumerate(config.dilations)
            ),
        )
        self.skip = nn.Linear(layers * gate, skip)
        self.hidden = nn.Linear(skip, skip)
        self.output = nn.Linear(skip, self.distribution.n_params)
        self._finish_init()

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the gated outputs of all layers, (B, T, layers * G); see the base class."""
        return self.run_blocks(self.embedding(inputs), conditioning, start, memory)

    def run_blocks(
        self,
        x: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Compute all residual blocks over embedded inputs x (B, T, R): (B, T, layers * G)."""
        samples, hop = x.shape[1], conditioning.hop_length
        frames, leads = frame_biases(conditioning, start, samples)
        rings = None if memory is None else cast(RingMemory, memory)
        gated = []
        for n, block in enumerate(self.blocks):
            past = None if rings is None else rings.past(n)
            if rings is not None:
                rings.extend(n, x)
            bias = (
                None if frames is None else interpolate_rows(frames[:, :, n], leads, samples, hop)
            )
            x, z = block(x, bias, past)
            gated.append(z)
        if rings is not None:
            rings.move_cursor(samples)
        return torch.cat(gated, dim=2)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from the gated outputs (.., layers * G) by the skip path."""
        params: Tensor = self.output(F.relu(self.hidden(F.relu(self.skip(hidden)))))
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> RingMemory:
        """Return empty ring buffers."""
        config = self.config
        shape = (batch, config.ring_edges[-1], config.residual_channels)
        rings = torch.zeros(shape, device=device or self.device)
        return RingMemory(rings, config.ring_edges)

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Read one code and predict the next: two small products per layer, O(layers)."""
        rings, past_taps = cast(RingMemory, memory), self.config.kernel_size - 1
        x = self.embedding(codes)
        gated = []
        for n, block in enumerate(self.blocks):
            taps = rings.taps(n, block.conv.dilation, past_taps)
            gate_sums = block.conv.linear(torch.cat([*taps, x], dim=1))
            rings.push(n, x)
            if bias is not None:
                gate_sums = gate_sums + bias[:, n]
            a, b = gate_sums.chunk(2, dim=1)
            z = torch.tanh(a) * torch.sigmoid(b)
            gated.append(z)
            if block.residual is not None:
                x = x + block.residual(z)
        rings.move_cursor(1)
        return self.output_params(torch.cat(gated, dim=1))

    def network_facts(self) -> dict[str, Fact]:
        """Return depth, kernel size, dilations and widths."""
        config = self.config
        return {
            "layers": len(config.dilations),
            "kernel_size": config.kernel_size,
            "dilations": list(config.dilations),
            "residual_channels": config.residual_channels,
            "gate_channels": config.gate_channels,
            "skip_channels": config.skip_channels,
        }


def require_wavenet(model: AutoregressiveModel[Any], purpose: str) -> WaveNet:
    """Return the model if it is a WaveNet.

    Args:
        purpose: subject of the message, such as an analysis that needs a WaveNet.
    Raises:
        ModelUnsupported: the model has another architecture.
    """
    require_wavenet_config(model.config, purpose)
    assert isinstance(model, WaveNet)
    return model


def require_wavenet_config(config: ModelConfig, purpose: str) -> WaveNetConfig:
    """Return the config if it is of a WaveNet; raise as `require_wavenet`."""
    if not isinstance(config, WaveNetConfig):
        raise ModelUnsupported(
            f"{purpose} needs a WaveNet; this model has the architecture {config.architecture!r}"
        )
    return config
