"""Lay a model's weights out as the compiled loop of the CPU engine reads them.

A model and a precision enter; `Weights` and `Shape` leave. A matrix (in, out) becomes panels of 32
outputs; in a panel, pair of inputs follows pair of inputs, so that a product reads memory from one
end to the other. Widths are padded with zeros to whole panels.

In 16 bits, the two weights of a pair share one 32-bit word. The even input's is a bfloat16 in the
lower half. The odd input's is the whole word read as a float32: its upper half is a bfloat16, and
the bits below are those of its neighbour, reckoned with when the upper half is rounded. So both
are off by one part in 256 at most, as a bfloat16 is, and unpacking the second costs nothing.
"""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.engines.cpu.llvm_vectors import LANES, PANEL
from wavenet.engines.cpu.mixture_sampling import GAUSSIAN, LOGISTIC
from wavenet.model.layers import ScalarInput
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.model.wavenet import WaveNet

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Packed = Any  # NDArray of float32, or of uint32 with two weights in each


class Shape(NamedTuple):
    """Sizes of a network: plain, padded, and the pairs of inputs of its products."""

    layers: int
    taps: int
    params: int  # P
    ring_width: int  # R in whole half panels, what a ring keeps of one input
    x_width: int  # R in whole panels
    z_width: int  # G in whole half panels
    s_width: int  # S in whole panels
    p_width: int  # P in whole panels
    x_pairs: int
    old_pairs: int  # of the taps before the current one
    z_pairs: int
    s_pairs: int
    classes: int  # of the alphabet
    family: int  # of the mixture that is drawn from, see `mixture_sampling`; 0 for classes
    components: int  # of the mixture


class Weights(NamedTuple):
    """Flat arrays, layer behind layer. Gates lie in panels of 16 channels of a, then 16 of b."""

    embedding: Floats  # (P * x_width,); of a scalar input weight and bias, (2 * x_width,)
    old: Packed  # of the taps before the current one
    current: Packed
    conv_bias: Floats  # (L * 2 * z_width,)
    residual: Packed
    residual_bias: Floats  # (L * x_width,)
    skip: Packed
    skip_bias: Floats  # (s_width,)
    hidden: Packed
    hidden_bias: Floats  # (s_width,)
    output: Packed
    output_bias: Floats  # (p_width,)
    dilations: Ints  # (L,)
    edges: Ints  # (L + 1,), where each layer's ring begins


