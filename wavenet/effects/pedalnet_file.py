"""Read the JSON files of PedalNetRT, an earlier WaveNet of guitar pedals, as a `NamModel`.

Its network is y = W_in x + b_in; per layer a = tanh(u) sigmoid(v) of the halves of conv(y), and
y = y + W_out a + b_out; the output is a linear layer of the a of all layers. A layer array computes
the same: the output layer becomes the head path of each layer. It has no b_in, so it computes
y' = y - b_in, and the bias of conv grows by the sum of its taps times b_in. Before the first sample
y is 0 there, so y' is -b_in (`past_inputs`, which a `.nam` file written from this model lacks).
Source: GuitarML/PedalNetRT, `export.py`.
"""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from wavenet.config import describe_error
from wavenet.effects.effect_shapes import EffectLayerShape, FeedForwardShape, LayerArrayShape
from wavenet.effects.nam_config import MAX_LAYERS, Dilation, KernelSize, NamConfig, check_shape
from wavenet.effects.nam_file import parse_effect_json, read_effect_bytes
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import Weights, check_weight_count, count_weights, join_weights
from wavenet.errors import EffectFileError

SAMPLE_RATE = 44_100.0  # of its recordings; the files do not say it, Hz


class PedalnetVariable(NamConfig):
    """One tensor, its numbers as texts."""

    layer_idx: int = Field(ge=-1, le=MAX_LAYERS)
    name: str = Field(max_length=32)
    data: list[str]


class PedalnetConfig(NamConfig):
    """A whole file."""

    activation: Literal["gated"]
    input_channels: Literal[1] = 1
    output_channels: Literal[1] = 1
    residual_channels: int = Field(ge=1, le=512)
    filter_width: KernelSize
    dilations: list[Dilation] = Field(min_length=1, max_length=MAX_LAYERS)
    variables: list[PedalnetVariable] = Field(max_length=4 * (MAX_LAYERS + 2))


def is_pedalnet(document: dict[str, Any]) -> bool:
    """Return whether a JSON object has the keys of PedalNetRT, not those of `.nam`."""
    return "residual_channels" in document and "architecture" not in document


def read_pedalnet(path: Path) -> NamModel:
    """Read a file.

    Raises:
        EffectFileError: one sentence: what was expected, what was found.
    """
    return parse_pedalnet(read_effect_bytes(path), str(path))


def parse_pedalnet(content: bytes, source: str) -> NamModel:
    """Read the content of a file.

    Raises:
        EffectFileError: as `read_pedalnet`.
    """
    document = parse_effect_json(content, source)
    try:
        config = PedalnetConfig.model_validate(document)
        shape = _make_shape(config)
        check_shape(shape)
    except ValidationError as error:
        reason = describe_error(error, PedalnetConfig)
        raise EffectFileError(f"{source}: {reason}") from None
    except ValueError as error:
        raise EffectFileError(f"{source}: {error}") from None
    check_weight_count(shape, count_weights(shape), source)  # only its upper limit
    values = _read_variables(config, source)
    shape, tensors = _convert(config, shape, values)
    return NamModel(shape, join_weights(shape, tensors), sample_rate=SAMPLE_RATE)


def _make_shape(config: PedalnetConfig) -> FeedForwardShape:
    layers = tuple(
        EffectLayerShape(config.filter_width, d, gating="gated") for d in config.dilations
    )
    width = config.residual_channels
    array = LayerArrayShape(1, 1, width, width, layers, head_size=1, head_bias=True, head1x1_size=1)
    return FeedForwardShape((array,))


def _expected_sizes(config: PedalnetConfig) -> dict[tuple[int, str], tuple[int, ...]]:
    """Return the sizes of every tensor: (taps, in, out) of weights, (out,) of biases."""
    width, taps, layers = config.residual_channels, config.filter_width, len(config.dilations)
    sizes: dict[tuple[int, str], tuple[int, ...]] = {(-1, "W"): (1, 1, width), (-1, "b"): (width,)}
    for index in range(layers):
        sizes |= {
            (index, "W_conv"): (taps, width, 2 * width),
            (index, "b_conv"): (2 * width,),
            (index, "W_out"): (1, width, width),
            (index, "b_out"): (width,),
        }
    return sizes | {(layers, "W"): (1, width * layers, 1), (layers, "b"): (1,)}


def _read_variables(config: PedalnetConfig, source: str) -> dict[tuple[int, str], Weights]:
    expected, found = _expected_sizes(config), {}
    for variable in config.variables:
        key = (variable.layer_idx, variable.name)
        place = f"{source}: the tensor {variable.name[:20]!r} of layer {variable.layer_idx}"
        if key not in expected or key in found:
            raise EffectFileError(f"{place} is unknown or occurs twice; the file is damaged")
        if len(variable.data) != math.prod(expected[key]):
            raise EffectFileError(
                f"{place} has {len(variable.data):,} numbers; expected {math.prod(expected[key]):,}"
            )
        try:
            wide = np.array([float(text) for text in variable.data], np.float64)
        except ValueError:
            raise EffectFileError(f"{place}: expected numbers as texts") from None
        if not bool((np.abs(wide) <= np.finfo(np.float32).max).all()):
            raise EffectFileError(f"{place} has a number that is not finite, or too large")
        found[key] = wide.astype(np.float32).reshape(expected[key])
    for index, name in expected:
        if (index, name) not in found:
            raise EffectFileError(f"{source}: the tensor {name} of layer {index} is missing")
    return found


def _convert(
    config: PedalnetConfig, shape: FeedForwardShape, values: dict[tuple[int, str], Weights]
) -> tuple[FeedForwardShape, dict[str, Weights]]:
    """Return shape and tensors of the layer array; see the head of this file."""
    width, layers = config.residual_channels, len(config.dilations)
    shift = values[-1, "b"]
    output = values[layers, "W"].reshape(layers, width)
    tensors = {"arrays.0.rechannel.weight": values[-1, "W"].transpose(2, 1, 0)}
    for index in range(layers):
        name = f"arrays.0.layers.{index}"
        conv = values[index, "W_conv"].transpose(2, 1, 0)  # (out, in, taps)
        moved = conv.astype(np.float64).sum(axis=2) @ shift
        tensors |= {
            f"{name}.conv.weight": conv,
            f"{name}.conv.bias": (values[index, "b_conv"] + moved).astype(np.float32),
            f"{name}.mixin.weight": np.zeros((2 * width, 1, 1), np.float32),
            f"{name}.layer1x1.weight": values[index, "W_out"].transpose(2, 1, 0),
            f"{name}.layer1x1.bias": values[index, "b_out"],
            f"{name}.head1x1.weight": output[index].reshape(1, width, 1),
            f"{name}.head1x1.bias": np.zeros(1, np.float32),
        }
    tensors |= {
        "arrays.0.head.weight": np.ones((1, 1, 1), np.float32),
        "arrays.0.head.bias": values[layers, "b"],
        "head_scale": np.ones(1, np.float32),
    }
    past = FeedForwardShape(shape.arrays, past_inputs=tuple(float(-value) for value in shift))
    return past, tensors
