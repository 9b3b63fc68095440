"""Lay a model's weights out as the kernel of the GPU engine reads them.

A model and a precision enter, `Shape` and `Packed` leave. All widths are padded to powers of two of
16 or more, the sizes of its products. The padding is zeros, of weights and of biases, so nothing
gets into what is padded or out of it; classes that are none are left out where codes are drawn.
"""

import copy
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.errors import EngineUnavailable
from wavenet.model.layers import ScalarInput
from wavenet.model.mixtures import GaussianMixture, LogisticMixture
from wavenet.model.wavenet import WaveNet

NARROWEST = 16  # the matrix units take no less
# A product reads a tile of weights through shared memory, of which a block of an H100 or H200 has
# 227 KiB, and needs some besides. Devices that have less of it take tiles that are smaller by as
# much.
TILE_LIMIT, SHARED_MEMORY = 160 << 10, 227 << 10
CHUNK = {"fp32": 32, "bf16": 64}  # inputs at once where products are cut
CHUNK_BYTES = 64 << 10  # of such a tile, of which several are under way
# Inputs that a layer multiplies at once; of more than that its products, too, are cut. Float32 has
# no matrix units and takes many registers.
INPUTS_AT_ONCE = {"fp32": 64, "bf16": 128}
BYTES = {"fp32": 4, "bf16": 2}
LOGISTIC, GAUSSIAN = 1, 2  # families of mixtures; 0 are classes


class Shape(NamedTuple):
    """Sizes of a network. R, G, S, P and M are padded; the rest counts what there is."""

    layers: int
    taps: int
    classes: int  # of the alphabet
    scalar: bool  # whether codes enter as values
    params: int
    residual: int  # R
    gate: int  # G
    skip: int  # S
    out: int  # P
    family: int
    components: int
    mixture: int  # M
    wide: bool  # whether the products of layers are cut, as those of the post-net always are
    chunk: int  # inputs at once where they are


class Packed(NamedTuple):
    """Flat tensors on the model's device.

    Attributes:
        weights: in the precision; per layer tap behind tap, the oldest first, of each (R, G) of
            tanh and (R, G) of sigmoid, then the residual (G, R); behind the layers the skips
            (layers * G, S), the hidden (S, S) and the output product (S, P).
        embedding: (classes, R) float32; of a scalar input weight and bias, (2, R).
        biases: float32; per layer tanh (G,), sigmoid (G,), residual (R,); then S, S and P.
    """

    weights: Tensor
    embedding: Tensor
    biases: Tensor


def shape_of(model: WaveNet, precision: str) -> Shape:
    """Compute the sizes."""
    config, distribution = model.config, model.distribution
    widths = (config.residual_channels, config.gate_channels, config.skip_channels)
    residual, gate, skip = (padded(width) for width in widths)
    out = padded(distribution.n_params)
    family = {LogisticMixture: LOGISTIC, GaussianMixture: GAUSSIAN}.get(type(distribution), 0)
    components = getattr(distribution, "components", 0)
    fitting = CHUNK_BYTES // (max(residual, gate, skip, out) * BYTES[precision])
    return Shape(
        layers=len(config.dilations),
        taps=config.kernel_size,
        classes=model.n_classes,
        scalar=isinstance(model.embedding, ScalarInput),
        params=distribution.n_params,
        residual=residual,
        gate=gate,
        skip=skip,
        out=out,
        family=family,
        components=components,
        mixture=padded(components),
        wide=max(residual, gate) > INPUTS_AT_ONCE[precision],
        # all powers of two: the smallest divides the inputs of all products
        chunk=max(NARROWEST, min(residual, gate, skip, CHUNK[precision], fitting)),
    )


def padded(width: int) -> int:
    """Give the power of two that a width is padded to."""
    return max(NARROWEST, 1 << (width - 1).bit_length())


