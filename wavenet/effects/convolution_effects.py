"""Effects without gates: a stack of convolutions (ConvNet), and a linear filter (Linear).

    ConvNet  per block: x = act(norm(conv(x))), a convolution of two taps; then y = V x + d
    Linear   y_t = sum_k h_k x_(t-k) + d

A batch normalisation uses the statistics of its file: it is a scale and a shift per channel.
Source: NeuralAmpModelerCore `convnet.cpp`, `linear.cpp`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wavenet.effects.activations import apply_activation
from wavenet.effects.effect import Effect, EffectState, past_tensor
from wavenet.effects.effect_shapes import CONV_NET_KERNEL, ConvNetShape, ImpulseResponseShape
from wavenet.effects.grouped_convolution import GroupedConvolution
from wavenet.effects.nam_weights import Weights

NORM_PARTS = ("mean", "variance", "weight", "bias", "epsilon")


class FrozenNorm(nn.Module):
    """A batch normalisation with fixed statistics: (x - mean) / sqrt(variance + epsilon) w + b."""

    def __init__(self, channels: int):
        super().__init__()
        for part in NORM_PARTS:
            value = torch.ones if part in ("variance", "weight") else torch.zeros
            self.register_buffer(part, value(1 if part == "epsilon" else channels))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise x: (B, T, channels)."""
        mean, variance, weight, bias, epsilon = (self.get_buffer(part) for part in NORM_PARTS)
        scale = weight / torch.sqrt(variance + epsilon)
        return x * scale + (bias - mean * scale)


class ConvolutionEffect(Effect):
    """A stack of dilated convolutions of two taps."""

    def __init__(self, shape: ConvNetShape):
        field = 1 + sum(shape.dilations)
        super().__init__(shape.in_channels, shape.out_channels, field, field)
        self.shape = shape
        widths = (shape.in_channels, *[shape.channels] * len(shape.dilations))
        self.convs = nn.ModuleList(
            GroupedConvolution(
                *(widths[i], widths[i + 1], CONV_NET_KERNEL, dilation, shape.groups),
                bias=not shape.has_batch_norm,
            )
            for i, dilation in enumerate(shape.dilations)
        )
        norms = len(shape.dilations) if shape.has_batch_norm else 0
        self.norms = nn.ModuleList(FrozenNorm(shape.channels) for _ in range(norms))
        self.head = nn.Linear(shape.channels, shape.out_channels)

    def zero_state(self, batch: int = 1) -> EffectState:
        """See `Effect.zero_state`: the past of every convolution."""
        return tuple(conv.zero_past(batch) for conv in self._convolutions())

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        x, after = block.transpose(1, 2), []
        for index, conv in enumerate(self._convolutions()):
            x, kept = conv.advance(x, past_tensor(state, index))
            after.append(kept)
            if self.norms:
                x = self.norms[index](x)
            x = apply_activation(self.shape.activation, x)
        return self.head(x).transpose(1, 2), tuple(after)

    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """See `Effect.load_tensors`."""
        for index, conv in enumerate(self._convolutions()):
            conv.load(tensors, f"blocks.{index}.conv")
        for index, norm in enumerate(self.norms):
            for part in NORM_PARTS:
                value = torch.from_numpy(tensors[f"blocks.{index}.norm.{part}"].copy())
                norm.get_buffer(part).copy_(value)
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(tensors["head.weight"].copy()))
            self.head.bias.copy_(torch.from_numpy(tensors["head.bias"].copy()))

    def tensors(self) -> dict[str, Weights]:
        """See `Effect.tensors`."""
        tensors: dict[str, Weights] = {}
        for index, conv in enumerate(self._convolutions()):
            conv.store(tensors, f"blocks.{index}.conv")
        for index, norm in enumerate(self.norms):
            for part in NORM_PARTS:
                value = norm.get_buffer(part).float().cpu().numpy().copy()
                tensors[f"blocks.{index}.norm.{part}"] = value
        tensors["head.weight"] = self.head.weight.detach().float().cpu().numpy().copy()
        tensors["head.bias"] = self.head.bias.detach().float().cpu().numpy().copy()
        return tensors

    def _convolutions(self) -> list[GroupedConvolution]:
        return [conv for conv in self.convs if isinstance(conv, GroupedConvolution)]


class LinearFilter(Effect):
    """A finite impulse response, whose first number weights the newest sample."""

    def __init__(self, shape: ImpulseResponseShape):
        super().__init__(1, 1, shape.taps, shape.taps)
        self.shape = shape
        self.impulse_response = nn.Parameter(torch.zeros(shape.taps))
        self.bias = nn.Parameter(torch.zeros(1)) if shape.has_bias else None

    def zero_state(self, batch: int = 1) -> EffectState:
        """See `Effect.zero_state`: the samples before the block, (B, 1, taps - 1)."""
        return (self.impulse_response.new_zeros(batch, 1, self.shape.taps - 1),)

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        padded = torch.cat([past_tensor(state, 0), block], dim=2)
        out = F.conv1d(padded, self.impulse_response.flip(0)[None, None], self.bias)
        return out, (padded[:, :, block.shape[2] :],)

    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """See `Effect.load_tensors`."""
        with torch.no_grad():
            response = tensors["impulse_response"].copy()
            self.impulse_response.copy_(torch.from_numpy(response))
            if self.bias is not None:
                self.bias.copy_(torch.from_numpy(tensors["bias"].copy()))

    def tensors(self) -> dict[str, Weights]:
        """See `Effect.tensors`."""
        tensors = {"impulse_response": self.impulse_response.detach().float().cpu().numpy().copy()}
        if self.bias is not None:
            tensors["bias"] = self.bias.detach().float().cpu().numpy().copy()
        return tensors
