"""Write the config of a model in the keys of `.nam` files, so that the reference reads it.

An array that version 0.5 can describe is written with its keys, any other array with all keys of
version 0.7, also inactive ones: the reference reads some without a default. One shape has one text.
Input: a shape. Output: values of JSON. Called by `nam_file`.
"""

from collections.abc import Sequence
from typing import Any

from wavenet.effects.effect_shapes import (
    FILM_SLOTS,
    SIGMOID,
    ConvNetShape,
    EffectActivation,
    EffectShape,
    FeedForwardShape,
    FilmShape,
    ImpulseResponseShape,
    LayerArrayShape,
    RecurrentShape,
    SizeChoiceShape,
)

OLDEST_VERSION = "0.5.4"
NEW_VERSION = "0.7.0"


def required_version(shape: EffectShape, has_parts: bool) -> str:
    """Return the first version of the format that has all keys of a model.

    Args:
        has_parts: whether the model contains others.
    """
    if isinstance(shape, FeedForwardShape):
        is_new = has_parts or shape.post_head or not all(map(_is_old_array, shape.arrays))
        return NEW_VERSION if is_new else OLDEST_VERSION
    return NEW_VERSION if has_parts else OLDEST_VERSION


def write_nam_config(
    shape: EffectShape, parts: Sequence[dict[str, Any]], head_scale: float
) -> dict[str, Any]:
    """Return the value of `config`.

    Args:
        shape: of the model.
        parts: documents of the models inside.
        head_scale: the last weight of a WaveNet; unused by others.
    """
    match shape:
        case FeedForwardShape():
            return _write_wavenet(shape, parts, head_scale)
        case RecurrentShape():
            config: dict[str, Any] = {
                "input_size": shape.in_channels,
                "hidden_size": shape.hidden_size,
                "num_layers": shape.num_layers,
            }
            return config | _write_channels(shape)
        case ConvNetShape():
            config = {
                "channels": shape.channels,
                "dilations": list(shape.dilations),
                "batchnorm": shape.has_batch_norm,
                "activation": _write_activation(shape.activation),
            }
            groups = {} if shape.groups == 1 else {"groups": shape.groups}
            return config | groups | _write_channels(shape)
        case ImpulseResponseShape():
            config = {"receptive_field": shape.taps, "bias": shape.has_bias}
            hint = shape.implementation
            return config if hint is None else config | {"implementation": hint}
        case SizeChoiceShape():
            rows = zip(shape.max_values, parts, strict=True)
            return {"submodels": [{"max_value": v, "model": model} for v, model in rows]}
        case _:
            return {"weights_version": 2, "models": list(parts)}


def _write_channels(shape: RecurrentShape | ConvNetShape) -> dict[str, int]:
    if (shape.in_channels, shape.out_channels) == (1, 1):
        return {}
    return {"in_channels": shape.in_channels, "out_channels": shape.out_channels}


def _write_wavenet(
    shape: FeedForwardShape, parts: Sequence[dict[str, Any]], head_scale: float
) -> dict[str, Any]:
    config: dict[str, Any] = {"layers": [_write_array(array) for array in shape.arrays]}
    post = shape.post_head
    config["head"] = post and {
        "channels": post.channels,
        "out_channels": post.out_channels,
        "kernel_sizes": list(post.kernel_sizes),
        "activation": _write_activation(post.activation),
    }
    config["head_scale"] = head_scale
    if shape.in_channels != 1:
        config["in_channels"] = shape.in_channels
    if parts:
        config["condition_dsp"] = parts[0]
    return config


def _is_old_array(array: LayerArrayShape) -> bool:
    """Return whether the keys of version 0.5 can describe an array."""
    first = array.layers[0]
    layers = {(x.kernel_size, x.activation, x.gating, x.secondary) for x in array.layers}
    plain = LayerArrayShape(
        *(array.input_size, array.condition_size, array.channels, array.channels),
        *(array.layers, array.head_size),
        head_bias=array.head_bias,
    )
    is_gating_old = first.gating == "none" or (first.gating, first.secondary) == ("gated", SIGMOID)
    has_name = isinstance(_write_activation(first.activation), str)
    return array == plain and len(layers) == 1 and is_gating_old and has_name


def _write_array(array: LayerArrayShape) -> dict[str, Any]:
    sizes = {"input_size": array.input_size, "condition_size": array.condition_size}
    dilations = [layer.dilation for layer in array.layers]
    if _is_old_array(array):
        first = array.layers[0]
        return {
            **sizes,
            "head_size": array.head_size,
            "channels": array.channels,
            "kernel_size": first.kernel_size,
            "dilations": dilations,
            "activation": _write_activation(first.activation),
            "gated": first.gating == "gated",
            "head_bias": array.head_bias,
        }
    head = {
        "out_channels": array.head_size,
        "kernel_size": array.head_kernel_size,
        "bias": array.head_bias,
    }
    if array.head_dilation != 1:
        head["head_dilation"] = array.head_dilation
    return {
        **sizes,
        "head": head,
        "channels": array.channels,
        "kernel_sizes": [layer.kernel_size for layer in array.layers],
        "dilations": dilations,
        "activation": [_write_activation(layer.activation) for layer in array.layers],
        "bottleneck": array.bottleneck,
        "head1x1": {
            "active": array.head1x1_size is not None,
            "out_channels": array.head1x1_size or 1,
            "groups": array.head1x1_groups,
        },
        "layer1x1": {
            "active": array.layer1x1_groups is not None,
            "groups": array.layer1x1_groups or 1,
        },
        "groups_input": array.groups_input,
        "groups_input_mixin": array.groups_input_mixin,
        **{slot: _write_film(f) for slot, f in zip(FILM_SLOTS, array.films, strict=True)},
        "gating_mode": [layer.gating for layer in array.layers],
        "secondary_activation": [
            None if layer.gating == "none" else _write_activation(layer.secondary)
            for layer in array.layers
        ],
        "slimmable": _write_slimmable(array.allowed_channels),
    }


def _write_film(film: FilmShape | None) -> dict[str, Any]:
    used = film or FilmShape()
    return {"active": film is not None, "shift": used.has_shift, "groups": used.groups}


def _write_slimmable(allowed: tuple[int, ...]) -> dict[str, Any] | None:
    if not allowed:
        return None
    return {"method": "slice_channels_uniform", "kwargs": {"allowed_channels": list(allowed)}}


def _write_activation(activation: EffectActivation) -> str | dict[str, Any]:
    """Return the name of an activation without parameters, otherwise an object."""
    kind = activation.kind
    if kind == "PReLU" and len(activation.slopes) > 1:
        return {"type": kind, "negative_slopes": list(activation.slopes)}
    if kind in ("LeakyReLU", "PReLU"):
        return {"type": kind, "negative_slope": activation.slopes[0]}
    if kind == "LeakyHardtanh":
        return {
            "type": kind,
            "min_val": activation.low,
            "max_val": activation.high,
            "min_slope": activation.low_slope,
            "max_slope": activation.high_slope,
        }
    return kind
