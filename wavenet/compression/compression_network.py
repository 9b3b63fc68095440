"""The network of the compressor: a small WaveNet that predicts the distribution of a sample.

Input: the features of `coding_features` for whole streams, (B, features, T). Output: the parameters
of a mixture of logistic distributions per sample, (B, 3 K, T): weights, centres and scales of K
components, relative to the prediction and the error of the linear predictors. This module defines
the network for training, in torch; `network_step` computes one sample of it, exactly.

The gate has a rational function in the place of tanh, because tanh of a library differs in the last
bit between processors.

Source: van den Oord et al. 2016, WaveNet, section 2; Salimans et al. 2017, PixelCNN++, section 2.1
(discretised logistic mixture).
"""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from wavenet.compression.coding_features import N_FEATURES
from wavenet.config import StrictConfig

WIDTH = 8  # channels are a multiple of it, because the compiled network computes 8 outputs together
PARAMETERS = 3  # of a component: weight, centre, scale


class CompressionNetworkConfig(StrictConfig):
    """The shape of a compression network.

    Attributes:
        architecture: the mark of such a config.
        channels: of the residual connection, the gate and the skip connection; a multiple of 8.
        dilations: of the layers, in samples; each has two taps.
        components: logistic distributions in the mixture.
        features: of a sample; see `coding_features`.
    """

    architecture: Literal["compressor"] = "compressor"
    channels: int = Field(default=32, ge=WIDTH, le=256, multiple_of=WIDTH)
    dilations: tuple[int, ...] = Field(
        default=(1, 2, 4, 8, 16, 32, 64, 128), min_length=1, max_length=32
    )
    components: Literal[8] = 8
    features: Literal[N_FEATURES] = N_FEATURES  # type: ignore[valid-type]

    @property
    def receptive_field(self) -> int:
        """Samples whose features a prediction depends on."""
        return 1 + sum(self.dilations)


def rational_tanh(x: Tensor) -> Tensor:
    """Return x (27 + x^2) / (27 + 9 x^2), limited to [-3, 3], where it reaches -1 and 1."""
    x = x.clamp(-3.0, 3.0)
    square = x * x
    return x * (27.0 + square) / (27.0 + 9.0 * square)


class CompressionNetwork(nn.Module):
    """Gated dilated causal convolutions over features of samples."""

    def __init__(self, config: CompressionNetworkConfig) -> None:
        super().__init__()
        self.config = config
        n = config.channels
        self.input = nn.Conv1d(config.features, n, 1)
        self.gates = nn.ModuleList(nn.Conv1d(n, 2 * n, 2, dilation=d) for d in config.dilations)
        self.outputs = nn.ModuleList(nn.Conv1d(n, 2 * n, 1) for _ in config.dilations)
        self.hidden = nn.Conv1d(n, n, 1)
        self.params = nn.Conv1d(n, PARAMETERS * config.components, 1)
        with torch.no_grad():  # begin near one distribution of the scale of the recent errors
            self.params.weight.mul_(0.1)
            spread = torch.linspace(-2.0, 1.0, config.components)
            zeros = torch.zeros(config.components)
            assert self.params.bias is not None
            self.params.bias.copy_(torch.cat([zeros, zeros, spread]))

    def forward(self, features: Tensor) -> Tensor:
        """Compute the parameters of the mixtures.

        Args:
            features: (B, features, T), of the samples from the beginning of the streams.
        Returns:
            (B, 3 K, T): weights (logarithms to base 2, up to a constant), centres in units of the
            scale, logarithms to base 2 of the scales in that unit.
        """
        x = self.input(features)
        skip = torch.zeros_like(x)
        for gate, output, dilation in zip(
            self.gates, self.outputs, self.config.dilations, strict=True
        ):
            a, b = gate(functional.pad(x, (dilation, 0))).chunk(2, dim=1)
            z = rational_tanh(a) * (0.5 + 0.5 * rational_tanh(b))
            residual, more = output(z).chunk(2, dim=1)
            x = x + residual
            skip = skip + more
        params: Tensor = self.params(functional.relu(self.hidden(functional.relu(skip))))
        return params


def mixture_bits(params: Tensor, errors: Tensor, scales: Tensor) -> Tensor:
    """Compute -log2 of the probability of samples.

    Args:
        params: (B, 3 K, T), of `CompressionNetwork`.
        errors: (B, T), sample minus centre, divided by the scale.
        scales: (B, T), in quantisation steps.
    Returns:
        (B, T).
    """
    weights, centres, log_scales = params.chunk(PARAMETERS, dim=1)
    log_weights = functional.log_softmax(weights * math.log(2.0), dim=1)
    inverse = torch.exp2(-log_scales.clamp(-10.0, 10.0))
    step = (1.0 / scales)[:, None]
    middle = (errors[:, None] - centres) * inverse
    half = 0.5 * step * inverse
    # log(logistic(m + h) - logistic(m - h))
    log_p = (
        functional.logsigmoid(middle + half)
        + functional.logsigmoid(half - middle)
        + torch.log(-torch.expm1(-2.0 * half))
    )
    nats: Tensor = -torch.logsumexp(log_weights + log_p, dim=1)
    return nats / math.log(2.0)
