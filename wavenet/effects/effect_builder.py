"""Make the torch module of a model of a file, and the model of a module.

Input of `build_effect`: a `NamModel`. Output: an `Effect` with its weights, in evaluation mode.
`export_effect` is the inverse, for modules that were trained here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from wavenet.effects.convolution_effects import ConvolutionEffect, LinearFilter
from wavenet.effects.effect import Effect
from wavenet.effects.effect_containers import EffectSeries, SizeChoice
from wavenet.effects.effect_shapes import (
    ConvNetShape,
    FeedForwardShape,
    ImpulseResponseShape,
    RecurrentShape,
    SizeChoiceShape,
)
from wavenet.effects.feedforward_wavenet import FeedForwardWaveNet
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import join_weights
from wavenet.effects.recurrent_effect import RecurrentEffect


def build_effect(model: NamModel, size: float | None = None) -> Effect:
    """Make the module of a model.

    Args:
        model: as `nam_file` reads it.
        size: of a container of sizes, from 0 to 1; None for the largest.
    """
    effect = make_effect(model, [build_effect(part, size) for part in model.parts], size)
    effect.load_tensors(model.tensors())
    return effect.eval()


def make_effect(model: NamModel, parts: list[Effect], size: float | None = None) -> Effect:
    """Make the module of a model with random weights, around the modules of its parts."""
    match model.shape:
        case FeedForwardShape() as shape:
            return FeedForwardWaveNet(shape, parts[0] if parts else None)
        case RecurrentShape() as shape:
            return RecurrentEffect(shape, model.warm_up)
        case ConvNetShape() as shape:
            return ConvolutionEffect(shape)
        case ImpulseResponseShape() as shape:
            return LinearFilter(shape)
        case SizeChoiceShape() as shape:
            return SizeChoice(shape, parts, size)
        case _:
            return EffectSeries(parts)


def export_effect(
    effect: FeedForwardWaveNet | RecurrentEffect | ConvolutionEffect | LinearFilter,
    sample_rate: float,
    metadata: Mapping[str, Any] | None = None,
    condition: NamModel | None = None,
) -> NamModel:
    """Return the model of a module, to be written by `nam_file`.

    Args:
        effect: any module of this package but a container.
        sample_rate: Hz.
        metadata: of the file.
        condition: the model of the module that computes the condition of a WaveNet, if any.
    """
    weights = join_weights(effect.shape, effect.tensors())
    model = NamModel(effect.shape, weights, sample_rate=sample_rate, metadata=metadata)
    return model if condition is None else replace(model, parts=(condition,))