def check_tiles(shape: Shape, precision: str, shared_memory: int = SHARED_MEMORY) -> None:
    """Refuse a network whose weights cannot pass through shared memory.

    Args:
        shared_memory: bytes that a block of the device has.
    Raises:
        EngineUnavailable: with the widths, what they need and what there is.
    """
    r, g = shape.residual, shape.gate
    weights = max(shape.chunk * max(r, g, shape.skip, shape.out), 0 if shape.wide else r * g)
    needed, limit = weights * BYTES[precision], TILE_LIMIT * shared_memory // SHARED_MEMORY
    if needed > limit:
        raise EngineUnavailable(
            f"the engine gpu takes tiles of weights of at most {limit >> 10} KiB on this device, "
            f"found {needed >> 10} KiB in {precision} for {r} residual, {g} gate, {shape.skip} "
            f"skip and {shape.out} output channels; use the engine graph"
        )


@torch.no_grad()
def round_weights(model: WaveNet, precision: str) -> WaveNet:
    """Give the model whose weights are exactly those that the engine reads in this precision.

    It is the model itself in fp32; in bf16 a copy in which the weights of all products that are
    done for every sample are rounded to the nearest bfloat16. Score it to know what that costs.
    """
    if precision == "fp32":
        return model
    rounded = copy.deepcopy(model)
    parts = [rounded.skip, rounded.hidden, rounded.output]
    for block in rounded.blocks:
        parts += [block.conv.linear, *([] if block.residual is None else [block.residual])]
    for part in parts:
        part.weight.copy_(part.weight.to(torch.bfloat16))
    return rounded


@torch.no_grad()
def pack_weights(model: WaveNet, precision: str) -> Packed:
    """Pack a model as `round_weights` gives it."""
    shape, config = shape_of(model, precision), model.config
    r, g, s = shape.residual, shape.gate, shape.skip
    weights, biases = [], []
    for block in model.blocks:
        conv = block.conv.linear
        taps = conv.weight.unflatten(0, (2, -1)).unflatten(2, (shape.taps, -1))  # (2, G, K, R)
        weights.append(pad(taps.permute(2, 0, 3, 1), r, g))
        biases.append(pad(conv.bias.unflatten(0, (2, -1)), g))
        if block.residual is None:  # the last layer: what nobody reads is zeros
            weights.append(conv.weight.new_zeros(g, r))
            biases.append(conv.bias.new_zeros(r))
        else:
            weights.append(pad(block.residual.weight.T, g, r))
            biases.append(pad(block.residual.bias, r))
    skips = model.skip.weight.unflatten(1, (shape.layers, config.gate_channels))  # (S, L, G)
    weights.append(pad(skips.permute(1, 2, 0), g, s))
    weights.append(pad(model.hidden.weight.T, s, s))
    weights.append(pad(model.output.weight.T, s, shape.out))
    biases += [pad(model.skip.bias, s), pad(model.hidden.bias, s)]
    biases.append(pad(model.output.bias, shape.out))
    kind = torch.float32 if precision == "fp32" else torch.bfloat16
    return Packed(
        torch.cat([part.flatten() for part in weights]).to(kind),
        pad(input_rows(model), r).contiguous(),
        torch.cat([part.flatten() for part in biases]),
    )


def pad_frames(frames: Tensor, shape: Shape) -> Tensor:
    """Pad condition biases (B, F, layers, 2G) to (B, F, layers, 2, padded G)."""
    return pad(frames.unflatten(3, (2, -1)), shape.gate).contiguous()


def pad(values: Tensor, *widths: int) -> Tensor:
    """Add zeros behind the last axes, up to these widths."""
    missing = [w - have for w, have in zip(widths, values.shape[-len(widths) :], strict=True)]
    return F.pad(values, [side for more in reversed(missing) for side in (0, more)])


def input_rows(model: WaveNet) -> Tensor:
    """Give what the input layer adds up: a row for each class, or weight and bias of a scalar."""
    if isinstance(model.embedding, ScalarInput):
        return torch.stack([model.embedding.weight[:, 0], model.embedding.bias])
    return model.embedding.weight
