"""A model at a multiple of its rate: the same filter, with more space for harmonics.

A network hears time in samples. At a higher rate all its distances must be multiplied: the
dilations, and of a linear filter the distances between its taps. Below half the old rate the result
is the same; harmonics above it no longer fold back. Input and output: a `NamModel`. Called by
`effect_chain`.
"""

from dataclasses import replace

import numpy as np

from wavenet.effects.effect_shapes import (
    ConvNetShape,
    FeedForwardShape,
    ImpulseResponseShape,
    LayerArrayShape,
    RecurrentShape,
    SizeChoiceShape,
)
from wavenet.effects.nam_model import NamModel
from wavenet.errors import ConfigError


def select_size(model: NamModel, size: float | None) -> NamModel:
    """Return a model in which every container of sizes is replaced by the part of one size.

    Args:
        model: of any kind.
        size: from 0 to 1; None for the largest.
    """
    if isinstance(model.shape, SizeChoiceShape):
        part = select_size(model.parts[model.shape.select(size)], size)
        return replace(part, sample_rate=model.sample_rate or part.sample_rate)
    return replace(model, parts=tuple(select_size(part, size) for part in model.parts))


def oversample_model(model: NamModel, factor: int) -> NamModel:
    """Return a model for `factor` times the rate.

    Args:
        model: without recurrent parts.
        factor: 1, 2 or 4.
    Raises:
        ConfigError: a part has a distance that cannot be multiplied.
    """
    if factor == 1:
        return model
    parts = tuple(oversample_model(part, factor) for part in model.parts)
    rate = None if model.sample_rate is None else model.sample_rate * factor
    model = replace(model, parts=parts, sample_rate=rate)
    match model.shape:
        case FeedForwardShape() as shape:
            if shape.post_head and max(shape.post_head.kernel_sizes) > 1:
                raise _cannot_oversample("a post-stack head of several taps has no dilation")
            arrays = tuple(_dilate_array(array, factor) for array in shape.arrays)
            return replace(model, shape=replace(shape, arrays=arrays))
        case ConvNetShape() as shape:
            dilations = tuple(factor * dilation for dilation in shape.dilations)
            return replace(model, shape=replace(shape, dilations=dilations))
        case ImpulseResponseShape():
            return _spread_taps(model, factor)
        case RecurrentShape():
            raise _cannot_oversample("an LSTM remembers the sample before, not a time")
        case _:
            return model


def _dilate_array(array: LayerArrayShape, factor: int) -> LayerArrayShape:
    layers = tuple(replace(layer, dilation=factor * layer.dilation) for layer in array.layers)
    return replace(array, layers=layers, head_dilation=factor * array.head_dilation)


def _spread_taps(model: NamModel, factor: int) -> NamModel:
    """Return a linear filter with zeros between its taps."""
    shape = model.shape
    assert isinstance(shape, ImpulseResponseShape)
    taps = 1 + factor * (shape.taps - 1)
    weights = np.zeros(taps + int(shape.has_bias), np.float32)
    weights[:taps:factor] = model.weights[: shape.taps]
    if shape.has_bias:
        weights[-1] = model.weights[-1]
    return replace(model, shape=replace(shape, taps=taps), weights=weights)


def _cannot_oversample(reason: str) -> ConfigError:
    return ConfigError(f"this model cannot be oversampled: {reason}; use it without oversampling")
