"""Row LSTM: an image, row by row, by an LSTM whose states are rows (a PixelRNN).

    x_0 = A * codes                            mask A: the pixels before t in a square kernel
    a = K * x_(l-1) + S * h + b                sums of four gates, at pixel t, layer l
    i, f, o = sigmoid, g = tanh                of the four parts of a
    c(t) = f c(t - width) + i g                c of the pixel above
    h(t) = o tanh(c(t))
    x_l = x_(l-1) + W h                        residual path

* is a masked convolution (`masked_convolution`). The input-to-state convolution K reads the row of
the pixel, from kernel_size // 2 to the left to the pixel itself (mask B). The state-to-state
convolution S reads h of the row above, kernel_size // 2 columns to each side. b is the bias of the
conditions.

A state depends on states of the row above only, so all pixels of a row are computed at once. An
image needs `height` steps one after the other; a GRU over its codes needs height * width.

Receptive field: upwards unlimited, but a triangle, which becomes wider by r = kernel_size // 2
columns to each side per row. To the right it ends where that of a `pixel_cnn` ends, so earlier
pixels beyond that line are not read either; to the left it has (layers + 1) * r more columns.

Against a WaveNet: gates decide what is kept of the rows above, without a limit of their number, in
a memory of about one row of h and c per layer. A WaveNet is trained on all samples in parallel; a
training pass here is `height` times sequential. Called by `architectures`.

Source: van den Oord et al. 2016, "Pixel Recurrent Neural Networks", sections 3.1 and 3.3; there
the kernel of A has 7 x 7 pixels.
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from wavenet.model.image_model import ImageConfig, ImageModel
from wavenet.model.masked_convolution import MaskedConv, Place, append_to_past, mask_a


class RowLSTMConfig(ImageConfig):
    """Config of a Row LSTM: a layer with mask A, and `layers` layers with states of `channels`."""

    architecture: Literal["row-lstm"] = "row-lstm"
    layers: int = Field(default=3, ge=1, le=64)

    @property
    def past_description(self) -> str:
        """The pixels that a prediction reads."""
        return (
            f"the pixels before in a triangle, {self.reach} columns wider to each side with every "
            "row above"
        )

    @property
    def bias_width(self) -> int:
        """The sums of four gates."""
        return 4 * self.channels

    @property
    def past_states(self) -> int:
        """Number of pixels before the current one that the state-to-state convolution spans."""
        return self.width + self.reach

    @property
    def memory_values(self) -> int:
        """Numbers in the codes, the inputs to the left, the states, the cells, and the position."""
        pixels = self.reach + self.past_states + self.width
        return (self.past_pixels + self.layers * pixels) * self.channels + 1

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        taps = self.reach + 1 + self.kernel_size
        layers = (len(mask_a(self.kernel_size)) + self.layers * (4 * taps + 1)) * self.channels**2
        return layers + 1024 * self.channels + self.output_channels * (self.channels + 1024)


class RowLSTM(ImageModel):
    """The network: Row LSTM layers, a hidden layer and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    config: RowLSTMConfig

    def __init__(
        self, config: RowLSTMConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        taps = mask_a(config.kernel_size)
        self.first = MaskedConv(config.channels, config.channels, taps, config.width, shift=1)
        self.rows = nn.ModuleList(RowLSTMLayer(config) for _ in range(config.layers))
        self._finish_init()

    def memory_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the codes, the inputs to the left, the states and the cells."""
        config = self.config
        pixels = (config.reach, config.past_states, config.width)
        layers = [(config.layers, count, config.channels) for count in pixels]
        return [(config.past_pixels, config.channels), *layers]

    def pixel_features(
        self, x: Tensor, bias: Tensor | None, place: Place, stored: list[Tensor] | None
    ) -> Tensor:
        """Run all layers; see the base class."""
        codes = None if stored is None else stored[0]
        x = self.first(append_to_past(codes, x, self.config.past_pixels), place)
        for n, layer in enumerate(cast(list[RowLSTMLayer], self.rows)):
            past = [None] * 3 if stored is None else [part[:, n] for part in stored[1:4]]
            x = layer(x, None if bias is None else bias[:, :, n], place, past)
        return x


class RowLSTMLayer(nn.Module):
    """One layer; see the module docstring."""

    def __init__(self, config: RowLSTMConfig):
        super().__init__()
        self.config = config
        channels, width, reach = config.channels, config.width, config.reach
        row = [(0, left) for left in range(reach, -1, -1)]
        row_above = [(1, left) for left in range(reach, -reach - 1, -1)]
        self.from_input = MaskedConv(channels, 4 * channels, row, width)
        self.from_above = MaskedConv(channels, 4 * channels, row_above, width)
        self.residual = nn.Linear(channels, channels)
        with torch.no_grad():  # the forget gates begin nearly open, so that the past is kept
            self.from_input.linear.bias[channels : 2 * channels] = 1.0

    def forward(
        self, x: Tensor, bias: Tensor | None, place: Place, past: list[Tensor | None]
    ) -> Tensor:
        """Compute the inputs of the next layer, (B, T, channels).

        Args:
            x: (B, T, channels).
            bias: (B, T, 4 * channels) of the conditions, or None.
            place: of the pixels.
            past: inputs, states and cells before x, see `append_to_past`.
        """
        sums = self.from_input(append_to_past(past[0], x, self.config.reach), place)
        sums = sums if bias is None else sums + bias
        out: Tensor = x + self.residual(self._recur(sums, place, past))
        return out

    def _recur(self, sums: Tensor, place: Place, past: list[Tensor | None]) -> Tensor:
        """Compute the states (B, T, channels) from the sums of the inputs (B, T, 4 * channels).

        A state reads the states of at least `width - reach` pixels before, so that many pixels are
        computed at once: nearly a row, from any column.
        """
        config, outputs = self.config, []
        counts = (config.past_states, config.width)
        states, cells = (
            sums.new_zeros(len(sums), count, config.channels) if stored is None else stored.clone()
            for stored, count in zip(past[1:], counts, strict=True)
        )
        at_once = config.width - config.reach
        for own, rows, columns in zip(
            *(part.split(at_once, dim=1) for part in (sums, place.rows, place.columns)), strict=True
        ):
            count = own.shape[1]
            # `MaskedConv` expects room for the pixels themselves, which no tap reads
            above = self.from_above(F.pad(states, (0, 0, 0, count)), Place(rows, columns))
            i, f, o, g = (own + above).chunk(4, dim=2)
            # the oldest stored cell is that of the pixel above
            cell = torch.sigmoid(f) * cells[:, :count] + torch.sigmoid(i) * torch.tanh(g)
            outputs.append(torch.sigmoid(o) * torch.tanh(cell))
            cells = torch.cat([cells, cell], dim=1)[:, count:]
            states = torch.cat([states, outputs[-1]], dim=1)[:, count:]
        for stored, newest in zip(past[1:], (states, cells), strict=True):
            if stored is not None:
                stored.copy_(newest.detach())
        return torch.cat(outputs, dim=1)
