"""What an r9y9 model is conditioned on: speakers, frames, and the network that stretches frames.

Their conditions enter each layer by one linear map, while ours pass a network of two hidden layers
with SiLU. The identity goes through it exactly, since silu(x) - silu(-x) = x: with a row for x and
one for -x in each hidden layer, the projection [W, -W] behind them gives W x.

Their frames are stretched to samples by filters, not on lines as ours; so the model takes one frame
a sample (condition_hop = 1), and `find_upsampler` gives the function that makes those.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.conditions import FramesCondition, LabelCondition, VectorCondition
from wavenet.errors import CheckpointError, ConditionError
from wavenet.importing.r9y9_hparams import Settings
from wavenet.importing.weight_reader import Weights
from wavenet.parsing import make

SPEAKER, FRAMES = "speaker", "mel"
MAX_VALUES = 1 << 27  # of stretched frames: 0.5 GB; 80 columns at 22,050 Hz for 76 s
ONE_BY_ONE = {SPEAKER: "conv1x1g", FRAMES: "conv1x1c"}


@dataclass(frozen=True)
class Conditions:
    """What there is; widths are 0 where there is none.

    Attributes:
        speaker: numbers that stand for a speaker, behind the table if there is one.
        speakers: rows of that table; 0 where the caller gives the vector.
        frame: columns of a frame.
        stretched: whether frames come slower than samples.
    """

    speaker: int
    speakers: int
    frame: int
    stretched: bool

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of the ModelConfig."""
        chosen: list[object] = []
        if self.speakers:
            values = tuple(map(str, range(self.speakers)))
            table = {"name": SPEAKER, "values": values, "channels": self.speaker}
            chosen.append(make(LabelCondition, "embed_speakers", **table))
        elif self.speaker:
            chosen.append(make(VectorCondition, "conv1x1g", name=SPEAKER, size=self.speaker))
        if self.frame:
            width = self.frame
            frames = {"name": FRAMES, "columns": width, "context": 0, "channels": width}
            chosen.append(make(FramesCondition, "conv1x1c", **frames))
        if not chosen:
            return {}
        hidden = 2 * (self.speaker + self.frame)
        fields = {"conditions": tuple(chosen), "condition_channels": hidden}
        return fields | {"condition_hop": 1} if self.frame else fields

    @property
    def facts(self) -> tuple[str, ...]:
        """Sentences for the card."""
        facts = []
        if self.speakers:
            facts.append(f"Speakers are the labels 0 to {self.speakers - 1}, in their order.")
        if self.frame:
            how = "after their upsampling network; `wavenet import --frames` runs it"
            facts.append(
                f"It takes frames x {self.frame} at the rate of samples"
                + (f", {how}." if self.stretched else ".")
                + " Features and their normalisation must be those that it was trained on."
            )
        return tuple(facts)

    def convert(self, weights: Weights, network: dict[str, Tensor], gate: int) -> dict[str, Tensor]:
        """Convert the maps of all layers; their biases are added to those of the convolutions.

        Args:
            weights: of the original.
            network: the tensors so far; the convolutions' biases are read.
            gate: width of each half.
        """
        parts = {SPEAKER: self.speaker, FRAMES: self.frame}
        if not any(parts.values()):
            return {}
        tensors: dict[str, Tensor] = {}
        maps = []
        layers = sum(name.endswith("conv.linear.bias") for name in network)
        for n in range(layers):
            bias = network[f"blocks.{n}.conv.linear.bias"]
            columns = []
            for part, width in parts.items():
                if width:
                    layer = f"conv_layers.{n}.{ONE_BY_ONE[part]}"
                    columns.append(weights.take_weight(layer, 2 * gate, width, 1)[:, :, 0])
                    bias = bias + weights.take_bias(layer, 2 * gate)
            tensors[f"blocks.{n}.conv.linear.bias"] = bias
            maps.append(torch.cat(columns, dim=1))
        if self.speakers:
            table = weights.take("embed_speakers.weight", self.speakers, self.speaker)
            tensors[f"condition.embeddings.{SPEAKER}.weight"] = table
        if self.frame:
            tensors[f"condition.windows.{FRAMES}.weight"] = torch.eye(self.frame)
            tensors[f"condition.windows.{FRAMES}.bias"] = torch.zeros(self.frame)
        return tensors | self._through(torch.cat(maps))

    def _through(self, project: Tensor) -> dict[str, Tensor]:
        """Lead (layers * 2G, features) through our two hidden layers."""
        features = self.speaker + self.frame
        one = torch.eye(features, dtype=project.dtype)
        # behind a vector stands a 1 that says it was given: it is not looked at
        unread = one.new_zeros(features, int(self.speaker > 0 and not self.speakers))
        chosen = torch.cat([one[:, : self.speaker], unread, one[:, self.speaker :]], dim=1)
        return {
            "condition.network.0.weight": torch.cat([chosen, -chosen]),
            "condition.network.0.bias": one.new_zeros(2 * features),
            "condition.network.2.weight": torch.cat(
                [torch.cat([one, -one], dim=1), torch.cat([-one, one], dim=1)]
            ),
            "condition.network.2.bias": one.new_zeros(2 * features),
            "condition.project.weight": torch.cat([project, -project], dim=1),
            "condition.project.bias": one.new_zeros(project.shape[0]),
        }


