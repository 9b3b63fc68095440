"""The residual blocks of one clip as a single function with a backward pass of its own, for a CPU.

The arithmetic is that of `WaveNet.layers`, which stays the definition. It is faster because no taps
are copied side by side, work goes on in place, and a clip at a time stays in the cache. Equality
with the definition, gradients included, is tested.

Shapes: T samples of a clip, R residual channels, G gate channels of each half, L layers, K taps.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from wavenet.model.conditioning import Conditioning, frames_needed, interpolate
from wavenet.model.layers import ResidualBlock
from wavenet.model.wavenet import WaveNet


class Block(NamedTuple):
    """Weights of a block in the type of the products, and its old taps.

    `taps` lists, for each tap but the newest, how many samples back it reaches and its columns of
    `weight`.
    """

    weight: Tensor
    bias: Tensor
    residual: Tensor | None
    residual_bias: Tensor | None
    taps: list[tuple[int, slice]]


class _Stack(torch.autograd.Function):
    """x (T, R) and biases (L, T, 2 G) or None -> gated outputs of all layers (T, L * G).

    `weights` are those of the blocks, as parameters, four to a block, and get the gradients. What
    is kept for the backward pass is in the type of the blocks; x, and all gradients but that of the
    biases, in the type of x.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, biases: Tensor | None, blocks: list[Block], *weights: Tensor | None
    ) -> Tensor:
        samples, channels = x.shape
        gate = blocks[0].weight.shape[0] // 2
        past = _reach(blocks, samples)
        wide = x.new_empty(samples, gate)
        x = x.clone()
        kept, gated = [], []
        for n, block in enumerate(blocks):
            entering = block.weight.new_empty(past + samples, channels)
            entering[:past] = 0  # before the clip
            entering[past:] = x
            ab = torch.addmm(block.bias, entering[past:], block.weight[:, -channels:].t())
            for back, columns in block.taps:
                if back < samples:
                    old = entering[past - back : past - back + samples]
                    ab.addmm_(old, block.weight[:, columns].t())
            if biases is not None:
                ab.add_(biases[n])
            a, b = ab.chunk(2, dim=1)
            # tanh(a) = 2 σ(2 a) - 1: torch's own tanh takes several times as long on a CPU
            a.copy_(wide.copy_(a).mul_(2).sigmoid_().mul_(2).sub_(1))
            z = a * b.sigmoid_()
            if block.residual is not None and block.residual_bias is not None:
                x.add_(torch.addmm(block.residual_bias, z, block.residual.t()))
            gated.append(z)
            kept += [entering, ab, z]
        ctx.blocks, ctx.has_biases = blocks, biases is not None
        ctx.wide = x.dtype
        ctx.save_for_backward(*kept)
        return torch.cat(gated, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_gated: Tensor) -> tuple[Any, ...]:
        kept = ctx.saved_tensors
        blocks: list[Block] = ctx.blocks
        (samples, gate), channels = kept[2].shape, kept[0].shape[1]
        past = _reach(blocks, samples)
        dx = torch.zeros(samples, channels, dtype=ctx.wide)
        layers = len(blocks) if ctx.has_biases else 1
        d_biases = d_gated.new_empty(layers, samples + past, 2 * gate)
        d_biases[:, samples:] = 0  # behind the clip
        scratch, ones = d_gated.new_empty(samples, gate), d_gated.new_ones(1, samples)
        grads: list[Tensor | None] = []
        for n in reversed(range(len(blocks))):
            block, (entering, ab, z) = blocks[n], kept[3 * n : 3 * n + 3]
            dz = d_gated[:, n * gate : (n + 1) * gate]
            of_residual: list[Tensor | None] = [None, None]
            if block.residual is not None:
                leaving = dx.to(z.dtype)
                dz = torch.addmm(dz, leaving, block.residual)
                of_residual = [leaving.t() @ z, (ones @ leaving)[0]]
            later = d_biases[n % layers]
            d_ab = later[:samples]
            _gate_backward(dz, ab, scratch, d_ab)
            d_weight = torch.zeros_like(block.weight)
            torch.mm(d_ab.t(), entering[past:], out=d_weight[:, -channels:])
            onward = d_ab @ block.weight[:, -channels:]
            for back, tap in block.taps:
                if back < samples:
                    old = entering[past - back : past - back + samples]
                    torch.mm(d_ab.t(), old, out=d_weight[:, tap])
                    onward.addmm_(later[back : back + samples], block.weight[:, tap])
            dx.add_(onward)
            grads = [d_weight, (ones @ d_ab)[0], *of_residual, *grads]
        grads = [g if g is None else g.to(dx.dtype) for g in grads]
        return (dx, d_biases[:, :samples] if ctx.has_biases else None, None, *grads)


def make_blocks(model: WaveNet, dtype: torch.dtype) -> list[Block]:
    """Cast the weights of all blocks, once for a batch."""
    return [_make_block(block, dtype) for block in model.blocks]


def gated_output(
    model: WaveNet, blocks: list[Block], codes: Tensor, conditioning: Conditioning, start: int
) -> Tensor:
    """Compute what the post-net reads of one clip.

    Args:
        model: on the CPU; blocks: of `make_blocks`.
        codes: (T,) int64, what the network hears.
        conditioning: of this clip alone.
        start: where in its clip the recording begins, as in `WaveNet`.
    Returns:
        (T, L * G), in the type of the blocks: `WaveNet.layers` of the same, up to rounding.
    """
    hop, length, dtype = model.config.condition_hop, codes.numel(), blocks[0].weight.dtype
    inputs = F.pad(codes[:-1], (1, 0), value=model.start_code)
    x = model.embedding(inputs).to(model.skip.weight.dtype)
    first = torch.tensor([start // hop])
    frames = conditioning.biases(first, frames_needed(start % hop, length, hop))
    biases = None
    if frames is not None:
        biases = interpolate(frames[0].transpose(0, 1), start % hop, length, hop).to(dtype)
    weights = [w for block in model.blocks for w in _weights_of(block)]
    gated: Tensor = _Stack.apply(x, biases, blocks, *weights)  # type: ignore[no-untyped-call]
    return gated


def _weights_of(block: ResidualBlock) -> list[Tensor | None]:
    conv, residual = block.conv.linear, block.residual
    last = [None, None] if residual is None else [residual.weight, residual.bias]
    return [conv.weight, conv.bias, *last]


def _make_block(block: ResidualBlock, dtype: torch.dtype) -> Block:
    conv, channels = block.conv, block.conv.linear.in_features // block.conv.kernel_size
    cast: list[Any] = [w if w is None else w.detach().to(dtype) for w in _weights_of(block)]
    taps = [
        ((conv.kernel_size - 1 - k) * conv.dilation, slice(k * channels, (k + 1) * channels))
        for k in range(conv.kernel_size - 1)
    ]
    weight, bias, residual, residual_bias = cast
    return Block(weight, bias, residual, residual_bias, taps)


def _reach(blocks: list[Block], samples: int) -> int:
    """Give how far back the taps reach that reach into a clip at all."""
    return max((back for block in blocks for back, _ in block.taps if back < samples), default=0)


def _gate_backward(dz: Tensor, ab: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Write the gradient (T, 2 G) of what the gate read; ab: tanh and σ of it."""
    (a, b), (da, db) = ab.chunk(2, dim=1), out.chunk(2, dim=1)
    torch.mul(dz, b, out=scratch)
    torch.ops.aten.tanh_backward.grad_input(scratch, a, grad_input=da)
    torch.mul(dz, a, out=scratch)
    torch.ops.aten.sigmoid_backward.grad_input(scratch, b, grad_input=db)
