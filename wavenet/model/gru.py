"""GRU: a recurrent network over codes.

    x_t = embedding(code_(t-1)) + condition bias at t
    r_t = sigmoid(W_r x_t + U_r h_(t-1))             reset gate: fraction of the past that is read
    u_t = sigmoid(W_u x_t + U_u h_(t-1))             update gate: fraction of the past that is kept
    n_t = tanh(W_n x_t + r_t * (U_n h_(t-1)))        candidate
    h_t = (1 - u_t) * n_t + u_t * h_(t-1)
    p(code_t | codes before) = distribution(output(relu(hidden(h_t))))

All of the past is in h_t, a vector of fixed size: the memory is small, the receptive field is
unlimited, and a recording is computed one sample after the other. A WaveNet has a large memory and
a limited receptive field, and computes all samples of a recording in parallel. The formulas omit
the biases of the layers; `torch.nn.GRU` computes the recurrence. Called by `architectures`.

Sources: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder"; for samples
of audio Mehri et al. 2017, "SampleRNN"; Kalchbrenner et al. 2018, "Efficient Neural Audio
Synthesis" (WaveRNN).
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, frame_biases
from wavenet.model.conditioning import Conditioning, interpolate_rows
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig


class GRUConfig(ModelConfig):
    """Config of a GRU: an embedding, stacked GRU layers, a hidden layer, the output layer.

    Attributes:
        embedding_channels: width of the embedding of a code.
        hidden_channels: width of the state of each GRU layer.
        layers: number of GRU layers.
        output_channels: width of the hidden layer before the output layer.
    """

    architecture: Literal["gru"] = "gru"
    embedding_channels: Width = 64
    hidden_channels: Width = 256
    layers: int = Field(default=1, ge=1, le=16)
    output_channels: Width = 128

    @property
    def bias_layers(self) -> int:
        """One: the bias of the conditions is added to the embedding only."""
        return 1

    @property
    def bias_width(self) -> int:
        """Width of the embedding."""
        return self.embedding_channels

    @property
    def memory_values(self) -> int:
        """Numbers in the hidden states of all layers."""
        return self.layers * self.hidden_channels

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        hidden, width = self.hidden_channels, self.output_channels
        first = 3 * hidden * (self.embedding_channels + hidden + 2)
        others = (self.layers - 1) * 3 * hidden * (2 * hidden + 2)
        return first + others + 1024 * self.embedding_channels + width * (hidden + 1024 + 1)


class GRU(AutoregressiveModel[GRUConfig]):
    """The network: embedding, stacked GRU layers, a hidden layer with ReLU, and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: GRUConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._add_embedding(config.embedding_channels)
        self.recurrent = nn.GRU(
            config.embedding_channels, config.hidden_channels, config.layers, batch_first=True
        )
        self.hidden = nn.Linear(config.hidden_channels, config.output_channels)
        self.output = nn.Linear(config.output_channels, self.distribution.n_params)
        self._finish_init()

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the states h_t of the last layer, (B, T, hidden_channels); see the base class."""
        x = self.embedding(inputs)
        frames, leads = frame_biases(conditioning, start, x.shape[1])
        if frames is not None:
            hop = conditioning.hop_length
            x = x + interpolate_rows(frames[:, :, 0], leads, x.shape[1], hop)
        return self._recur(x, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from states (.., hidden_channels)."""
        params: Tensor = self.output(F.relu(self.hidden(hidden)))
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return h_0 = 0 for every layer: (B, layers, hidden_channels)."""
        shape = (batch, self.config.layers, self.config.hidden_channels)
        return TensorMemory([torch.zeros(shape, device=device or self.device)])

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Compute one step of the recurrence."""
        x = self.embedding(codes)
        if bias is not None:
            x = x + bias[:, 0]
        return self.output_params(self._recur(x[:, None], memory)[:, 0])

    def network_facts(self) -> dict[str, Fact]:
        """Return depth and widths."""
        return {
            "layers": self.config.layers,
            "embedding_channels": self.config.embedding_channels,
            "hidden_channels": self.config.hidden_channels,
            "output_channels": self.config.output_channels,
        }

    def _recur(self, x: Tensor, memory: Memory | None) -> Tensor:
        """Run the recurrence over x (B, T, embedding_channels) from the memory, or from zeros."""
        if memory is None:
            states, _ = self.recurrent(x)
            return cast(Tensor, states)
        (kept,) = cast(TensorMemory, memory).tensors
        states, last = self.recurrent(x, kept.transpose(0, 1).contiguous())
        kept.copy_(last.transpose(0, 1))
        return cast(Tensor, states)
