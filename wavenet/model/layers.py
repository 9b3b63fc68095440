"""Layers of a WaveNet: causal dilated convolution, gated residual block, input layer for values.

Input and output: activations (B, T, C), channels last. A convolution is then one matrix product
over the concatenated taps, which is fastest on a CPU. The inputs before the first sample of a clip
are zeros. Modules store nothing between calls. Called by models; engines read the weights.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CausalConv1d(nn.Module):
    """A dilated convolution: output t depends on inputs t, t - d, .., t - (k - 1) d only.

    `linear.weight` is (out, kernel_size * in): the taps side by side, the oldest first.
    Source: van den Oord et al. 2016, section 2.1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        dilation: int,
        bias: bool = True,
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.linear = nn.Linear(kernel_size * in_channels, out_channels, bias=bias)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        """Compute the convolution.

        Args:
            x: (B, T, in).
            past: (B, (kernel_size - 1) * dilation, in), the inputs before x; zeros by default.
        Returns:
            (B, T, out).
        """
        samples = x.shape[1]
        if past is None:
            padded = F.pad(x, (0, 0, (self.kernel_size - 1) * self.dilation, 0))
        else:
            padded = torch.cat([past, x], dim=1)
        taps = [
            padded[:, k * self.dilation : k * self.dilation + samples]
            for k in range(self.kernel_size)
        ]
        out: Tensor = self.linear(torch.cat(taps, dim=2))
        return out


class ScalarInput(nn.Linear):
    """An embedding of codes by their values in [-1, 1], for 65,536 codes without a table.

    Args:
        n_classes: code c has the value 2 c / (n_classes - 1) - 1.
        channels: outputs.
    """

    def __init__(self, n_classes: int, channels: int):
        super().__init__(1, channels)
        self.n_classes = n_classes

    def forward(self, codes: Tensor) -> Tensor:
        """Embed codes (...) int64: (..., channels)."""
        values = codes.to(self.weight.dtype) * (2 / (self.n_classes - 1)) - 1
        return super().forward(values[..., None])


class ResidualBlock(nn.Module):
    """Gated unit with a residual path: z = tanh(a) sigmoid(b), x' = x + W z.

    a and b are the two halves of the convolution's output plus the bias of the conditions. The
    skip path is one product over the z of all layers, in `WaveNet`. The last layer has no residual
    product, because its result would not be used.

    Source: van den Oord et al. 2016, sections 2.3 to 2.5.
    """

    def __init__(
        self,
        residual_channels: int,
        gate_channels: int,
        kernel_size: int,
        dilation: int,
        last: bool,
    ):
        super().__init__()
        self.conv = CausalConv1d(residual_channels, 2 * gate_channels, kernel_size, dilation)
        self.residual = None if last else nn.Linear(gate_channels, residual_channels)

    def forward(
        self, x: Tensor, bias: Tensor | None, past: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Compute one layer.

        Args:
            x: (B, T, residual_channels).
            bias: (B, T, 2 * gate_channels) of the conditions, or None.
            past: the inputs before x, see `CausalConv1d`.
        Returns:
            x of the next layer (x itself after the last), and z: (B, T, gate_channels).
        """
        gate_sums = self.conv(x, past)
        if bias is not None:
            gate_sums = gate_sums + bias
        a, b = gate_sums.chunk(2, dim=2)
        z = torch.tanh(a) * torch.sigmoid(b)
        return (x if self.residual is None else x + self.residual(z)), z
