"""Masked convolutions: a pixel reads pixels that are earlier in raster order.

A masked convolution reads the pixels (row - up, column - left) of a list of taps, all of them
earlier in raster order, thus `up * width + left` pixels before. Mask A (first layer) omits the
pixel itself, which is predicted; mask B (later layers) reads the features of the pixel, which
depend on earlier pixels only. A tap outside the image reads zeros. In raster order such a layer is
a causal convolution over time: a step reads a few stored features and computes one pixel.

The input of a model at pixel t is the code of pixel t - 1, so all taps of the first layer are one
step later in the inputs (`shift` = 1). Called by the models of images.

Source: van den Oord et al. 2016, "Pixel Recurrent Neural Networks", section 3.4.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Taps = list[tuple[int, int]]  # (up, left) of each tap


class Place(NamedTuple):
    """Rows and columns of the pixels of a sequence, each (B, T) or (1, T) int64."""

    rows: Tensor
    columns: Tensor


class MaskedConv(nn.Module):
    """A convolution over the taps of earlier pixels, in raster order.

    Args:
        inputs, outputs: numbers of channels.
        taps: (up, left) of each tap.
        width: of an image.
        shift: 1 in the first layer, where the feature at t is that of pixel t - 1; otherwise 0.
    """

    def __init__(self, inputs: int, outputs: int, taps: Taps, width: int, shift: int = 0):
        super().__init__()
        self.taps, self.width = taps, width
        self.lags = [up * width + left - shift for up, left in taps]
        self.linear = nn.Linear(len(taps) * inputs, outputs)

    def forward(self, padded: Tensor, place: Place) -> Tensor:
        """Compute the convolution.

        Args:
            padded: (B, n + T, inputs), the features of the pixels and of the n pixels before, where
                n is at least the largest lag.
            place: of the T pixels.
        Returns:
            (B, T, outputs).
        """
        samples = place.rows.shape[1]
        first = padded.shape[1] - samples
        parts = [padded[:, first - lag : first - lag + samples] for lag in self.lags]
        inside = torch.stack([self._is_inside(place, *tap) for tap in self.taps], dim=2)
        out: Tensor = self.linear((torch.stack(parts, dim=2) * inside[..., None]).flatten(2))
        return out

    def _is_inside(self, place: Place, up: int, left: int) -> Tensor:
        """Return which pixels have a tap inside the image, (B or 1, T) bool."""
        column = place.columns - left
        return (place.rows >= up) & (column >= 0) & (column < self.width)


def mask_a(kernel_size: int) -> Taps:
    """Return the taps of a kernel that are before its middle, in raster order."""
    reach = kernel_size // 2
    above = [(up, left) for up in range(reach, 0, -1) for left in range(reach, -reach - 1, -1)]
    return above + [(0, left) for left in range(reach, 0, -1)]


def mask_b(kernel_size: int) -> Taps:
    """Return the taps of mask A and the middle."""
    return [*mask_a(kernel_size), (0, 0)]


def append_to_past(past: Tensor | None, x: Tensor, count: int) -> Tensor:
    """Return the stored features of `count` pixels and x, (B, count + T, C); store the newest.

    Args:
        past: (B, count, C), replaced in place by values without gradient; None: zeros, not stored.
        x: (B, T, C).
    """
    if past is None:
        return F.pad(x, (0, 0, count, 0))
    padded = torch.cat([past, x], dim=1)
    past.copy_(padded[:, padded.shape[1] - count :].detach())
    return padded
