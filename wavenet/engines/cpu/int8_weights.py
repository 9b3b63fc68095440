"""Round a model's weights to int8, and pack them in the layout that the int8 loop reads.

Input: a model. Output: the model with exactly the rounded weights, or `Int8Weights`. A weight is an
integer of -127 to 127 times a scale. Each output has one scale; of the skip product, one for all
layers, so that their sums can be added as integers. The weights of the output layer have 16 bits,
as two matrices of 8 bits, because at 8 bits this layer alone costs 0.01 to 0.03 bits per sample.
Biases, embedding and condition network stay in float32. `int8_kernels` describes slabs and strips.
Called by `cpu_engine`.
"""

import copy
import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.engines.cpu.int8_kernels import (
    LARGEST_WEIGHT,
    MAX_SUM_INPUTS,
    STRIP_BLOCKS,
    TOP,
)
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.cpu.packed_weights import (
    CpuShape,
    Floats,
    Ints,
    align_to_cache_line,
    interleave_gates,
    make_cpu_shape,
)
from wavenet.engines.kernel_inputs import embedding_rows
from wavenet.errors import ModelUnsupported
from wavenet.model.wavenet import WaveNet

Bytes = NDArray[np.uint8]
LARGEST_PARAMETER = 1e6  # larger ones could overflow float32 on the way to the params
BIAS_STEPS = 2.0**14  # of a condition bias per unit
# 2^(-2 log2(e) a) is e^(-2 a): the gates need these powers only
TANH_GAIN, SIGMOID_GAIN = -2 / math.log(2), -1 / math.log(2)


class Int8Weights(NamedTuple):
    """Flat arrays, layer by layer. Gate blocks alternate: 16 channels of tanh, 16 of sigmoid."""

    embedding: Floats  # (n_classes * residual_width,); of a `ScalarInput` (2 * residual_width,)
    past_taps: Bytes  # tap by tap, all taps before the current one
    current_tap: Bytes
    gate_bias: Floats  # (layers * 2 * gate_width,)
    residual: Bytes
    residual_bias: Floats  # (layers * residual_width,)
    skip: Bytes  # group by group
    skip_bias: Floats  # (skip_width,)
    hidden: Bytes
    hidden_bias: Floats  # (skip_width,)
    output: Bytes  # the high parts of the weights, then the low parts
    output_bias: Floats  # (params_width,)
    dilations: Ints  # (layers,)
    ring_edges: Ints  # (layers + 1,), the first slot of each layer's ring, and the end of the last
    skip_edges: Ints  # the first layer of each group of the skip product, and the end of the last


