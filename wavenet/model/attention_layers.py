"""What the two architectures with attention share: positions, blocks, passes over the blocks.

    x_t = embedding(code_(t-1)) + position(t) + condition bias at t
    in each block:
        q_t, k_t, v_t = three products of norm(x_t), cut into heads
        x_t = x_t + merge(attention of q_t to all k_s, v_s with s <= t)
        x_t = x_t + contract(gelu(expand(norm(x_t))))
    p(code_t | codes before) = distribution(output(norm(x_t)))

The norm is before the products ("pre-norm"), so that x is a plain sum from the embedding to the
output: gradients reach all blocks, and every block sees the position and the condition bias, which
are added once. `transformer` and `linear_attention` define the attention and its memory.

Sources: Vaswani et al. 2017, "Attention Is All You Need"; Xiong et al. 2020, "On Layer
Normalization in the Transformer Architecture" (pre-norm).
"""

import math
from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, Self, TypeVar, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, sample_biases
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig

WAVELENGTH_RATIO = 10_000  # the longest wavelength of positions is nearly this times the shortest


class AttentionConfig(ModelConfig):
    """Settings of both architectures.

    Attributes:
        channels: width of x; a multiple of `heads`.
        heads: attentions side by side in a block, each with channels / heads of the channels.
        layers: number of blocks.
        feedforward_channels: width between the two products of the feed-forward part.
    """

    channels: Width = 64
    heads: int = Field(default=4, ge=1, le=64)
    layers: int = Field(default=3, ge=1, le=64)
    feedforward_channels: Width = 256

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.channels % self.heads:
            raise ValueError(
                f"channels must be a multiple of heads, found {self.channels} channels and "
                f"{self.heads} heads; use {self.heads * -(-self.channels // self.heads)} channels"
            )
        return self

    @property
    def head_channels(self) -> int:
        """Width of one head."""
        return self.channels // self.heads

    @property
    def window(self) -> int | None:
        """Number of positions that a query reads, its own included; None: all before it."""
        return None

    @property
    def bias_layers(self) -> int:
        """One: the bias of the conditions is added to the embedding, and x carries it on."""
        return 1

    @property
    def bias_width(self) -> int:
        """Width of x."""
        return self.channels

    @property
    def network_parameters(self) -> int:
        """Number of weights, for a 10-bit codec."""
        width, inner = self.channels, self.feedforward_channels
        block = 4 * width * (width + 1) + 2 * width * inner + inner + 5 * width
        return self.layers * block + 1024 * width + 2 * width + 1024 * (width + 1)


class Heads(NamedTuple):
    """Queries, keys and values of all heads, each (B, T, heads, head channels)."""

    queries: Tensor
    keys: Tensor
    values: Tensor


class PositionEncoding(nn.Module):
    """Sines and cosines of the position, with wavelengths from 6 to about 60,000 samples.

    Vaswani et al. use the angles position / 10000**(2 n / channels). Here each wavelength is
    rounded to a whole number of samples. The position modulo the wavelength is then an exact
    integer, so the result has the same accuracy in a clip of any length.

    Args:
        channels: numbers per position.
    """

    def __init__(self, channels: int):
        super().__init__()
        count = -(-channels // 2)
        ratios = WAVELENGTH_RATIO ** (torch.arange(count, dtype=torch.float64) / count)
        wavelengths = (2 * math.pi * ratios).round().to(torch.int64)
        # not a weight: computed, and not in checkpoints
        self.register_buffer("wavelengths", wavelengths, persistent=False)
        self.channels = channels

    def forward(self, positions: Tensor) -> Tensor:
        """Encode positions (..) int64: (.., channels), in [-1, 1]."""
        wavelengths = cast(Tensor, self.wavelengths)
        angles = 2 * math.pi * (positions[..., None] % wavelengths / wavelengths)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)[..., : self.channels]


