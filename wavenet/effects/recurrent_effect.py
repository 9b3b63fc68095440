"""An LSTM as an effect: its state is carried from sample to sample, without a receptive field.

    i, f, o = sigmoid, g = tanh of the rows of W [x; h] + b, in the order i, f, g, o
    c = f c + i g,  h = o tanh(c),  y = V h + d

Files store a start of h and c, and programs then feed half a second of silence. Beside a
feed-forward WaveNet: fewer numbers per sample, but a sequential loop also in training.
Source: Hochreiter and Schmidhuber 1997; NeuralAmpModelerCore `lstm.cpp`.
"""

import torch
from torch import Tensor, nn

from wavenet.effects.effect import Effect, EffectState, past_tensor
from wavenet.effects.effect_shapes import RecurrentShape
from wavenet.effects.nam_weights import Weights


class RecurrentEffect(Effect):
    """Layers of an LSTM, then a linear layer.

    Args:
        shape: sizes.
        warm_up: samples of silence before the first sample.
    """

    def __init__(self, shape: RecurrentShape, warm_up: int):
        super().__init__(shape.in_channels, shape.out_channels, None, warm_up)
        self.shape = shape
        hidden, layers = shape.hidden_size, shape.num_layers
        self.lstm = nn.LSTM(shape.in_channels, hidden, layers, batch_first=True)
        self.head = nn.Linear(hidden, shape.out_channels)
        self.register_buffer("start_hidden", torch.zeros(layers, hidden))
        self.register_buffer("start_cell", torch.zeros(layers, hidden))

    def zero_state(self, batch: int = 1) -> EffectState:
        """Return the start that the file stores: hidden states and cells, (layers, B, hidden)."""
        starts = (self.get_buffer("start_hidden"), self.get_buffer("start_cell"))
        return tuple(s[:, None].expand(-1, batch, -1).contiguous() for s in starts)

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        start = (past_tensor(state, 0), past_tensor(state, 1))
        hidden, after = self.lstm(block.transpose(1, 2), start)
        return self.head(hidden).transpose(1, 2), after

    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """See `Effect.load_tensors`; files store the sum of the two biases of torch."""
        with torch.no_grad():
            for index in range(self.shape.num_layers):
                name = f"layers.{index}"
                weight = torch.from_numpy(tensors[f"{name}.weight"].copy())
                inputs = weight.shape[1] - self.shape.hidden_size
                own = dict(self.lstm.named_parameters())
                own[f"weight_ih_l{index}"].copy_(weight[:, :inputs])
                own[f"weight_hh_l{index}"].copy_(weight[:, inputs:])
                bias = torch.from_numpy(tensors[f"{name}.bias"].copy())
                own[f"bias_ih_l{index}"].copy_(bias)
                own[f"bias_hh_l{index}"].zero_()
                for part in ("start_hidden", "start_cell"):
                    start = torch.from_numpy(tensors[f"{name}.{part}"].copy())
                    self.get_buffer(part)[index].copy_(start)
            self.head.weight.copy_(torch.from_numpy(tensors["head.weight"].copy()))
            self.head.bias.copy_(torch.from_numpy(tensors["head.bias"].copy()))

    def tensors(self) -> dict[str, Weights]:
        """See `Effect.tensors`."""
        own = {name: value.detach().float().cpu() for name, value in self.lstm.named_parameters()}
        tensors: dict[str, Weights] = {}
        for index in range(self.shape.num_layers):
            parts = [own[f"weight_ih_l{index}"], own[f"weight_hh_l{index}"]]
            tensors[f"layers.{index}.weight"] = torch.cat(parts, dim=1).numpy()
            bias = own[f"bias_ih_l{index}"] + own[f"bias_hh_l{index}"]
            tensors[f"layers.{index}.bias"] = bias.numpy()
            for part in ("start_hidden", "start_cell"):
                start = self.get_buffer(part)[index]
                tensors[f"layers.{index}.{part}"] = start.float().cpu().numpy().copy()
        tensors["head.weight"] = self.head.weight.detach().float().cpu().numpy().copy()
        tensors["head.bias"] = self.head.bias.detach().float().cpu().numpy().copy()
        return tensors
