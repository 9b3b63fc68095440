"""Pack a model's weights in the layout that the compiled loop reads.

Input: a model and a precision. Output: `CpuWeights` and `CpuShape`. A matrix (in, out) is cut into
panels of 32 outputs. A panel contains one pair of inputs after the other, so a product reads memory
sequentially. Widths are padded with zeros to whole panels or half panels. Called by `cpu_engine`.

In bf16, the two weights of a pair share one 32-bit word. The even input's weight is a bfloat16 in
the lower half. The odd input's weight is the whole word, read as a float32. Its low 16 bits are the
even weight, and its high 16 bits are rounded so that they compensate for this. So the error of both
weights is at most one part in 256, as of a bfloat16, and the odd weight needs no unpacking.
"""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.engines.cpu.llvm_kernels import PANEL_WIDTH
from wavenet.engines.cpu.llvm_vectors import BLOCK_WIDTH
from wavenet.engines.kernel_inputs import embedding_rows, output_family
from wavenet.model.wavenet import WaveNet

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Panels = Any  # NDArray of float32, or of uint32 with two weights in each


class CpuShape(NamedTuple):
    """Sizes of a network: unpadded, padded, and in pairs of inputs of a product.

    R, G, S and P are the residual, gate, skip and parameter channels. A panel has 32 outputs.
    """

    layers: int
    kernel_size: int
    n_classes: int
    n_params: int  # P
    family: int  # of the output distribution, see `kernel_inputs`
    components: int  # of a mixture
    ring_width: int  # R in whole half panels: channels of one input in a ring buffer
    residual_width: int  # R in whole panels
    gate_width: int  # G in whole half panels
    skip_width: int  # S in whole panels
    params_width: int  # P in whole panels
    residual_pairs: int
    past_pairs: int  # of all taps before the current one
    gate_pairs: int
    skip_pairs: int


class CpuWeights(NamedTuple):
    """Flat arrays, layer by layer. Gate panels have 16 channels of tanh, then 16 of sigmoid."""

    embedding: Floats  # (n_classes * residual_width,); of a `ScalarInput` (2 * residual_width,)
    past_taps: Panels  # of all taps before the current one
    current_tap: Panels
    gate_bias: Floats  # (layers * 2 * gate_width,)
    residual: Panels
    residual_bias: Floats  # (layers * residual_width,)
    skip: Panels
    skip_bias: Floats  # (skip_width,)
    hidden: Panels
    hidden_bias: Floats  # (skip_width,)
    output: Panels
    output_bias: Floats  # (params_width,)
    dilations: Ints  # (layers,)
    ring_edges: Ints  # (layers + 1,), the first slot of each layer's ring, and the end of the last