class AttentionBlock(nn.Module):
    """The products of one block; the attention itself is a function of the architecture."""

    def __init__(self, config: AttentionConfig):
        super().__init__()
        width, inner = config.channels, config.feedforward_channels
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.feedforward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)

    def split(self, x: Tensor) -> Heads:
        """Compute queries, keys and values from x (B, T, channels)."""
        parts = self.queries_keys_values(self.attention_norm(x)).chunk(3, dim=-1)
        return Heads(*(part.unflatten(-1, (self.heads, -1)) for part in parts))

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Compute the x of the next block.

        Args:
            x: (B, T, channels).
            attended: (B, T, heads, head channels), the attention of the queries.
        """
        x = x + self.merge(attended.flatten(2))
        changed: Tensor = self.contract(F.gelu(self.expand(self.feedforward_norm(x))))
        return x + changed


AttentionConfigT = TypeVar("AttentionConfigT", bound=AttentionConfig)


class AttentionModel(AutoregressiveModel[AttentionConfigT]):
    """Base of both architectures: embedding, positions, blocks, norm and the output layer.

    The memory is a `TensorMemory` whose last tensor is `positions` (B,) int64, the position of the
    next input of each row. It is a tensor, because the rows of a batch can be at different
    positions, and because a CUDA graph cannot change Python numbers.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: AttentionConfigT, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._add_embedding(config.channels)
        self.position_encoding = PositionEncoding(config.channels)
        # a ModuleList, typed as a list of its modules
        blocks = nn.ModuleList(AttentionBlock(config) for _ in range(config.layers))
        self.blocks = cast(list[AttentionBlock], blocks)
        self.norm = nn.LayerNorm(config.channels)
        self.output = nn.Linear(config.channels, self.distribution.n_params)
        self._finish_init()

    @abstractmethod
    def _attend(
        self, layer: int, heads: Heads, first: Tensor, memory: TensorMemory | None
    ) -> Tensor:
        """Compute the attention over a sequence: (B, T, heads, head channels).

        Args:
            layer: index of the block.
            heads: of the sequence.
            first: (B,) or (1,), the position of its first input.
            memory: updated in place, except its positions; None: nothing is known of the past.
        """

    @abstractmethod
    def _weights(
        self, layer: int, heads: Heads, queries: int, memory: TensorMemory | None
    ) -> Tensor:
        """Compute the weights of `attention_weights` for one block."""

    @abstractmethod
    def _attend_one(self, layer: int, heads: Heads, memory: TensorMemory) -> Tensor:
        """Compute the attention of one input, T = 1, and write it into the memory."""

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the last x after its norm, (B, T, channels); see the base class."""
        kept = None if memory is None else cast(TensorMemory, memory)
        first = self._first_positions(start, kept)
        x = self._embed(inputs, conditioning, start, first)
        for layer, block in enumerate(self.blocks):
            x = block(x, self._attend(layer, block.split(x), first, kept))
        if kept is not None:
            kept.tensors[-1].copy_(first + inputs.shape[1])
        return cast(Tensor, self.norm(x))

    def attention_weights(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        queries: int,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Iterator[Tensor]:
        """Compute how much the newest positions of a sequence attend to each position of it.

        Args:
            inputs, conditioning, start: as in `hidden_states`. With a window, the sequence begins
                with the clip, or at least window - 1 positions before the first query.
            queries: number n of newest positions.
            memory: as in `hidden_states`; after the last block it must not be used.
        Yields:
            for each block (B, heads, n, T): a weight is 0 for a position that is not read. A row
            sums to 1, except that linear attention also reads the positions in the memory, which
            have the rest.
        """
        kept = None if memory is None else cast(TensorMemory, memory)
        first = self._first_positions(start, kept)
        x = self._embed(inputs, conditioning, start, first)
        for layer, block in enumerate(self.blocks):
            heads = block.split(x)
            yield self._weights(layer, heads, queries, kept)
            x = block(x, self._attend(layer, heads, first, kept))

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from hidden states (.., channels)."""
        params: Tensor = self.output(hidden)
        return params

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Read one code and predict the next."""
        kept = cast(TensorMemory, memory)
        x = self.embedding(codes) + self.position_encoding(kept.tensors[-1])
        if bias is not None:
            x = x + bias[:, 0]
        x = x[:, None]
        for layer, block in enumerate(self.blocks):
            x = block(x, self._attend_one(layer, block.split(x), kept))
        kept.tensors[-1].add_(1)
        return self.output_params(self.norm(x[:, 0]))

    def network_facts(self) -> dict[str, Fact]:
        """Return depth and widths."""
        config = self.config
        return {
            "layers": config.layers,
            "channels": config.channels,
            "heads": config.heads,
            "feedforward_channels": config.feedforward_channels,
        }

    def _embed(
        self, inputs: Tensor, conditioning: Conditioning, start: Tensor | None, first: Tensor
    ) -> Tensor:
        """Return the x of the first block, (B, T, channels); `first` as in `_attend`."""
        samples = inputs.shape[1]
        biases = sample_biases(conditioning, start, samples)
        steps = torch.arange(samples, device=inputs.device)
        x: Tensor = self.embedding(inputs) + self.position_encoding(first[:, None] + steps)
        return x if biases is None else x + biases[:, :, 0]

    def _first_positions(self, start: Tensor | None, memory: TensorMemory | None) -> Tensor:
        """Return the position of the first input of each row: (B,), or (1,) for all rows.

        With a limited receptive field it is `start`: an engine may read the end of a prompt only.
        Otherwise it is the number of inputs read before: a segment of a training recording, which
        begins with an empty memory, is a clip of its own, and its positions are those of a clip.
        """
        if self.receptive_field is not None and start is not None:
            return start.to(self.device, non_blocking=True)
        if memory is not None:
            return memory.tensors[-1].clone()
        return torch.zeros(1, dtype=torch.int64, device=self.device)
