"""PixelCNN: an image, pixel by pixel, by masked convolutions.

    x_0 = mask A * codes                                 pixels before t
    x_l = x_(l-1) + W relu(mask B * relu(x_(l-1)) + b)   l = 1 .. layers
    p(code_t | codes before) = distribution(output(relu(hidden(relu(x_layers)))))

b is the bias of the conditions. The kernel has kernel_size x kernel_size pixels, of which the masks
keep those before the pixel in raster order: the rows above, and the pixels to the left. Mask B also
keeps the pixel itself (`masked_convolution`).

Blind spot. Going up by one row, a tap goes at most r = kernel_size // 2 columns to the right; in
its own row it cannot go right at all. So after any number of layers, a prediction at (row, column)
reads in row - n only columns up to column + r * n. The pixels to the right of that line are earlier
in raster order and are never read, whatever the depth. `gated_pixel_cnn` has no blind spot.

Against a WaveNet on the same codes: one layer reads the rows above at once, where a WaveNet needs
dilations that reach back `width` codes and more; and the weights know left from above. Both are
trained on all pixels in parallel, and both generate one pixel after the other, here with a memory
of about kernel_size // 2 rows per layer. The receptive field is limited by the depth: a layer
reaches r rows. Called by `architectures`.

Source: van den Oord et al. 2016, "Pixel Recurrent Neural Networks", sections 3.4 and 3.5; here a
residual block has two layers instead of three.
"""

from typing import Literal, cast

import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.model.image_model import ImageConfig, ImageModel
from wavenet.model.masked_convolution import MaskedConv, Place, append_to_past, mask_a, mask_b


class PixelCNNConfig(ImageConfig):
    """Config of a PixelCNN: a layer with mask A, and `layers` residual blocks with mask B."""

    architecture: Literal["pixelcnn"] = "pixelcnn"

    @property
    def past_description(self) -> str:
        """The pixels that a prediction reads."""
        count = (self.layers + 1) * self.reach
        return f"the pixels before, up to {count} rows above, without the blind spot"

    @property
    def bias_width(self) -> int:
        """Features of a pixel."""
        return self.channels

    @property
    def memory_values(self) -> int:
        """Numbers in the features of the past pixels, and the position."""
        return (self.layers + 1) * self.past_pixels * self.channels + 1

    @property
    def network_parameters(self) -> int:
        """Weights of the network, for a 10-bit codec."""
        taps, channels = len(mask_b(self.kernel_size)), self.channels
        layers = (taps - 1) * channels**2 + self.layers * (taps + 1) * channels**2
        return layers + 1024 * channels + self.output_channels * (channels + 1024)


class PixelCNN(ImageModel):
    """The network: a masked convolution, residual blocks, a hidden layer and the output layer.

    Args:
        config, bits, sample_rate, start_code: see `AutoregressiveModel`.
    """

    config: PixelCNNConfig

    def __init__(
        self, config: PixelCNNConfig, bits: int, sample_rate: int, start_code: int | None = None
    ):
        super().__init__(config, bits, sample_rate, start_code)
        channels, width, size = config.channels, config.width, config.kernel_size
        self.first = MaskedConv(channels, channels, mask_a(size), width, shift=1)
        self.blocks = nn.ModuleList(PixelBlock(channels, size, width) for _ in range(config.layers))
        self._finish_init()

    def memory_shapes(self) -> list[tuple[int, ...]]:
        """Return one shape: the inputs of every masked convolution at the past pixels."""
        return [(self.config.layers + 1, self.config.past_pixels, self.config.channels)]

    def pixel_features(
        self, x: Tensor, bias: Tensor | None, place: Place, stored: list[Tensor] | None
    ) -> Tensor:
        """Compute x_layers of the module docstring; see the base class."""
        count = self.config.past_pixels
        pasts = [None] * (self.config.layers + 1) if stored is None else stored[0].unbind(1)
        x = self.first(append_to_past(pasts[0], x, count), place)
        for n, block in enumerate(cast(list[PixelBlock], self.blocks)):
            padded = append_to_past(pasts[n + 1], F.relu(x), count)
            x = x + block(padded, None if bias is None else bias[:, :, n], place)
        return x


class PixelBlock(nn.Module):
    """The change of the features by a residual block: W relu(mask B * padded + bias)."""

    def __init__(self, channels: int, kernel_size: int, width: int):
        super().__init__()
        self.conv = MaskedConv(channels, channels, mask_b(kernel_size), width)
        self.residual = nn.Linear(channels, channels)

    def forward(self, padded: Tensor, bias: Tensor | None, place: Place) -> Tensor:
        """Return (B, T, channels); see `MaskedConv`."""
        sums = self.conv(padded, place)
        out: Tensor = self.residual(F.relu(sums if bias is None else sums + bias))
        return out
