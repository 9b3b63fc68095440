"""The order of the weights of a `.nam` file, as one list of named tensors.

`weight_specs` describes the list. Counting, reading and writing all use it, so they cannot differ.
Tensors are float32 numpy arrays; those of a convolution are (out, in / groups, taps) with the
oldest tap first, as PyTorch flattens them. Input: a shape of `effect_shapes`. Called by `nam_file`,
`pedalnet_file`, the torch modules and engines. Source: NeuralAmpModelerCore, `set_weights_`.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wavenet.effects.effect_shapes import (
    CONV_NET_KERNEL,
    FILM_SLOTS,
    ConvNetShape,
    EffectLayerShape,
    EffectShape,
    FeedForwardShape,
    ImpulseResponseShape,
    LayerArrayShape,
    RecurrentShape,
)
from wavenet.errors import EffectFileError

Weights = NDArray[np.float32]
MAX_WEIGHTS = 2_000_000  # of one model; the largest known models have less than a tenth


@dataclass(frozen=True)
class WeightSpec:
    """Name and sizes of one tensor."""

    name: str
    sizes: tuple[int, ...]

    @property
    def count(self) -> int:
        """Numbers in this tensor."""
        return math.prod(self.sizes)


def weight_specs(shape: EffectShape) -> Iterator[WeightSpec]:
    """Yield the tensors of a model in the order of the file; containers have none."""
    match shape:
        case FeedForwardShape():
            yield from _wavenet_specs(shape)
        case RecurrentShape():
            yield from _lstm_specs(shape)
        case ConvNetShape():
            yield from _conv_net_specs(shape)
        case ImpulseResponseShape():
            yield WeightSpec("impulse_response", (shape.taps,))
            if shape.has_bias:
                yield WeightSpec("bias", (1,))


def count_weights(shape: EffectShape) -> int:
    """Return the number of weights of a model, without those of its parts."""
    return sum(spec.count for spec in weight_specs(shape))


def check_weight_count(shape: EffectShape, found: int, source: str) -> None:
    """Raise unless the number of weights is that of the shape, and is not too large.

    Raises:
        EffectFileError: one sentence with both numbers.
    """
    expected = count_weights(shape)
    if expected > MAX_WEIGHTS:
        raise EffectFileError(
            f"{source}: the config describes {expected:,} weights; expected at most {MAX_WEIGHTS:,}"
        )
    if found != expected:
        difference = abs(found - expected)
        kind = "missing" if found < expected else "surplus"
        raise EffectFileError(
            f"{source}: the config needs {expected:,} weights, found {found:,}: {difference:,} "
            f"{kind}; the file is damaged, or was written by another version"
        )


def read_weight_list(shape: EffectShape, values: object, source: str) -> Weights:
    """Return the weights of a file as float32, after all checks.

    Args:
        shape: of the model.
        values: the value of the key `weights`.
        source: named in the errors.
    Raises:
        EffectFileError: it is not a list of finite numbers, or has the wrong length.
    """
    if not isinstance(values, list):
        raise EffectFileError(
            f"{source}: weights: expected a list of numbers, found {type(values).__name__}"
        )
    check_weight_count(shape, len(values), source)
    for index, value in enumerate(values):
        if type(value) not in (int, float):
            found = repr(value)[:60]
            raise EffectFileError(f"{source}: weight {index}: expected a number, found {found}")
    try:
        wide = np.array(values, np.float64)
    except OverflowError:
        wide = np.full(len(values), np.inf)
    largest = float(np.finfo(np.float32).max)
    bad = np.flatnonzero(~(np.abs(wide) <= largest))
    if bad.size:
        raise EffectFileError(
            f"{source}: weight {bad[0]} is not finite, or too large for 32 bits; expected numbers "
            f"up to {largest:.1e}"
        )
    return wide.astype(np.float32)


def split_weights(shape: EffectShape, weights: Weights) -> dict[str, Weights]:
    """Return the tensors of a model by name.

    Args:
        shape: of the model.
        weights: (count,), in the order of the file.
    """
    tensors, start = {}, 0
    for spec in weight_specs(shape):
        tensors[spec.name] = weights[start : start + spec.count].reshape(spec.sizes)
        start += spec.count
    return tensors


def join_weights(shape: EffectShape, tensors: Mapping[str, Weights]) -> Weights:
    """Return the tensors of a model as one list in the order of the file: (count,).

    Raises:
        ValueError: a tensor is missing or has other sizes.
    """
    parts = []
    for spec in weight_specs(shape):
        tensor = tensors.get(spec.name)
        if tensor is None or tensor.shape != spec.sizes:
            found = None if tensor is None else tensor.shape
            raise ValueError(f"the tensor {spec.name} has sizes {found}, expected {spec.sizes}")
        parts.append(np.asarray(tensor, np.float32).reshape(-1))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _conv(
    name: str, sizes: tuple[int, int], taps: int = 1, groups: int = 1, bias: bool = True
) -> Iterator[WeightSpec]:
    """Yield weight and bias of a convolution; sizes are (in, out)."""
    yield WeightSpec(f"{name}.weight", (sizes[1], sizes[0] // groups, taps))
    if bias:
        yield WeightSpec(f"{name}.bias", (sizes[1],))


def _wavenet_specs(shape: FeedForwardShape) -> Iterator[WeightSpec]:
    for index, array in enumerate(shape.arrays):
        name = f"arrays.{index}"
        yield from _conv(f"{name}.rechannel", (array.input_size, array.channels), bias=False)
        for number, layer in enumerate(array.layers):
            yield from _layer_specs(f"{name}.layers.{number}", array, layer)
        head = (array.accumulator_size, array.head_size)
        yield from _conv(f"{name}.head", head, array.head_kernel_size, bias=array.head_bias)
    if shape.post_head:
        widths: Sequence[int] = shape.post_head.widths(shape.arrays[-1].head_size)
        for index, kernel_size in enumerate(shape.post_head.kernel_sizes):
            yield from _conv(f"post_head.{index}", (widths[index], widths[index + 1]), kernel_size)
    yield WeightSpec("head_scale", (1,))


def _layer_specs(
    name: str, array: LayerArrayShape, layer: EffectLayerShape
) -> Iterator[WeightSpec]:
    gate, condition = array.gate_width(layer), array.condition_size
    yield from _conv(
        f"{name}.conv", (array.channels, gate), layer.kernel_size, groups=array.groups_input
    )
    yield from _conv(
        f"{name}.mixin", (condition, gate), groups=array.groups_input_mixin, bias=False
    )
    if array.layer1x1_groups is not None:
        sizes = (array.bottleneck, array.channels)
        yield from _conv(f"{name}.layer1x1", sizes, groups=array.layer1x1_groups)
    if array.head1x1_size is not None:
        sizes = (array.bottleneck, array.head1x1_size)
        yield from _conv(f"{name}.head1x1", sizes, groups=array.head1x1_groups)
    for slot, film, width in zip(FILM_SLOTS, array.films, array.film_widths(layer), strict=True):
        if film is not None:
            sizes = (condition, 2 * width if film.has_shift else width)
            yield from _conv(f"{name}.{slot}", sizes, groups=film.groups)


def _lstm_specs(shape: RecurrentShape) -> Iterator[WeightSpec]:
    hidden = shape.hidden_size
    for index in range(shape.num_layers):
        inputs = shape.in_channels if index == 0 else hidden
        yield WeightSpec(f"layers.{index}.weight", (4 * hidden, inputs + hidden))
        yield WeightSpec(f"layers.{index}.bias", (4 * hidden,))
        yield WeightSpec(f"layers.{index}.start_hidden", (hidden,))
        yield WeightSpec(f"layers.{index}.start_cell", (hidden,))
    yield WeightSpec("head.weight", (shape.out_channels, hidden))
    yield WeightSpec("head.bias", (shape.out_channels,))


def _conv_net_specs(shape: ConvNetShape) -> Iterator[WeightSpec]:
    for index in range(len(shape.dilations)):
        name = f"blocks.{index}"
        sizes = (shape.in_channels if index == 0 else shape.channels, shape.channels)
        groups, bias = shape.groups, not shape.has_batch_norm
        yield from _conv(f"{name}.conv", sizes, CONV_NET_KERNEL, groups=groups, bias=bias)
        if shape.has_batch_norm:
            for part in ("mean", "variance", "weight", "bias"):
                yield WeightSpec(f"{name}.norm.{part}", (shape.channels,))
            yield WeightSpec(f"{name}.norm.epsilon", (1,))
    yield WeightSpec("head.weight", (shape.out_channels, shape.channels))
    yield WeightSpec("head.bias", (shape.out_channels,))
