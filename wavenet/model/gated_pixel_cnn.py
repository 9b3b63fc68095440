"""Gated PixelCNN: a PixelCNN without a blind spot.

Two stacks of convolutions, r = kernel_size // 2 (layer l = 1 .. layers):

    vertical      s_l = V * v_(l-1)                     sums: rows above, columns r to each side
                  v_l = tanh(s_l, first half) sigmoid(s_l, second half)
    horizontal    a_l = H * h_(l-1) + N s_l + b         pixels to the left, r of them
                  h_l = h_(l-1) + W tanh(a_l, first half) sigmoid(a_l, second half)

v_0 and h_0 are the embedded codes. V of the first layer reads the rows above only (mask A), so v_l
depends on rows above only, in every column, and later layers may read v of the own row on both
sides. A single stack cannot do that: in a `pixel_cnn` the features of the own row depend on pixels
of this row. H has mask A in the first layer, which has no residual path, and mask B later. The
horizontal stack reads the vertical one, never the reverse. So a prediction reads exactly a
rectangle, layers * r rows above and layers * r columns to each side, and layers * r pixels to the
left. b is the bias of the conditions, in the horizontal stack only: b may differ from pixel to
pixel, and v reads columns whose b is not yet known.

Steps. v of a row is computed from complete rows, for all columns at once. The memory stores the
codes of the last rows as embeddings, and a step computes the vertical stack of these rows again:
(layers * r + 1) * width pixels. The horizontal stack stores r pixels per layer.

Against a WaveNet: the gates and the residual path are the same. A waveform has one dimension, so
one stack is enough, and dilations replace the depth. Called by `architectures`.

Source: van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders"; here the
condition is not in the vertical stack.
"""

from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.model.image_model import ImageConfig, ImageModel
from wavenet.model.masked_convolution import MaskedConv, Place, append_to_past


class GatedPixelCNNConfig(ImageConfig):
    """Config of a gated PixelCNN."""

    architecture: Literal["gated-pixelcnn"] = "gated-pixelcnn"

    @property
    def past_description(self) -> str:
        """The pixels that a prediction reads."""
        count = self.rows_above
        return f"the pixels before, up to {count} rows above and {count} columns to each side"

    @property
    def bias_width(self) -> int:
        """The sums of a gated unit."""
        return 2 * self.channels

    @property
    def rows_above(self) -> int:
        """Number of rows above a pixel that its prediction reads."""
        return self.layers * self.reach

    @property
    def past_codes(self) -> int:
        """Number of codes before a pixel that its prediction reads at most."""
        return (self.rows_above + 1) * self.width

    @property
    def memory_values(self) -> int:
        """Numbers in the embeddings, the horizontal stack to the left, and the position."""
        return (self.past_codes + self.layers * self.reach) * self.channels + 1

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        vertical = (self.layers * (self.reach + 1) - 1) * self.kernel_size * 2
        horizontal = (self.layers * (self.reach + 1) - 1) * 2 + self.layers * 5
        layers = (vertical + horizontal) * self.channels**2
        return layers + 1024 * self.channels + self.output_channels * (self.channels + 1024)


