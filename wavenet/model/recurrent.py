"""Recurrent networks over codes: vanilla RNN, GRU and LSTM.

    x_t = embedding(code_(t-1)) + condition bias at t

    rnn   h_t = tanh(W x_t + U h_(t-1))

    gru   r_t = sigmoid(W_r x_t + U_r h_(t-1))       reset gate: fraction of the past that is read
          u_t = sigmoid(W_u x_t + U_u h_(t-1))       update gate: fraction of the past that is kept
          n_t = tanh(W_n x_t + r_t * (U_n h_(t-1)))  candidate
          h_t = (1 - u_t) * n_t + u_t * h_(t-1)

    lstm  i_t = sigmoid(W_i x_t + U_i h_(t-1))       input gate: fraction of g_t that is added
          f_t = sigmoid(W_f x_t + U_f h_(t-1))       forget gate: fraction of the past that is kept
          o_t = sigmoid(W_o x_t + U_o h_(t-1))       output gate: fraction of the cell that is read
          g_t = tanh(W_g x_t + U_g h_(t-1))          candidate
          c_t = f_t * c_(t-1) + i_t * g_t            cell state
          h_t = o_t * tanh(c_t)

    p(code_t | codes before) = distribution(output(relu(hidden(h_t))))

The formulas omit the biases of the layers; torch computes the recurrences.

Gradients over time. In the RNN, dh_t / dh_(t-1) = diag(1 - h_t^2) U. A gradient that goes back n
steps is multiplied by n such matrices, so its norm changes about as s^n, where s is their typical
gain: it vanishes for s < 1 and explodes for s > 1. In the LSTM the direct path from c_(t-1) to c_t
has the factor f_t, and in the GRU that from h_(t-1) to h_t has the factor u_t. A gate near 1 keeps
the gradient, and the network learns when it is near 1. `training.truncated_loss` limits the path of
the gradient, and `likelihood.effective_field` measures it.

Compared with a WaveNet: all of the past is in a state of fixed size, so the memory is small and the
receptive field is unlimited, but a recording is computed one sample after the other. A WaveNet has
a large memory and a limited receptive field, and computes all samples in parallel. Called by
`architectures`.

Sources: Elman 1990, "Finding Structure in Time"; Hochreiter and Schmidhuber 1997, "Long Short-Term
Memory", with the forget gate of Gers et al. 2000; Cho et al. 2014, "Learning Phrase Representations
using RNN Encoder-Decoder"; Pascanu et al. 2013, "On the difficulty of training recurrent neural
networks"; for audio Mehri et al. 2017, "SampleRNN", and Kalchbrenner et al. 2018, "Efficient Neural
Audio Synthesis" (WaveRNN).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, sample_biases
from wavenet.model.conditioning import Conditioning
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig


class Recurrence(NamedTuple):
    """A kind of recurrence.

    Attributes:
        module: the layers of torch.
        products: number of pairs of matrices W, U per layer.
        states: number of vectors per layer in the memory: h, or h and c.
    """

    module: Callable[..., nn.RNNBase]
    products: int
    states: int


RECURRENCES = {
    "rnn": Recurrence(nn.RNN, products=1, states=1),
    "gru": Recurrence(nn.GRU, products=3, states=1),
    "lstm": Recurrence(nn.LSTM, products=4, states=2),
}


class RecurrentConfig(ModelConfig):
    """Config of an embedding, stacked recurrent layers, a hidden layer and the output layer.

    Attributes:
        embedding_channels: width of the embedding of a code.
        hidden_channels: width of the state of each recurrent layer.
        layers: number of recurrent layers.
        output_channels: width of the hidden layer before the output layer.
    """

    embedding_channels: Width = 64
    hidden_channels: Width = 256
    layers: int = Field(default=1, ge=1, le=16)
    output_channels: Width = 128

    @property
    def recurrence(self) -> Recurrence:
        """The recurrence of this architecture."""
        return RECURRENCES[self.architecture]

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
        """Numbers in the states of all layers."""
        return self.recurrence.states * self.layers * self.hidden_channels

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        hidden, width = self.hidden_channels, self.output_channels
        rows = self.recurrence.products * hidden
        first = rows * (self.embedding_channels + hidden + 2)
        others = (self.layers - 1) * rows * (2 * hidden + 2)
        return first + others + 1024 * self.embedding_channels + width * (hidden + 1024 + 1)


class RNNConfig(RecurrentConfig):
    """Config of a vanilla RNN."""

    architecture: Literal["rnn"] = "rnn"


class GRUConfig(RecurrentConfig):
    """Config of a GRU."""

    architecture: Literal["gru"] = "gru"


class LSTMConfig(RecurrentConfig):
    """Config of an LSTM."""

    architecture: Literal["lstm"] = "lstm"


class RecurrentNetwork(AutoregressiveModel[RecurrentConfig]):
    """The network: embedding, recurrent layers, a hidden layer with ReLU, and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    def __init__(
        self, config: RecurrentConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        self._add_embedding(config.embedding_channels)
        self.recurrent = config.recurrence.module(
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
        biases = sample_biases(conditioning, start, x.shape[1])
        if biases is not None:
            x = x + biases[:, :, 0]
        return self._recur(x, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from states (.., hidden_channels)."""
        params: Tensor = self.output(F.relu(self.hidden(hidden)))
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return zeros: h_0, and for an LSTM also c_0, each (B, layers, hidden_channels)."""
        shape = (batch, self.config.layers, self.config.hidden_channels)
        place = device or self.device
        states = range(self.config.recurrence.states)
        return TensorMemory([torch.zeros(shape, device=place, dtype=self.dtype) for _ in states])

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
            return cast(Tensor, self.recurrent(x)[0])
        stored = cast(TensorMemory, memory).tensors
        # copies: the backward pass reads them after the memory was replaced
        before = [s.transpose(0, 1).clone(memory_format=torch.contiguous_format) for s in stored]
        states, last = self.recurrent(x, before[0] if len(before) == 1 else tuple(before))
        after = (last,) if torch.is_tensor(last) else last
        for state, new in zip(stored, after, strict=True):
            state.copy_(new.detach().transpose(0, 1))
        return cast(Tensor, states)
