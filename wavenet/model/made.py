"""MADE: a masked autoencoder over a window of D codes.

One pass predicts all codes of a window, each from the codes before it in an ordering, because masks
of the weights (`made_masks`) remove all other connections. The predictions are the factors of the
chain rule p(x) = prod_d p(x_d | the codes before x_d), so one pass computes the likelihood of the
window. All numbers of the embedding of one code are masked alike, all features of one output as
well.

Training: the windows of a clip, side by side; every code is a target once. The degrees are drawn
`masks` times. Set s uses ordering s % `orderings`; ordering 0 is the natural one, the others are
permutations of all codes but the last. Window n of a batch is trained with set n % `masks`.
Prediction: a window slides by one sample. The last code is last in every ordering, so all sets
predict it from the D - 1 codes before it; the average of their params (logits) is the prediction.

Against a WaveNet: one layer reads D - 1 codes, so the number of weights grows with D; dilated
convolutions read a long past with few weights. A pass over a window is fast, since it predicts D
codes at once, but from 0 to D - 1 codes of the past, so most targets are predicted from fewer codes
than in use. Of the first hidden layer only one unit in D - 1 reads the newest code. Called by
`architectures`.

Source: Germain et al. 2015, "MADE: Masked Autoencoder for Distribution Estimation".
"""

from typing import Literal, Self, cast

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn

from wavenet.config import Width
from wavenet.model.autoregressive_model import AutoregressiveModel, Fact, sample_biases
from wavenet.model.conditioning import Conditioning
from wavenet.model.made_masks import draw_degrees, draw_orders, make_masks, window_index
from wavenet.model.memory import Memory, TensorMemory
from wavenet.model.model_config import ModelConfig
from wavenet.model.nll import sum_nll


class MADEConfig(ModelConfig):
    """Config of a MADE: an embedding, masked hidden layers, a masked layer, the output layer.

    Attributes:
        window: D, the codes of one window; a prediction reads D - 1 codes.
        embedding_channels: width of the embedding of a code.
        hidden_channels: width of each hidden layer.
        layers: number of hidden layers.
        output_channels: features of one code of the window, the input of the output layer.
        masks: number of mask sets; with more sets a prediction is a larger average.
        orderings: number of orderings of the codes of a window; 1: the natural one only.
    """

    architecture: Literal["made"] = "made"
    window: int = Field(default=32, ge=2, le=4096)
    embedding_channels: Width = 8
    hidden_channels: Width = 160
    layers: int = Field(default=2, ge=1, le=16)
    output_channels: Width = 16
    masks: int = Field(default=4, ge=1, le=64)
    orderings: int = Field(default=1, ge=1, le=64)

    @model_validator(mode="after")
    def _check_orderings(self) -> Self:
        if self.orderings > self.masks:
            raise ValueError(
                f"{self.orderings} orderings need as many mask sets, found masks = {self.masks}; "
                f"choose masks = {self.orderings} or more, or fewer orderings"
            )
        return self

    @property
    def receptive_field(self) -> int:
        """The codes of a window before the last one."""
        return self.window - 1

    @property
    def bias_layers(self) -> int:
        """One: the bias of the conditions is added in the first hidden layer only."""
        return 1

    @property
    def bias_width(self) -> int:
        """Width of a hidden layer."""
        return self.hidden_channels

    @property
    def memory_values(self) -> int:
        """Numbers in the embeddings of the codes before the newest one."""
        return (self.window - 2) * self.embedding_channels

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        hidden, width = self.hidden_channels, self.output_channels
        masked = hidden * self.window * (self.embedding_channels + width)
        middle = (self.layers - 1) * hidden * (hidden + 1)
        return masked + middle + 1024 * (self.embedding_channels + width + 1)