def make_cpu_shape(model: WaveNet) -> CpuShape:
    """Compute the sizes of a model."""
    config = model.config
    n_params = model.distribution.n_params
    ring_width = _round_up(config.residual_channels, BLOCK_WIDTH)
    gate_width = _round_up(config.gate_channels, BLOCK_WIDTH)
    return CpuShape(
        layers=len(config.dilations),
        kernel_size=config.kernel_size,
        n_classes=model.n_classes,
        n_params=n_params,
        family=output_family(model),
        components=getattr(config.output, "components", 0),
        ring_width=ring_width,
        residual_width=_round_up(config.residual_channels, PANEL_WIDTH),
        gate_width=gate_width,
        skip_width=_round_up(config.skip_channels, PANEL_WIDTH),
        params_width=_round_up(n_params, PANEL_WIDTH),
        residual_pairs=-(-config.residual_channels // 2),
        past_pairs=(config.kernel_size - 1) * ring_width // 2,
        gate_pairs=gate_width // 2,
        skip_pairs=-(-config.skip_channels // 2),
    )


def pack_cpu_weights(model: WaveNet, precision: str) -> CpuWeights:
    """Pack the weights of a model.

    Args:
        model: on the CPU; for bf16 from `round_cpu_weights`, otherwise packing rounds the weights.
        precision: "fp32" or "bf16".
    """
    shape, config = make_cpu_shape(model), model.config
    past_taps, current_tap, residual, skip = [], [], [], []
    gate_bias, residual_bias = [], []
    for n, block in enumerate(model.blocks):
        taps = interleave_gates(_transpose(block.conv.linear.weight), shape)
        *past, current = np.split(taps, config.kernel_size)
        padded = [np.pad(tap, [(0, shape.ring_width - len(tap)), (0, 0)]) for tap in past]
        past_taps.append(pack_panels(np.concatenate([*padded, taps[:0]]), precision))
        current_tap.append(pack_panels(current, precision))
        gate_bias.append(interleave_gates(_to_numpy(block.conv.linear.bias), shape))
        if block.residual is not None:  # the last layer has none
            matrix = _transpose(block.residual.weight)
            residual.append(pack_panels(matrix, precision, shape.gate_width))
            residual_bias.append(_pad(_to_numpy(block.residual.bias), shape.residual_width))
        begin = n * config.gate_channels
        of_layer = model.skip.weight[:, begin : begin + config.gate_channels]
        skip.append(pack_panels(_transpose(of_layer), precision, shape.gate_width))
    embedding = _to_numpy(embedding_rows(model))
    return CpuWeights(
        embedding=align_to_cache_line(_pad(embedding, shape.residual_width)),
        past_taps=align_to_cache_line(np.concatenate(past_taps)),
        current_tap=align_to_cache_line(np.concatenate(current_tap)),
        gate_bias=align_to_cache_line(np.concatenate(gate_bias)),
        residual=align_to_cache_line(np.concatenate([*residual, past_taps[0][:0]])),
        residual_bias=align_to_cache_line(
            np.concatenate([*residual_bias, np.zeros(0, np.float32)])
        ),
        skip=align_to_cache_line(np.concatenate(skip)),
        skip_bias=align_to_cache_line(_pad(_to_numpy(model.skip.bias), shape.skip_width)),
        hidden=align_to_cache_line(pack_panels(_transpose(model.hidden.weight), precision)),
        hidden_bias=align_to_cache_line(_pad(_to_numpy(model.hidden.bias), shape.skip_width)),
        output=align_to_cache_line(pack_panels(_transpose(model.output.weight), precision)),
        output_bias=align_to_cache_line(_pad(_to_numpy(model.output.bias), shape.params_width)),
        dilations=np.array(config.dilations, np.int64),
        ring_edges=np.array(config.ring_edges, np.int64),
    )


@torch.no_grad()
def round_cpu_weights(model: WaveNet, precision: str) -> WaveNet:
    """Return a model with exactly the weights that the engine reads in this precision.

    For fp32 this is the model itself, for bf16 a copy; its score shows the cost of rounding.
    """
    if precision == "fp32":
        return model
    config, rounded = model.config, copy.deepcopy(model)
    weights: list[Tensor] = [rounded.hidden.weight, rounded.output.weight]
    for n, block in enumerate(rounded.blocks):
        weights += block.conv.linear.weight.chunk(config.kernel_size, dim=1)
        begin = n * config.gate_channels
        weights.append(rounded.skip.weight[:, begin : begin + config.gate_channels])
        if block.residual is not None:
            weights.append(block.residual.weight)
    for weight in weights:
        matrix = _transpose(weight)
        panels = pack_panels(matrix, precision)
        weight.copy_(torch.from_numpy(unpack_panels(panels, *matrix.shape)).T)
    return rounded


def pack_panels(matrix: Floats, precision: str, inputs: int = 0) -> Panels:
    """Cut a matrix (in, out) into panels; `inputs` pads it with more rows of zeros.

    Returns:
        flat float32, or flat uint32 with two weights in each.
    """
    rows, outputs = matrix.shape
    pairs, panels = -(-max(rows, inputs) // 2), -(-outputs // PANEL_WIDTH)
    padded = np.zeros((2 * pairs, panels * PANEL_WIDTH), np.float32)
    padded[:rows, :outputs] = matrix
    cut = padded.reshape(pairs, 2, panels, PANEL_WIDTH).transpose(2, 0, 1, 3)
    cut = np.ascontiguousarray(cut)
    if precision == "fp32":
        return cut.reshape(-1)
    bits = cut.view(np.uint32)
    even, odd = bits[:, :, 0], bits[:, :, 1]
    # round to nearest, ties to even
    low = (even + 0x7FFF + ((even >> 16) & 1)) >> 16
    # the bits below the sign are ordered like the magnitude, so rounding them rounds the number;
    # the bits of the even weight are subtracted first, unless the result would be negative
    magnitude = (odd & 0x7FFFFFFF).astype(np.int64)
    high = np.maximum(magnitude - low + 0x8000, 0) >> 16
    return (((odd & 0x80000000) | (high << 16).astype(np.uint32)) | low).reshape(-1)


def unpack_panels(panels: Panels, inputs: int, outputs: int) -> Floats:
    """Return the matrix (in, out) that a product with these panels multiplies by."""
    pairs, count = -(-inputs // 2), -(-outputs // PANEL_WIDTH)
    if panels.dtype == np.float32:
        cut = panels.reshape(count, pairs, 2, PANEL_WIDTH)
    else:
        words = panels.reshape(count, pairs, PANEL_WIDTH)
        cut = np.stack([words << 16, words], axis=2).view(np.float32)
    padded: Floats = cut.transpose(1, 2, 0, 3).reshape(2 * pairs, count * PANEL_WIDTH)
    return np.ascontiguousarray(padded[:inputs, :outputs])


def interleave_gates(gates: Floats, shape: CpuShape) -> Floats:
    """Reorder the last axis from (all tanh, all sigmoid) to panels of 16 and 16, padded."""
    half, shape_before = gates.shape[-1] // 2, gates.shape[:-1]
    # written in place, because np.pad costs three times as much per window of samples
    halves = np.zeros((*shape_before, 2, shape.gate_width), gates.dtype)
    halves[..., :half] = gates.reshape(*shape_before, 2, half)
    blocks = (*shape_before, 2, shape.gate_width // BLOCK_WIDTH, BLOCK_WIDTH)
    return halves.reshape(blocks).swapaxes(-3, -2).reshape(*shape_before, -1)


def align_to_cache_line(values: NDArray[Any]) -> Any:
    """Copy values into a flat array that begins on a cache line."""
    buffer = np.empty(values.nbytes + 64, np.uint8)
    begin = -buffer.ctypes.data % 64
    flat = buffer[begin : begin + values.nbytes].view(values.dtype)
    flat[:] = values.reshape(-1)
    return flat


def _round_up(width: int, multiple: int) -> int:
    return -(-width // multiple) * multiple


def _pad(values: Floats, width: int) -> Floats:
    """Add zeros to the last axis."""
    return np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, width - values.shape[-1])])


def _to_numpy(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)


def _transpose(weight: Tensor) -> Floats:
    """Return a weight (out, in) as a matrix (in, out)."""
    return _to_numpy(weight).T
