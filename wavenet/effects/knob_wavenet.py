"""A feed-forward WaveNet with knobs: one model of an amplifier at all its settings.

A small network turns the knob values v into constant channels k(v), which every layer reads beside
the waveform: z = conv(y) + M [x; k(v)]. For fixed values M k(v) is a constant, which can be added
to the bias of conv: `fold_knobs` returns an ordinary WaveNet, which any program can run. Between
the trained values the model interpolates. Used by training; `.nam` files have no knobs.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from wavenet.effects.effect import EffectState
from wavenet.effects.effect_shapes import FILM_SLOTS, FeedForwardShape
from wavenet.effects.feedforward_wavenet import FeedForwardWaveNet
from wavenet.effects.nam_weights import Weights, weight_specs
from wavenet.errors import ConfigError

# With one of these the constant would no longer be a constant in front of the activation.
_UNFOLDABLE = ("conv_post_film", "input_mixin_pre_film", "input_mixin_post_film")


def with_knob_channels(shape: FeedForwardShape, channels: int) -> FeedForwardShape:
    """Return a shape whose condition has constant channels beside those that it has."""
    arrays = tuple(replace(a, condition_size=a.condition_size + channels) for a in shape.arrays)
    return replace(shape, arrays=arrays, knob_channels=shape.knob_channels + channels)


class KnobWaveNet(nn.Module):
    """A WaveNet and the network of its knobs.

    Args:
        shape: of the WaveNet without knobs.
        knobs: their names; values from 0 to 1.
        knob_channels: outputs of the network of the knobs.
        hidden: width of that network.
    """

    def __init__(
        self,
        shape: FeedForwardShape,
        knobs: Sequence[str],
        knob_channels: int = 4,
        hidden: int = 16,
    ):
        super().__init__()
        self.knobs = tuple(knobs)
        self.features = nn.Sequential(
            nn.Linear(len(self.knobs), hidden), nn.Tanh(), nn.Linear(hidden, knob_channels)
        )
        self.network = FeedForwardWaveNet(with_knob_channels(shape, knob_channels))

    def forward(self, waveform: Tensor, values: Tensor) -> Tensor:
        """Filter whole clips.

        Args:
            waveform: (B, in_channels, T).
            values: (B, knobs), one setting per clip.
        Returns:
            (B, out_channels, T).
        """
        return self.process(self.initial_state(values), waveform, values)[0]

    def valid_outputs(self, waveform: Tensor, values: Tensor) -> Tensor:
        """Return the outputs whose whole receptive field is in the waveform.

        Args:
            waveform, values: as in `forward`.
        Returns:
            (B, out_channels, T - receptive_field + 1).
        """
        outputs, _ = self.process(self.network.zero_state(len(waveform)), waveform, values)
        assert self.network.receptive_field is not None
        return outputs[:, :, self.network.receptive_field - 1 :]

    def process(
        self, state: EffectState, block: Tensor, values: Tensor
    ) -> tuple[Tensor, EffectState]:
        """Compute the next samples, as `Effect.process`; values may differ from block to block."""
        return self.network.process_with_knobs(state, block, self.features(values))

    def initial_state(self, values: Tensor) -> EffectState:
        """Return the state that silence leaves at these settings."""
        silence = values.new_zeros(len(values), self.network.in_channels, self.network.warm_up)
        return self.process(self.network.zero_state(len(values)), silence, values)[1]


def fold_knobs(model: KnobWaveNet, values: Mapping[str, float]) -> FeedForwardWaveNet:
    """Return the WaveNet at one setting of the knobs; its output is the same up to rounding.

    Args:
        model: with knobs.
        values: of every knob, from 0 to 1.
    Raises:
        ConfigError: a knob is missing, unknown or out of range, or a layer cannot be folded.
    """
    setting = _check_values(model.knobs, values).to(next(model.parameters()))
    shape = model.network.shape
    _check_foldable(shape)
    with torch.no_grad():
        constants = model.features(setting)[0].float().cpu().numpy()
    count = shape.knob_channels
    arrays = tuple(replace(a, condition_size=a.condition_size - count) for a in shape.arrays)
    folded_shape = replace(shape, arrays=arrays, knob_channels=0)
    tensors = model.network.tensors()
    for index, array in enumerate(shape.arrays):
        for number in range(len(array.layers)):
            name = f"arrays.{index}.layers.{number}"
            _fold(tensors, f"{name}.mixin", f"{name}.conv.bias", constants)
            for slot, film in zip(FILM_SLOTS, array.films, strict=True):
                if film is not None:
                    _fold(tensors, f"{name}.{slot}", f"{name}.{slot}.bias", constants)
    folded = FeedForwardWaveNet(folded_shape, model.network.condition)
    folded.load_tensors({spec.name: tensors[spec.name] for spec in weight_specs(folded_shape)})
    return folded.eval()


def _fold(tensors: dict[str, Weights], name: str, bias: str, constants: Weights) -> None:
    """Move the columns of the constants from a 1x1 convolution into a bias."""
    weight = tensors[f"{name}.weight"]
    inputs = weight.shape[1] - len(constants)
    added = weight[:, inputs:, 0].astype(np.float64) @ constants.astype(np.float64)
    tensors[bias] = (tensors[bias] + added).astype(np.float32)
    tensors[f"{name}.weight"] = weight[:, :inputs]


def _check_values(knobs: Sequence[str], values: Mapping[str, float]) -> Tensor:
    if set(values) != set(knobs):
        raise ConfigError(
            f"expected a value of each knob of the model ({', '.join(knobs)}), found "
            f"{', '.join(values) or 'none'}"
        )
    for name, value in values.items():
        if not (math.isfinite(value) and 0 <= value <= 1):
            raise ConfigError(f"the knob {name}: expected a number from 0 to 1, found {value}")
    return torch.tensor([[float(values[name]) for name in knobs]])


def _check_foldable(shape: FeedForwardShape) -> None:
    for array in shape.arrays:
        films = dict(zip(FILM_SLOTS, array.films, strict=True))
        found = [slot for slot in _UNFOLDABLE if films[slot]]
        groups = [array.groups_input_mixin, *(film.groups for film in array.films if film)]
        if found or max(groups) > 1:
            name = found[0] if found else "a condition in groups"
            raise ConfigError(f"a model with {name} cannot be folded; train it without")