class MADE(AutoregressiveModel[MADEConfig]):
    """The network: embedding, masked layers with ReLU, and the output layer.

    The places `order` and the degrees of the hidden units are stored with the weights.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    order: Tensor  # (masks, D), 1 to D
    degrees: Tensor  # (masks, layers, hidden_channels), 1 to D - 1

    def __init__(
        self, config: MADEConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        window, hidden = config.window, config.hidden_channels
        self._add_embedding(config.embedding_channels)
        self.first = nn.Linear(window * config.embedding_channels, hidden)
        self.middle = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(config.layers - 1))
        self.last = nn.Linear(hidden, window * config.output_channels)
        self.output = nn.Linear(config.output_channels, self.distribution.n_params)
        orders = draw_orders(window, config.orderings)
        self.register_buffer("order", orders[torch.arange(config.masks) % config.orderings])
        degrees = [draw_degrees(window, config.layers, hidden) for _ in range(config.masks)]
        self.register_buffer("degrees", torch.stack(degrees))
        self._finish_init()

    def hidden_states(
        self,
        inputs: Tensor,
        conditioning: Conditioning,
        start: Tensor | None = None,
        memory: Memory | None = None,
    ) -> Tensor:
        """Return the features of the next code, (B, T, output_channels); see the base class."""
        bias = self._sample_biases(conditioning, start, inputs.shape[1])
        return self._predict(inputs, bias, memory)

    def output_params(self, hidden: Tensor) -> Tensor:
        """Return params (.., P) from features (.., output_channels)."""
        params: Tensor = self.output(hidden)
        return params

    def initial_memory(self, batch: int, device: torch.device | None = None) -> TensorMemory:
        """Return the embeddings of D - 2 start codes: (B, D - 2, embedding_channels)."""
        codes = torch.full((batch, self.config.window - 2), self.start_code, device=self.device)
        with torch.no_grad():
            embedded = self.embedding(codes)
        return TensorMemory([embedded.to(device or self.device)])

    def step(self, memory: Memory, codes: Tensor, bias: Tensor | None) -> Tensor:
        """Predict the last code of the window that ends with the next sample."""
        return self.output_params(self._predict(codes[:, None], bias, memory)[:, 0])

    def training_nll(
        self,
        codes: Tensor,
        mask: Tensor,
        start: Tensor | None,
        conditioning: Conditioning,
        input_codes: Tensor,
    ) -> Tensor:
        """Sum the negative log-likelihood of the targets in windows side by side, in nats.

        The last window of a row ends with its last target. Codes before the row are start codes.
        The conditions of a window are those of its last sample.
        """
        index = window_index(mask, self.config.window)  # (B, windows, D)
        inside, sample = index >= 0, index.clamp(min=0).flatten(1)
        cut = [x.gather(1, sample).reshape(index.shape) for x in (codes, input_codes, mask)]
        targets, inputs, is_target = (x.flatten(0, 1) for x in cut)  # (windows of all rows, D)
        inside = inside.flatten(0, 1)
        x = self.embedding(inputs.masked_fill(~inside, self.start_code))
        bias = self._sample_biases(conditioning, start, codes.shape[1])
        if bias is not None:
            ends = index[:, :, -1, None].clamp(min=0).expand(-1, -1, bias.shape[2])
            bias = bias.gather(1, ends).flatten(0, 1)
        total = torch.zeros((), device=codes.device)
        for n in range(min(self.config.masks, len(x))):
            own = slice(n, None, self.config.masks)
            features = self.window_features(x[own], n, None if bias is None else bias[own])
            total = total + sum_nll(
                self.distribution,
                self.output_params(features).flatten(0, 1),
                targets[own].flatten(),
                (is_target[own] & inside[own]).flatten(),
                mask_only=True,
            )
        return total

    def window_features(self, x: Tensor, mask_set: int, bias: Tensor | None = None) -> Tensor:
        """Compute the features of all codes of windows, each from the codes before it.

        Args:
            x: (N, D, embedding_channels), the embedded codes.
            mask_set: index of the set.
            bias: (N, hidden_channels) of the conditions, or None.
        Returns:
            (N, D, output_channels), the input of the output layer.
        """
        first, *middle, last = make_masks(self.order[mask_set], self.degrees[mask_set])
        weight = self.first.weight * first.repeat_interleave(x.shape[2], dim=1)
        hidden = F.linear(x.flatten(1), weight, self.first.bias)
        hidden = self._run_middle(hidden if bias is None else hidden + bias, middle)
        weight = self.last.weight * last.repeat_interleave(self.config.output_channels, dim=0)
        features = F.relu(F.linear(hidden, weight, self.last.bias))
        return features.unflatten(1, (self.config.window, -1))

    @property
    def macs_per_sample(self) -> int:
        """Multiply-adds of one prediction: every mask set, the features of the last code only."""
        config = self.config
        hidden, width = config.hidden_channels, config.output_channels
        inputs = config.receptive_field * config.embedding_channels
        of_set = hidden * (inputs + (config.layers - 1) * hidden + width)
        return config.masks * of_set + width * self.distribution.n_params

    def network_facts(self) -> dict[str, Fact]:
        """Return window, depth, widths and numbers of masks and orderings."""
        names = ("window", "layers", "embedding_channels", "hidden_channels", "output_channels")
        return {name: getattr(self.config, name) for name in (*names, "masks", "orderings")}

    def _sample_biases(
        self, conditioning: Conditioning, start: Tensor | None, samples: int
    ) -> Tensor | None:
        """Return the bias of every sample, (B, T, hidden_channels), or None."""
        biases = sample_biases(conditioning, start, samples)
        return None if biases is None else biases[:, :, 0]

    def _predict(self, inputs: Tensor, bias: Tensor | None, memory: Memory | None) -> Tensor:
        """Compute the features of the last code of the window of each sample, (B, T, width)."""
        kept = self.initial_memory(len(inputs), inputs.device) if memory is None else memory
        (past,) = cast(TensorMemory, kept).tensors
        x = torch.cat([past, self.embedding(inputs)], dim=1)  # (B, D - 2 + T, E)
        if memory is not None:
            past.copy_(x[:, inputs.shape[1] :].detach())
        features = [self._predict_by_set(x, n, bias) for n in range(self.config.masks)]
        return torch.stack(features).mean(0)  # the output layer is linear: an average of params

    def _predict_by_set(self, x: Tensor, mask_set: int, bias: Tensor | None) -> Tensor:
        """Compute the features of the last code of each window in x (B, D - 2 + T, E)."""
        first, *middle, _ = make_masks(self.order[mask_set], self.degrees[mask_set])
        weight = self.first.weight.unflatten(1, (self.config.window, -1)) * first[:, :, None]
        kernel = weight[:, :-1].transpose(1, 2)  # (hidden, E, D - 1): a convolution over time
        hidden = F.conv1d(x.transpose(1, 2), kernel, self.first.bias).transpose(1, 2)
        hidden = self._run_middle(hidden if bias is None else hidden + bias, middle)
        # the last code is after all units, so its mask is full
        width = self.config.output_channels
        return F.relu(F.linear(hidden, self.last.weight[-width:], self.last.bias[-width:]))

    def _run_middle(self, hidden: Tensor, masks: list[Tensor]) -> Tensor:
        """Apply ReLU and the masked layers between the first hidden layer and the last one."""
        hidden = F.relu(hidden)
        layers = cast(list[nn.Linear], self.middle)
        for layer, mask in zip(layers, masks, strict=True):
            hidden = F.relu(F.linear(hidden, layer.weight * mask, layer.bias))
        return hidden