class GatedPixelCNN(ImageModel):
    """The network: two stacks of gated layers, a hidden layer and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    config: GatedPixelCNNConfig

    def __init__(
        self,
        config: GatedPixelCNNConfig,
        bits: int,
        sample_rate: int,
        start_code: int | None = None,
    ):
        super().__init__(config, bits, sample_rate, start_code)
        first = [n == 0 for n in range(config.layers)]
        self.vertical = nn.ModuleList(VerticalConv(config, is_first) for is_first in first)
        self.horizontal = nn.ModuleList(HorizontalLayer(config, is_first) for is_first in first)
        self._finish_init()

    def memory_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the embeddings and of the inputs of the horizontal layers."""
        config = self.config
        return [
            (config.past_codes, config.channels),
            (config.layers, config.reach, config.channels),
        ]

    def pixel_features(
        self, x: Tensor, bias: Tensor | None, place: Place, stored: list[Tensor] | None
    ) -> Tensor:
        """Compute h of the last layer; see the base class."""
        sums = self._vertical_sums(x, place, None if stored is None else stored[0])
        for n, layer in enumerate(cast(list[HorizontalLayer], self.horizontal)):
            past = None if stored is None else stored[1][:, n]
            x = layer(x, sums[n], None if bias is None else bias[:, :, n], place, past)
        return x

    @property
    def macs_per_sample(self) -> int:
        """Number of multiply-adds of a step, which computes the vertical stack of some rows."""
        vertical = sum(p.numel() for p in self.vertical.parameters() if p.ndim == 2)
        return super().macs_per_sample + (self.config.past_codes - 1) * vertical

    def _vertical_sums(self, x: Tensor, place: Place, past: Tensor | None) -> list[Tensor]:
        """Compute s of every layer at the pixels, each (B, T, 2 * channels).

        The rows that the first pixel reads, and those of the T pixels, are laid out as an image:
        `rows_above` rows and as many as T pixels can span.
        """
        config, count, samples = self.config, self.config.past_codes, x.shape[1]
        width, above = config.width, config.rows_above
        padded = append_to_past(past, x, count)  # (B, count + T, C)
        rows = above + 1 + (samples + width - 2) // width
        top = place.rows[:, :1] - above
        pixel = top * width + torch.arange(rows * width, device=x.device)  # (B or 1, rows * width)
        # x at t is the code of pixel t - 1
        first = place.rows[:, :1] * width + place.columns[:, :1] - 1
        index = (pixel - first + count).clamp(0, count + samples - 1)
        index = index.expand(len(x), -1)[..., None].expand(-1, -1, x.shape[2])
        inside = (pixel >= 0).unflatten(1, (rows, width))[..., None]  # (B or 1, rows, width, 1)
        image = padded.gather(1, index).unflatten(1, (rows, width)) * inside
        wanted = (place.rows - top) * width + place.columns
        wanted = wanted.expand(len(x), -1)[..., None].expand(-1, -1, 2 * config.channels)
        found = []
        for layer in self.vertical:
            sums = layer(image)
            found.append(sums.flatten(1, 2).gather(1, wanted))
            image = gate(sums) * inside
        return found


class VerticalConv(nn.Module):
    """V of the module docstring, over an image (B, rows, width, channels)."""

    def __init__(self, config: GatedPixelCNNConfig, is_first: bool):
        super().__init__()
        self.reach = config.reach
        self.ups = range(config.reach, 0 if is_first else -1, -1)
        taps = len(self.ups) * config.kernel_size
        self.linear = nn.Linear(taps * config.channels, 2 * config.channels)

    def forward(self, image: Tensor) -> Tensor:
        """Return the sums, (B, rows, width, 2 * channels); outside are zeros."""
        reach, (rows, width) = self.reach, image.shape[1:3]
        padded = F.pad(image, (0, 0, reach, reach, reach, 0))
        taps = [
            padded[:, reach - up : reach - up + rows, column : column + width]
            for up in self.ups
            for column in range(2 * reach + 1)
        ]
        out: Tensor = self.linear(torch.cat(taps, dim=3))
        return out


class HorizontalLayer(nn.Module):
    """H, N and W of the module docstring."""

    def __init__(self, config: GatedPixelCNNConfig, is_first: bool):
        super().__init__()
        channels, self.reach, self.is_first = config.channels, config.reach, is_first
        left = [(0, n) for n in range(config.reach, 0, -1)]
        taps = left if is_first else [*left, (0, 0)]
        self.conv = MaskedConv(channels, 2 * channels, taps, config.width, int(is_first))
        self.from_vertical = nn.Linear(2 * channels, 2 * channels)
        self.residual = nn.Linear(channels, channels)

    def forward(
        self,
        x: Tensor,
        vertical: Tensor,
        bias: Tensor | None,
        place: Place,
        past: Tensor | None,
    ) -> Tensor:
        """Return h_l, (B, T, channels), of h_(l-1) x, s_l (B, T, 2 * channels) and the bias."""
        padded = append_to_past(past, x, self.reach)
        sums = self.conv(padded, place) + self.from_vertical(vertical)
        out = self.residual(gate(sums if bias is None else sums + bias))
        return out if self.is_first else x + out


def gate(sums: Tensor) -> Tensor:
    """Return tanh(first half) * sigmoid(second half) of the channels."""
    a, b = sums.chunk(2, dim=-1)
    return torch.tanh(a) * torch.sigmoid(b)