def group_skips(layers: int) -> list[int]:
    """Return the edges of the groups of layers whose skips are one product.

    The last groups are small, so that a second thread ends soon after the last layer.
    """
    edges, rest = [0], layers
    while rest:
        size = 4 if rest > 7 else max(1, rest // 2)
        edges.append(edges[-1] + size)
        rest -= size
    return edges


def quantise_int8(weight: NDArray[np.floating]) -> tuple[NDArray[np.int64], Floats]:
    """Round a weight (out, in) to integers and one scale (out,) per output."""
    return _quantise(weight, LARGEST_WEIGHT)


def quantise_int16(weight: NDArray[np.floating]) -> tuple[NDArray[np.int64], Floats]:
    """Round a weight (out, in) to integers of -32,512 to 32,512 and one scale per output."""
    return _quantise(weight, TOP)


def _quantise(weight: NDArray[np.floating], top: int) -> tuple[NDArray[np.int64], Floats]:
    largest = np.abs(weight).max(axis=1, initial=0.0).astype(np.float64)
    scale = np.where(largest > 0, largest / top, 1.0).astype(np.float32)
    rounded = np.rint(weight / scale[:, None].astype(np.float64)).astype(np.int64)
    return np.clip(rounded, -top, top), scale


def split_int16(integers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return high and low parts, with 256 high + low equal to the integers; both fit into int8."""
    high = (integers + 128) >> 8
    return high, integers - 256 * high


@torch.no_grad()
def round_int8_weights(model: WaveNet) -> WaveNet:
    """Return a copy with exactly the weights that the engine reads in int8.

    Raises:
        ModelUnsupported: a parameter is too large or not finite.
    """
    for name, parameter in model.named_parameters():
        largest = float(parameter.abs().max()) if parameter.numel() else 0.0
        if not largest <= LARGEST_PARAMETER:
            raise ModelUnsupported(
                f"int8 needs parameters of at most {LARGEST_PARAMETER:g}, found {largest:g} in "
                f"{name}; use another precision"
            )
    rounded = copy.deepcopy(model)
    taps = model.config.kernel_size
    for block in rounded.blocks:
        for tap in block.conv.linear.weight.chunk(taps, dim=1):
            _round_in_place(tap, LARGEST_WEIGHT)
        if block.residual is not None:
            _round_in_place(block.residual.weight, LARGEST_WEIGHT)
    _round_in_place(rounded.skip.weight, LARGEST_WEIGHT)
    _round_in_place(rounded.hidden.weight, LARGEST_WEIGHT)
    _round_in_place(rounded.output.weight, TOP)
    return rounded


def _round_in_place(weight: Tensor, top: int) -> None:
    integers, scale = _quantise(_double(weight), top)
    weight.copy_(torch.from_numpy(integers.astype(np.float32) * scale[:, None]))


def pack_int8_weights(model: WaveNet) -> Int8Weights:
    """Round and pack the weights of a model."""
    shape, config = make_cpu_shape(model), model.config
    past_taps: list[Bytes] = []
    current_tap: list[Bytes] = []
    residual: list[Bytes] = []
    gate_bias, residual_bias = [], []
    gain = gate_gain(shape)
    for block in model.blocks:
        for n, tap in enumerate(block.conv.linear.weight.chunk(config.kernel_size, dim=1)):
            integers, scale = quantise_int8(_double(tap))
            matrix = interleave_gates(integers.T.astype(np.float32), shape)
            scale = interleave_gates(scale, shape) * gain
            packed = pack_matrix(matrix, scale, shape.ring_width)
            (current_tap if n == config.kernel_size - 1 else past_taps).append(packed)
        gate_bias.append(interleave_gates(_floats(block.conv.linear.bias), shape) * gain)
        if block.residual is not None:  # the last layer has none
            residual.append(_pack(block.residual.weight, shape.gate_width, shape.residual_width))
            residual_bias.append(_pad(_floats(block.residual.bias), shape.residual_width))
    edges = group_skips(shape.layers)
    high, low, scale = _output_layer(model)
    no_bytes, no_floats = np.zeros(0, np.uint8), np.zeros(0, np.float32)
    flat = align_to_cache_line
    return Int8Weights(
        embedding=flat(_pad(_floats(embedding_rows(model)), shape.residual_width)),
        past_taps=flat(np.concatenate([*past_taps, no_bytes])),
        current_tap=flat(np.concatenate(current_tap)),
        gate_bias=flat(np.concatenate(gate_bias)),
        residual=flat(np.concatenate([*residual, no_bytes])),
        residual_bias=flat(np.concatenate([*residual_bias, no_floats])),
        skip=flat(_pack_skips(model, shape, edges)),
        skip_bias=flat(_pad(_floats(model.skip.bias), shape.skip_width)),
        hidden=flat(_pack(model.hidden.weight, shape.skip_width, shape.skip_width)),
        hidden_bias=flat(_pad(_floats(model.hidden.bias), shape.skip_width)),
        output=flat(
            np.concatenate(
                [
                    pack_matrix(_pad(high.T, shape.params_width), 256 * scale, shape.skip_width),
                    pack_matrix(_pad(low.T, shape.params_width), scale, shape.skip_width),
                ]
            )
        ),
        output_bias=flat(_pad(_floats(model.output.bias), shape.params_width)),
        dilations=np.array(config.dilations, np.int64),
        ring_edges=np.array(config.ring_edges, np.int64),
        skip_edges=np.array(edges, np.int64),
    )


def gate_gain(shape: CpuShape) -> Floats:
    """Return the factors (2 * gate_width,) of gate sums, by which the gates become powers of 2."""
    pair = np.repeat(np.array([TANH_GAIN, SIGMOID_GAIN], np.float32), BLOCK_WIDTH)
    return np.tile(pair, shape.gate_width // BLOCK_WIDTH)


def round_biases(biases: NDArray[np.floating], shape: CpuShape) -> Floats:
    """Return the biases (.., 2 * gate_width) of the conditions as the gates need them.

    Matrix libraries sum in an order that depends on the machine. The sums differ by 1e-15; after
    rounding to multiples of 2^-14 they almost never do.
    """
    scaled = biases * gate_gain(shape).astype(np.float64)
    return (np.rint(scaled * BIAS_STEPS) / BIAS_STEPS).astype(np.float32)


def _output_layer(model: WaveNet) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    integers, scale = quantise_int16(_double(model.output.weight))
    return *split_int16(integers), scale


def _pack_skips(model: WaveNet, shape: CpuShape, edges: list[int]) -> Bytes:
    """Pack the skip product group by group; the channels of each layer are padded."""
    integers, scale = quantise_int8(_double(model.skip.weight))
    layers = integers.T.reshape(shape.layers, model.config.gate_channels, -1)
    padding = [(0, 0), (0, shape.gate_width - layers.shape[1]), (0, 0)]
    padded = _pad(np.pad(layers, padding), shape.skip_width)
    groups = [
        pack_matrix(padded[first:end].reshape(-1, shape.skip_width), scale, 0)
        for first, end in pairwise(edges)
    ]
    return np.concatenate(groups)


def _pack(weight: Tensor, inputs: int, outputs: int) -> Bytes:
    integers, scale = quantise_int8(_double(weight))
    return pack_matrix(_pad(integers.T, outputs), scale, inputs)


def pack_matrix(matrix: NDArray[np.generic], scale: Floats, inputs: int) -> Bytes:
    """Pack integers (in, out) of -128 to 127 in slabs and strips.

    Args:
        matrix: the number of outputs is a multiple of 32.
        scale: of the outputs; padded with zeros.
        inputs: pads the matrix with rows of zeros, to a multiple of 4.
    """
    rows, outputs = matrix.shape
    padded = np.zeros((max(rows, inputs), outputs), np.int8)
    padded[:rows] = matrix
    scales = _pad(scale, outputs)
    parts = []
    for first in range(0, len(padded), MAX_SUM_INPUTS):
        slab = padded[first : first + MAX_SUM_INPUTS]
        sums = slab.sum(axis=0, dtype=np.int32)
        width = STRIP_BLOCKS * BLOCK_WIDTH
        for begin in range(0, outputs, width):
            strip = slice(begin, begin + width)
            # (fours, outputs, 4)
            fours = slab[:, strip].reshape(len(slab) // 4, 4, -1).transpose(0, 2, 1)
            for values in (sums[strip], scales[strip], fours):
                parts.append(np.ascontiguousarray(values).reshape(-1).view(np.uint8))
    return np.concatenate(parts)


def _pad(values: NDArray[np.generic], width: int) -> NDArray[np.generic]:
    """Add zeros to the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


def _floats(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _double(weight: Tensor) -> NDArray[np.float64]:
    return weight.detach().numpy().astype(np.float64)
