"""Conditions of an r9y9 model: speakers, frames, and the network that upsamples frames.

Input: a `WeightReader` and hyperparameters. Output: conditions in the layout of this project, and a
function that upsamples frames. Called by `r9y9`.

In the original, the conditions enter each layer through one linear map. Here they pass a network
with two hidden layers and SiLU. That network can compute the identity exactly, since silu(x) -
silu(-x) = x: each hidden layer has one row for x and one for -x, and the projection [W, -W] after
them computes W x.

The original upsamples frames with filters, not by linear interpolation as this project does. The
imported model therefore needs one frame per sample (condition_hop = 1), and `find_upsampler`
returns the function that computes these frames.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.config import make_config
from wavenet.errors import CheckpointError, ConditionError
from wavenet.importing.r9y9_hparams import R9y9Hparams
from wavenet.importing.weight_reader import WeightReader
from wavenet.model.conditions import FramesCondition, LabelCondition, VectorCondition

SPEAKER, FRAMES = "speaker", "mel"
MAX_VALUES = 1 << 27  # upsampled numbers: 0.5 GB, or 80 columns at 22,050 Hz for 76 s
LAYER_NAMES = {SPEAKER: "conv1x1g", FRAMES: "conv1x1c"}


@dataclass(frozen=True)
class R9y9Conditions:
    """The conditions of a model; a width is 0 if the condition does not exist.

    Attributes:
        speaker_width: size of a speaker vector.
        speakers: rows of the speaker table; 0 if the caller passes the vector itself.
        frame_width: columns of a frame.
        has_upsampler: whether the model has a network that upsamples frames.
        interpolation: of that network, a mode of `F.interpolate`.
    """

    speaker_width: int
    speakers: int
    frame_width: int
    has_upsampler: bool
    interpolation: str = "nearest"

    @property
    def config_fields(self) -> dict[str, Any]:
        """Return the fields of the ModelConfig that describe the conditions."""
        conditions: list[object] = []
        if self.speakers:
            values = tuple(map(str, range(self.speakers)))
            table = {"name": SPEAKER, "values": values, "channels": self.speaker_width}
            conditions.append(make_config(LabelCondition, "embed_speakers", **table))
        elif self.speaker_width:
            vector = {"name": SPEAKER, "size": self.speaker_width}
            conditions.append(make_config(VectorCondition, "conv1x1g", **vector))
        if self.frame_width:
            width = self.frame_width
            frames = {"name": FRAMES, "columns": width, "context": 0, "channels": width}
            conditions.append(make_config(FramesCondition, "conv1x1c", **frames))
        if not conditions:
            return {}
        hidden = 2 * (self.speaker_width + self.frame_width)
        fields = {"conditions": tuple(conditions), "condition_channels": hidden}
        return fields | {"condition_hop": 1} if self.frame_width else fields

    @property
    def notes(self) -> tuple[str, ...]:
        """Return sentences for the card."""
        notes = []
        if self.speakers:
            notes.append(
                f"Speakers are the labels 0 to {self.speakers - 1}, in the order of the original."
            )
        if self.frame_width:
            upsampling = "computed by its upsampling network with `wavenet import --frames`"
            notes.append(
                f"The model needs frames x {self.frame_width}, one per sample"
                + (f", {upsampling}." if self.has_upsampler else ".")
                + " Use the features and the normalisation of its training."
            )
        return tuple(notes)

    def convert(
        self, weights: WeightReader, network: dict[str, Tensor], gate: int
    ) -> dict[str, Tensor]:
        """Convert the condition layers; add their biases to those of the convolutions.

        Args:
            weights: of the original.
            network: the converted tensors so far; the biases of the convolutions are read.
            gate: channels of each half of the gate.
        Returns:
            The tensors of the condition network, and the new biases of the convolutions.
        """
        widths = {SPEAKER: self.speaker_width, FRAMES: self.frame_width}
        if not any(widths.values()):
            return {}
        tensors: dict[str, Tensor] = {}
        maps = []
        layers = sum(name.endswith("conv.linear.bias") for name in network)
        for n in range(layers):
            bias = network[f"blocks.{n}.conv.linear.bias"]
            columns = []
            for condition, width in widths.items():
                if width:
                    layer = f"conv_layers.{n}.{LAYER_NAMES[condition]}"
                    columns.append(weights.pop_weight(layer, 2 * gate, width, 1)[:, :, 0])
                    bias = bias + weights.pop_bias(layer, 2 * gate)
            tensors[f"blocks.{n}.conv.linear.bias"] = bias
            maps.append(torch.cat(columns, dim=1))
        if self.speakers:
            table = weights.pop("embed_speakers.weight", self.speakers, self.speaker_width)
            tensors[f"condition.embeddings.{SPEAKER}.weight"] = table
        if self.frame_width:
            tensors[f"condition.windows.{FRAMES}.weight"] = torch.eye(self.frame_width)
            tensors[f"condition.windows.{FRAMES}.bias"] = torch.zeros(self.frame_width)
        return tensors | self._condition_network(torch.cat(maps))

    def _condition_network(self, projection: Tensor) -> dict[str, Tensor]:
        """Build the two hidden layers around a linear map (layers * 2G, features)."""
        features = self.speaker_width + self.frame_width
        one = torch.eye(features, dtype=projection.dtype)
        # A vector has an extra input, 1 if the vector was passed; its weights are zeros.
        ignored = one.new_zeros(features, int(self.speaker_width > 0 and not self.speakers))
        split = self.speaker_width
        inputs = torch.cat([one[:, :split], ignored, one[:, split:]], dim=1)
        return {
            "condition.network.0.weight": torch.cat([inputs, -inputs]),
            "condition.network.0.bias": one.new_zeros(2 * features),
            "condition.network.2.weight": torch.cat(
                [torch.cat([one, -one], dim=1), torch.cat([-one, one], dim=1)]
            ),
            "condition.network.2.bias": one.new_zeros(2 * features),
            "condition.project.weight": torch.cat([projection, -projection], dim=1),
            "condition.project.bias": one.new_zeros(projection.shape[0]),
        }


def find_conditions(weights: WeightReader, hparams: R9y9Hparams) -> R9y9Conditions:
    """Find the conditions in a file, and check that the hyperparameters agree.

    Raises:
        CheckpointError: they do not agree.
        ConfigError: a width is out of range.
    """
    widths = {}
    for condition, expected in ((SPEAKER, hparams.gin_channels), (FRAMES, hparams.cin_channels)):
        layer = f"conv_layers.0.{LAYER_NAMES[condition]}"
        exists = any(name.startswith(f"{layer}.") for name in weights.names)
        widths[condition] = weights.shape(f"{layer}.weight", 3)[1] if exists else 0
        if widths[condition] != max(expected, 0):
            key = "gin_channels" if condition == SPEAKER else "cin_channels"
            raise CheckpointError(
                f"{weights.source} has {widths[condition]} channels in {layer}, but the hparams "
                f"have {key} = {expected}; use the hparams of this model"
            )
    table = "embed_speakers.weight"
    has_table = widths[SPEAKER] and weights.has(table)
    speakers = weights.shape(table, 2)[0] if has_table else 0
    has_upsampler = any(
        name.startswith(("upsample_net.", "upsample_conv.")) for name in weights.names
    )
    return R9y9Conditions(
        widths[SPEAKER], speakers, widths[FRAMES], has_upsampler, hparams.interpolation
    )


def find_upsampler(
    weights: WeightReader, conditions: R9y9Conditions
) -> Callable[[Tensor], Tensor] | None:
    """Return a function that upsamples frames (F, columns) to (T, columns), one per sample.

    Returns:
        None if the original has no upsampling network.
    Raises:
        CheckpointError: the network is of an unknown kind.
    """
    if any(name.startswith("upsample_net.") for name in weights.names):
        layers = _layers_of_last_version(weights, conditions)
    elif any(name.startswith("upsample_conv.") for name in weights.names):
        if conditions.interpolation != "nearest":
            raise CheckpointError(
                f"{weights.source} has the upsampling network of version 0.1, but the hparams "
                f"have upsample_params.mode = {conditions.interpolation!r}; use the hparams of "
                "this model"
            )
        layers = _layers_of_0_1(weights)
    else:
        return None

    def upsample(frames: Tensor) -> Tensor:
        """Upsample frames (F, columns) to (T, columns).

        Raises:
            ConditionError: the upsampled frames would be too large.
        """
        factor = math.prod(layer.factor for layer in layers)
        if frames.numel() * factor > MAX_VALUES:
            raise ConditionError(
                f"{frames.shape[0]} frames x {frames.shape[1]}, upsampled by {factor}, exceed the "
                f"limit of {MAX_VALUES:,} numbers; cut the recording"
            )
        x = frames.to(torch.float32).T[None]  # (1, C, F)
        for layer in layers:
            x = layer.run(x)
        return x[0].T.contiguous()

    return upsample


@dataclass(frozen=True)
class UpsampleLayer:
    """One layer of an upsampling network: (1, C, F) to (1, C, F * factor)."""

    factor: int
    run: Callable[[Tensor], Tensor]


def _layers_of_last_version(
    weights: WeightReader, conditions: R9y9Conditions
) -> list[UpsampleLayer]:
    """Build the input convolution; per factor, an interpolation and a smoothing."""
    columns = conditions.frame_width
    width = weights.shape("upsample_net.conv_in.weight", 3)[2]
    if width % 2 == 0:
        raise CheckpointError(
            f"{weights.source}: upsample_net.conv_in has {width} taps, expected an odd number"
        )
    kernel = weights.pop("upsample_net.conv_in.weight", columns, columns, width).float()

    def convolve(x: Tensor) -> Tensor:
        # The first and the last frame are repeated at the borders.
        return F.conv1d(F.pad(x, (width // 2, width // 2), mode="replicate"), kernel)

    prefix = "upsample_net.upsample.up_layers"
    found = sorted({name.split(".")[3] for name in weights.names if name.startswith(f"{prefix}.")})
    expected = [str(2 * n + 1) for n in range(len(found))]
    if not found or set(found) != set(expected):
        raise CheckpointError(
            f"{weights.source}: {prefix} has parts {', '.join(found)[:60] or 'none'}, expected 1, "
            "3, 5, ..; a network with an activation between them cannot be imported"
        )
    layers = [UpsampleLayer(1, convolve)]
    for index in expected:
        high, wide = weights.shape(f"{prefix}.{index}.weight", 4)[2:]
        if high % 2 == 0 or wide % 2 == 0 or wide < 3:
            raise CheckpointError(
                f"{weights.source}: {prefix}.{index} is {high} x {wide}, expected odd sizes"
            )
        smoothing = weights.pop_weight(f"{prefix}.{index}", 1, 1, high, wide)
        layers.append(_interpolate_and_smooth(smoothing.float(), conditions.interpolation))
    return layers


def _interpolate_and_smooth(kernel: Tensor, mode: str) -> UpsampleLayer:
    high, wide = kernel.shape[2:]
    scale = wide // 2

    def run(x: Tensor) -> Tensor:
        stretched = F.interpolate(x[:, None], scale_factor=(1, scale), mode=mode)
        return F.conv2d(stretched, kernel, padding=(high // 2, scale))[:, 0]

    return UpsampleLayer(scale, run)


def _layers_of_0_1(weights: WeightReader) -> list[UpsampleLayer]:
    """Build transposed convolutions over time, each with a bias and a ReLU."""
    layers: list[UpsampleLayer] = []
    while any(n.startswith(f"upsample_conv.{2 * len(layers)}.") for n in weights.names):
        name = f"upsample_conv.{2 * len(layers)}"
        high, scale = weights.shape(f"{name}.weight", 4)[2:]
        if high % 2 == 0:
            raise CheckpointError(
                f"{weights.source}: {name} spans {high} columns, expected an odd number"
            )
        kernel = weights.pop_weight(name, 1, 1, high, scale)
        layers.append(_transposed_convolution(kernel.float(), weights.pop_bias(name, 1).float()))
    return layers


def _transposed_convolution(kernel: Tensor, bias: Tensor) -> UpsampleLayer:
    high, scale = kernel.shape[2:]

    def run(x: Tensor) -> Tensor:
        wide = F.conv_transpose2d(
            x[:, None], kernel, bias, stride=(1, scale), padding=(high // 2, 0)
        )
        return F.relu(wide)[:, 0]

    return UpsampleLayer(scale, run)
