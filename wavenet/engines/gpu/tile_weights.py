"""Pack a model's weights in the layout that the Triton kernel reads.

Input: a model and a precision. Output: `TileShape` and `TileWeights`. All widths are padded to
powers of two of 16 or more, the sizes of the kernel's products. Weights and biases are padded with
zeros, so padded channels stay zero and do not change the results; padded classes are excluded when
codes are drawn. Called by `gpu_engine`; `cluster_kernel` uses the shape.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.engines.kernel_inputs import embedding_rows, output_family
from wavenet.errors import EngineUnavailable
from wavenet.model.layers import ScalarInput
from wavenet.model.wavenet import WaveNet

MIN_WIDTH = 16  # the smallest side of a product of the tensor cores
# A product reads a part of a matrix through shared memory. A block of an H100 or H200 has 227 KiB,
# and other data needs a part of it. Devices with less have a proportionally lower limit.
MAX_PART_BYTES, SHARED_MEMORY_BYTES = 160 << 10, 227 << 10
MAX_CHUNK_SIZE = {"fp32": 32, "bf16": 64}  # inputs per chunk of a product
MAX_CHUNK_BYTES = 64 << 10  # of the weights of a chunk; several chunks are loaded ahead
# Inputs that a layer multiplies at once; products of wider layers are split into chunks. Products
# in float32 use no tensor cores and need many registers.
MAX_INPUTS = {"fp32": 64, "bf16": 128}
BYTES_PER_WEIGHT = {"fp32": 4, "bf16": 2}


class TileShape(NamedTuple):
    """Sizes of a network; widths are padded."""

    layers: int
    kernel_size: int
    n_classes: int
    scalar_input: bool  # codes enter as values
    n_params: int
    residual_width: int  # R
    gate_width: int  # G
    skip_width: int  # S
    params_width: int  # P
    family: int  # of the output distribution, see `kernel_inputs`
    components: int  # of a mixture
    components_width: int  # M
    # the products of residual blocks are split into chunks; those of the output layers always are
    splits_layers: bool
    chunk_size: int  # inputs per chunk


class TileWeights(NamedTuple):
    """Flat tensors on the model's device.

    Attributes:
        weights: in the precision; per layer the taps, oldest first, each (R, G) of tanh and (R, G)
            of sigmoid, then the residual (G, R); after all layers the skips (layers * G, S), the
            hidden layer (S, S) and the output layer (S, P).
        embedding: (n_classes, R) float32; of a `ScalarInput` its weight and bias, (2, R).
        biases: float32; per layer tanh (G,), sigmoid (G,), residual (R,); then S, S and P.
    """

    weights: Tensor
    embedding: Tensor
    biases: Tensor


def make_tile_shape(model: WaveNet, precision: str) -> TileShape:
    """Compute the sizes of a model."""
    config = model.config
    residual, gate, skip, params = (
        pad_width(width)
        for width in (
            config.residual_channels,
            config.gate_channels,
            config.skip_channels,
            model.distribution.n_params,
        )
    )
    components = getattr(model.distribution, "components", 0)
    widest = max(residual, gate, skip, params)
    fitting = MAX_CHUNK_BYTES // (widest * BYTES_PER_WEIGHT[precision])
    return TileShape(
        layers=len(config.dilations),
        kernel_size=config.kernel_size,
        n_classes=model.n_classes,
        scalar_input=isinstance(model.embedding, ScalarInput),
        n_params=model.distribution.n_params,
        residual_width=residual,
        gate_width=gate,
        skip_width=skip,
        params_width=params,
        family=output_family(model),
        components=components,
        components_width=pad_width(components),
        splits_layers=max(residual, gate) > MAX_INPUTS[precision],
        # all are powers of two, so the smallest one divides the inputs of every product
        chunk_size=max(MIN_WIDTH, min(residual, gate, skip, MAX_CHUNK_SIZE[precision], fitting)),
    )


def pad_width(width: int) -> int:
    """Return the padded width, a power of two."""
    return max(MIN_WIDTH, 1 << (width - 1).bit_length())


def check_part_size(
    shape: TileShape, precision: str, shared_memory: int = SHARED_MEMORY_BYTES
) -> None:
    """Check that the largest part of a matrix fits into shared memory.

    Args:
        shared_memory: bytes per block of the device.
    Raises:
        EngineUnavailable: a part is too large; the message has the widths, the needed bytes and
            the limit.
    """
    r, g, s, p = shape.residual_width, shape.gate_width, shape.skip_width, shape.params_width
    weights = max(shape.chunk_size * max(r, g, s, p), 0 if shape.splits_layers else r * g)
    needed = weights * BYTES_PER_WEIGHT[precision]
    limit = MAX_PART_BYTES * shared_memory // SHARED_MEMORY_BYTES
    if needed > limit:
        raise EngineUnavailable(
            f"the engine gpu reads parts of matrices of at most {limit >> 10} KiB on this device, "
            f"found {needed >> 10} KiB in {precision} for {r} residual, {g} gate, {s} skip and {p} "
            "output channels; use the engine graph"
        )


def block_shared_memory(device: torch.device) -> int:
    """Return the bytes of shared memory per block; those of an H100 if they are unknown."""
    if device.type != "cuda":
        return SHARED_MEMORY_BYTES
    properties = torch.cuda.get_device_properties(device)
    return getattr(properties, "shared_memory_per_block_optin", SHARED_MEMORY_BYTES)


@torch.no_grad()
def round_gpu_weights(model: WaveNet, precision: str) -> WaveNet:
    """Return a model with exactly the weights that the engine reads in this precision.

    For fp32 this is the model itself. For bf16 it is a copy in which all matrices that are read for
    every sample are rounded to the nearest bfloat16; its score shows the cost of rounding.
    """
    if precision == "fp32":
        return model
    rounded = copy.deepcopy(model)
    layers = [rounded.skip, rounded.hidden, rounded.output]
    for block in rounded.blocks:
        layers += [block.conv.linear, *([] if block.residual is None else [block.residual])]
    for layer in layers:
        layer.weight.copy_(layer.weight.to(torch.bfloat16))
    return rounded


@torch.no_grad()
def pack_tile_weights(model: WaveNet, precision: str) -> TileWeights:
    """Pack the weights of a model from `round_gpu_weights`."""
    shape, config = make_tile_shape(model, precision), model.config
    r, g, s, p = shape.residual_width, shape.gate_width, shape.skip_width, shape.params_width
    weights, biases = [], []
    for block in model.blocks:
        conv = block.conv.linear
        taps = conv.weight.unflatten(0, (2, -1)).unflatten(2, (shape.kernel_size, -1))
        weights.append(pad_last_axes(taps.permute(2, 0, 3, 1), r, g))  # taps: (2, G, K, R)
        biases.append(pad_last_axes(conv.bias.unflatten(0, (2, -1)), g))
        if block.residual is None:  # nothing reads the output of the last layer
            weights.append(conv.weight.new_zeros(g, r))
            biases.append(conv.bias.new_zeros(r))
        else:
            weights.append(pad_last_axes(block.residual.weight.T, g, r))
            biases.append(pad_last_axes(block.residual.bias, r))
    skips = model.skip.weight.unflatten(1, (shape.layers, config.gate_channels))  # (S, layers, G)
    weights.append(pad_last_axes(skips.permute(1, 2, 0), g, s))
    weights.append(pad_last_axes(model.hidden.weight.T, s, s))
    weights.append(pad_last_axes(model.output.weight.T, s, p))
    biases += [pad_last_axes(model.skip.bias, s), pad_last_axes(model.hidden.bias, s)]
    biases.append(pad_last_axes(model.output.bias, p))
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    return TileWeights(
        torch.cat([part.flatten() for part in weights]).to(dtype),
        pad_last_axes(embedding_rows(model), r).contiguous(),
        torch.cat([part.flatten() for part in biases]),
    )


def pad_frames(frames: Tensor, shape: TileShape) -> Tensor:
    """Pad condition biases (B, F, layers, 2G) to (B, F, layers, 2, padded G)."""
    return pad_last_axes(frames.unflatten(3, (2, -1)), shape.gate_width).contiguous()


def pad_last_axes(values: Tensor, *widths: int) -> Tensor:
    """Append zeros to the last axes, up to these widths."""
    sizes = values.shape[-len(widths) :]
    missing = [width - size for width, size in zip(widths, sizes, strict=True)]
    return F.pad(values, [side for more in reversed(missing) for side in (0, more)])