def find_conditions(weights: Weights, settings: Settings) -> Conditions:
    """See what the file has, and that the settings say the same.

    Raises:
        CheckpointError: they do not.
        ConfigError: a width out of range.
    """
    widths = {}
    for part, said in ((SPEAKER, settings.gin_channels), (FRAMES, settings.cin_channels)):
        layer = f"conv_layers.0.{ONE_BY_ONE[part]}"
        there = any(name.startswith(f"{layer}.") for name in weights.names)
        widths[part] = weights.shape(f"{layer}.weight", 3)[1] if there else 0
        if widths[part] != max(said, 0):
            key = "gin_channels" if part == SPEAKER else "cin_channels"
            raise CheckpointError(
                f"{weights.source} has {widths[part]} channels in {layer}, and the settings say "
                f"{key} = {said}; give the settings of this very model"
            )
    table = "embed_speakers.weight"
    named = widths[SPEAKER] and weights.has(table)
    speakers = weights.shape(table, 2)[0] if named else 0
    stretched = any(name.startswith(("upsample_net.", "upsample_conv.")) for name in weights.names)
    return Conditions(widths[SPEAKER], speakers, widths[FRAMES], stretched)


def find_upsampler(weights: Weights, conditions: Conditions) -> Callable[[Tensor], Tensor] | None:
    """Give the function that stretches frames (F, columns) to samples (T, columns).

    Raises:
        CheckpointError: a network of a kind that is not known here.
    """
    if any(name.startswith("upsample_net.") for name in weights.names):
        steps = _steps_since_2019(weights, conditions.frame)
    elif any(name.startswith("upsample_conv.") for name in weights.names):
        steps = _steps_of_0_1(weights)
    else:
        return None

    def upsample(frames: Tensor) -> Tensor:
        """Raise ConditionError where frames have another width or are too many."""
        factor = math.prod(step.factor for step in steps)
        if frames.numel() * factor > MAX_VALUES:
            raise ConditionError(
                f"{frames.shape[0]} frames x {frames.shape[1]} become {factor} times as many, more "
                f"than {MAX_VALUES:,} numbers; cut the recording"
            )
        x = frames.to(torch.float32).T[None]  # (1, C, F)
        for step in steps:
            x = step.run(x)
        return x[0].T.contiguous()

    return upsample


@dataclass(frozen=True)
class Step:
    """One layer of an upsampling network: (1, C, F) to (1, C, F * factor)."""

    factor: int
    run: Callable[[Tensor], Tensor]


def _steps_since_2019(weights: Weights, columns: int) -> list[Step]:
    """A convolution over time and columns, then per scale: every frame repeated, and smoothed."""
    width = weights.shape("upsample_net.conv_in.weight", 3)[2]
    if width % 2 == 0:
        raise CheckpointError(f"{weights.source}: upsample_net.conv_in has {width} taps, not odd")
    mix = weights.take("upsample_net.conv_in.weight", columns, columns, width).float()

    def enter(x: Tensor) -> Tensor:
        # frames before the first and behind the last are those two
        return F.conv1d(F.pad(x, (width // 2, width // 2), mode="replicate"), mix)

    layers = "upsample_net.upsample.up_layers"
    found = sorted({name.split(".")[3] for name in weights.names if name.startswith(f"{layers}.")})
    expected = [str(2 * n + 1) for n in range(len(found))]
    if not found or set(found) != set(expected):
        raise CheckpointError(
            f"{weights.source}: {layers} has parts {', '.join(found)[:60] or 'none'}, expected 1, "
            "3, 5, ..; with an activation between them it cannot be imported"
        )
    steps = [Step(1, enter)]
    for index in expected:
        high, wide = weights.shape(f"{layers}.{index}.weight", 4)[2:]
        if high % 2 == 0 or wide % 2 == 0 or wide < 3:
            raise CheckpointError(
                f"{weights.source}: {layers}.{index} is {high} x {wide}, expected odd"
            )
        kernel = weights.take_weight(f"{layers}.{index}", 1, 1, high, wide)
        steps.append(_smooth(kernel.float()))
    return steps


def _smooth(kernel: Tensor) -> Step:
    high, wide = kernel.shape[2:]
    scale = wide // 2

    def run(x: Tensor) -> Tensor:
        repeated = x.repeat_interleave(scale, dim=2)[:, None]
        return F.conv2d(repeated, kernel, padding=(high // 2, scale))[:, 0]

    return Step(scale, run)


def _steps_of_0_1(weights: Weights) -> list[Step]:
    """Transposed convolutions over time, each with a bias and a ReLU."""
    steps: list[Step] = []
    while any(n.startswith(f"upsample_conv.{2 * len(steps)}.") for n in weights.names):
        name = f"upsample_conv.{2 * len(steps)}"
        high, scale = weights.shape(f"{name}.weight", 4)[2:]
        if high % 2 == 0:
            raise CheckpointError(f"{weights.source}: {name} spans {high} columns, not odd")
        kernel = weights.take_weight(name, 1, 1, high, scale)
        steps.append(_spread(kernel.float(), weights.take_bias(name, 1).float()))
    return steps


def _spread(kernel: Tensor, bias: Tensor) -> Step:
    high, scale = kernel.shape[2:]

    def run(x: Tensor) -> Tensor:
        wide = F.conv_transpose2d(
            x[:, None], kernel, bias, stride=(1, scale), padding=(high // 2, 0)
        )
        return F.relu(wide)[:, 0]

    return Step(scale, run)
