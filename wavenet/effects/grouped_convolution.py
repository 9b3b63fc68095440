"""A causal convolution with groups, an optional bias and an explicit past.

Each group of channels is a `CausalConv1d` of this project. Activations are (B, T, C) here, channels
last. Weights enter and leave in the layout of files: (out, in / groups, taps), oldest tap first.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.effects.nam_weights import Weights
from wavenet.model.layers import CausalConv1d

# Matrix products of fewer rows round differently. An amplifier amplifies quiet inputs by 60 dB and
# more, and that difference too: blocks of one sample would differ by 3e-6 from a whole clip.
MIN_ROWS = 8


class GroupedConvolution(nn.Module):
    """A causal dilated convolution; with a kernel size of 1, a product per sample.

    Args:
        in_channels, out_channels: multiples of the groups.
        kernel_size, dilation: of the taps.
        groups: output group g reads input group g only.
        bias: whether there is one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 1,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
    ):
        super().__init__()
        self.in_channels, self.kernel_size, self.dilation = in_channels, kernel_size, dilation
        self.groups = groups
        sizes = (in_channels // groups, out_channels // groups)
        self.convs = nn.ModuleList(
            CausalConv1d(*sizes, kernel_size, dilation, bias=bias) for _ in range(groups)
        )

    @property
    def past_samples(self) -> int:
        """Inputs before the current one that an output depends on."""
        return (self.kernel_size - 1) * self.dilation

    def zero_past(self, batch: int) -> Tensor:
        """Return a past of zeros: (B, past_samples, in)."""
        like = next(self.parameters())
        return like.new_zeros(batch, self.past_samples, self.in_channels)

    def forward(self, x: Tensor, past: Tensor | None = None) -> Tensor:
        """Compute the convolution.

        Args:
            x: (B, T, in).
            past: (B, past_samples, in), the inputs before x; None only without a past.
        Returns:
            (B, T, out).
        """
        samples = x.shape[1]
        if samples < MIN_ROWS:
            x = F.pad(x, (0, 0, 0, MIN_ROWS - samples))
        width = self.in_channels // self.groups
        outputs = []
        for group, conv in enumerate(self.convs):
            part = slice(group * width, (group + 1) * width)
            outputs.append(conv(x[:, :, part], None if past is None else past[:, :, part]))
        joined = outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=2)
        return joined[:, :samples]

    def advance(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs for x, and the past after x."""
        kept = torch.cat([past, x], dim=1)[:, x.shape[1] :]
        return self(x, past), kept

    def load(self, tensors: dict[str, Weights], name: str) -> None:
        """Copy weight and bias from tensors of a file."""
        weight = torch.from_numpy(np.array(tensors[f"{name}.weight"], np.float32))
        bias = tensors.get(f"{name}.bias")
        rows = weight.shape[0] // self.groups
        with torch.no_grad():
            for group, linear in enumerate(self._linears()):
                part = slice(group * rows, (group + 1) * rows)
                linear.weight.copy_(weight[part].permute(0, 2, 1).reshape(rows, -1))
                if bias is not None:
                    linear.bias.copy_(torch.from_numpy(np.array(bias[part], np.float32)))

    def store(self, tensors: dict[str, Weights], name: str) -> None:
        """Write copies of weight and bias into tensors of a file."""
        weights = []
        for linear in self._linears():
            rows = linear.weight.shape[0]
            taps = linear.weight.detach().reshape(rows, self.kernel_size, -1)
            weights.append(taps.permute(0, 2, 1))
        tensors[f"{name}.weight"] = _copy(torch.cat(weights))
        if self._linears()[0].bias is not None:
            biases = [linear.bias.detach() for linear in self._linears()]
            tensors[f"{name}.bias"] = _copy(torch.cat(biases))

    def _linears(self) -> list[nn.Linear]:
        return [conv.linear for conv in self.convs if isinstance(conv, CausalConv1d)]


def _copy(tensor: Tensor) -> Weights:
    copied: Weights = tensor.float().cpu().contiguous().numpy().copy()
    return copied