def shape_of(model: WaveNet) -> Shape:
    """Compute the sizes."""
    config = model.config
    params = model.distribution.n_params
    z_width = _whole(config.gate_channels, LANES)
    return Shape(
        layers=len(config.dilations),
        taps=config.kernel_size,
        params=params,
        ring_width=ring_width(model),
        x_width=_whole(config.residual_channels, PANEL),
        z_width=z_width,
        s_width=_whole(config.skip_channels, PANEL),
        p_width=_whole(params, PANEL),
        x_pairs=-(-config.residual_channels // 2),
        old_pairs=(config.kernel_size - 1) * ring_width(model) // 2,
        z_pairs=z_width // 2,
        s_pairs=-(-config.skip_channels // 2),
        classes=model.n_classes,
        family=_family(model),
        components=getattr(config.output, "components", 0),
    )


def _family(model: WaveNet) -> int:
    match model.distribution:
        case LogisticMixture():
            return LOGISTIC
        case GaussianMixture():
            return GAUSSIAN
        case _:
            return 0


def ring_width(model: WaveNet) -> int:
    """Give how many numbers a ring keeps of one input."""
    return _whole(model.config.residual_channels, LANES)


def gather_weights(model: WaveNet, precision: str) -> Weights:
    """Pack the weights of a model.

    Args:
        model: on the CPU; for bf16 as `round_weights` gives it, or rounding happens here.
        precision: "fp32" or "bf16".
    """
    shape, config = shape_of(model), model.config
    old, current, residual, skip = [], [], [], []
    conv_bias, residual_bias = [], []
    for n, block in enumerate(model.blocks):
        conv = gate_panels(_matrix(block.conv.linear.weight), shape)
        *before, now = np.split(conv, config.kernel_size)
        wide = [np.pad(tap, [(0, shape.ring_width - len(tap)), (0, 0)]) for tap in before]
        old.append(pack(np.concatenate([*wide, conv[:0]]), precision))
        current.append(pack(now, precision))
        conv_bias.append(gate_panels(_array(block.conv.linear.bias), shape))
        if block.residual is not None:  # the last layer has none
            residual.append(pack(_matrix(block.residual.weight), precision, shape.z_width))
            residual_bias.append(_pad(_array(block.residual.bias), shape.x_width))
        begin = n * config.gate_channels
        of_layer = model.skip.weight[:, begin : begin + config.gate_channels]
        skip.append(pack(_matrix(of_layer), precision, shape.z_width))
    return Weights(
        embedding=aligned(_pad(_input_rows(model), shape.x_width)),
        old=aligned(np.concatenate(old)),
        current=aligned(np.concatenate(current)),
        conv_bias=aligned(np.concatenate(conv_bias)),
        residual=aligned(np.concatenate([*residual, old[0][:0]])),
        residual_bias=aligned(np.concatenate([*residual_bias, np.zeros(0, np.float32)])),
        skip=aligned(np.concatenate(skip)),
        skip_bias=aligned(_pad(_array(model.skip.bias), shape.s_width)),
        hidden=aligned(pack(_matrix(model.hidden.weight), precision)),
        hidden_bias=aligned(_pad(_array(model.hidden.bias), shape.s_width)),
        output=aligned(pack(_matrix(model.output.weight), precision)),
        output_bias=aligned(_pad(_array(model.output.bias), shape.p_width)),
        dilations=np.array(config.dilations, np.int64),
        edges=np.array(config.ring_edges, np.int64),
    )


@torch.no_grad()
def round_weights(model: WaveNet, precision: str) -> WaveNet:
    """Give the model whose weights are exactly those that the engine reads in this precision.

    It is the model itself in fp32, a copy in bf16; score it to know what rounding costs.
    """
    if precision == "fp32":
        return model
    config, rounded = model.config, copy.deepcopy(model)
    parts: list[Tensor] = [rounded.hidden.weight, rounded.output.weight]
    for n, block in enumerate(rounded.blocks):
        parts += block.conv.linear.weight.chunk(config.kernel_size, dim=1)
        begin = n * config.gate_channels
        parts.append(rounded.skip.weight[:, begin : begin + config.gate_channels])
        if block.residual is not None:
            parts.append(block.residual.weight)
    for part in parts:
        matrix = _matrix(part)
        part.copy_(torch.from_numpy(unpack(pack(matrix, precision), *matrix.shape)).T)
    return rounded


def pack(matrix: Floats, precision: str, inputs: int = 0) -> Packed:
    """Cut a matrix (in, out) into panels; `inputs` pads it to more rows of zeros.

    Returns:
        flat float32, or flat uint32 with two weights in each.
    """
    rows, outputs = matrix.shape
    pairs, panels = -(-max(rows, inputs) // 2), -(-outputs // PANEL)
    whole = np.zeros((2 * pairs, panels * PANEL), np.float32)
    whole[:rows, :outputs] = matrix
    cut = np.ascontiguousarray(whole.reshape(pairs, 2, panels, PANEL).transpose(2, 0, 1, 3))
    if precision == "fp32":
        return cut.reshape(-1)
    bits = cut.view(np.uint32)
    even, odd = bits[:, :, 0], bits[:, :, 1]
    # to the nearest, of two equally near the even one
    low = (even + 0x7FFF + ((even >> 16) & 1)) >> 16
    # the magnitude grows with the bits below the sign, so rounding them rounds the number; what
    # the neighbour adds is taken off before, unless that would turn the sign
    magnitude = (odd & 0x7FFFFFFF).astype(np.int64)
    high = np.maximum(magnitude - low + 0x8000, 0) >> 16
    return (((odd & 0x80000000) | (high << 16).astype(np.uint32)) | low).reshape(-1)


def unpack(packed: Packed, inputs: int, outputs: int) -> Floats:
    """Give back the matrix (in, out) that a product with these panels uses."""
    pairs, panels = -(-inputs // 2), -(-outputs // PANEL)
    if packed.dtype == np.float32:
        cut = packed.reshape(panels, pairs, 2, PANEL)
    else:
        words = packed.reshape(panels, pairs, PANEL)
        cut = np.stack([words << 16, words], axis=2).view(np.float32)
    whole: Floats = cut.transpose(1, 2, 0, 3).reshape(2 * pairs, panels * PANEL)
    return np.ascontiguousarray(whole[:inputs, :outputs])


def gate_panels(gates: Floats, shape: Shape) -> Floats:
    """Reorder the last axis from all of a, all of b to panels of 16 of a and 16 of b, padded."""
    half = gates.shape[-1] // 2
    a, b = (_pad(part, shape.z_width) for part in (gates[..., :half], gates[..., half:]))
    blocks = (*gates.shape[:-1], shape.z_width // LANES, LANES)
    return np.concatenate([a.reshape(blocks), b.reshape(blocks)], axis=-1).reshape(
        *gates.shape[:-1], 2 * shape.z_width
    )


def aligned(values: NDArray[Any]) -> Any:
    """Copy into a flat array that begins on a cache line."""
    room = np.empty(values.nbytes + 64, np.uint8)
    begin = -room.ctypes.data % 64
    flat = room[begin : begin + values.nbytes].view(values.dtype)
    flat[:] = values.reshape(-1)
    return flat


def _whole(width: int, of: int) -> int:
    return -(-width // of) * of


def _pad(values: Floats, width: int) -> Floats:
    """Add zeros to the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


def _input_rows(model: WaveNet) -> Floats:
    """Give what the input layer adds up: a row for each class, or weight and bias of a scalar."""
    if isinstance(model.embedding, ScalarInput):
        return np.stack([_array(model.embedding.weight)[:, 0], _array(model.embedding.bias)])
    return _array(model.embedding.weight)


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _matrix(weight: Tensor) -> Floats:
    """Turn a weight (out, in) round."""
    return _array(weight).T
