"""The residual blocks of one clip as a single function with a backward pass of its own, for a CPU.

The arithmetic is that of `WaveNet.layers`, which stays the definition. It is faster because no taps
are copied side by side, work goes on in place, a clip at a time stays in the cache, and padding is
not computed. Equality with the definition, gradients included, is tested.

Shapes: T samples of a clip, R residual channels, G gate channels of each half, L layers, K taps.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from wavenet.model.conditioning import Conditioning, frames_needed, interpolate
from wavenet.model.layers import ResidualBlock
from wavenet.model.wavenet import WaveNet

ROWS = 128  # clips are counted in so many samples: a product of a new size is first compiled


class _Block(NamedTuple):
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
        ctx: Any, x: Tensor, biases: Tensor | None, blocks: list[_Block], *weights: Tensor | None
    ) -> Tensor:
        samples, channels = x.shape
        gate = blocks[0].weight.shape[0] // 2
        past = _reach(blocks, samples)
        gated = blocks[0].weight.new_empty(samples, len(blocks) * gate)
        wide = x.new_empty(samples, gate)
        x = x.clone()
        kept = []
        for n, block in enumerate(blocks):
            entering = gated.new_empty(past + samples, channels)
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
            z = torch.mul(a, b.sigmoid_(), out=gated[:, n * gate : (n + 1) * gate])
            if block.residual is not None and block.residual_bias is not None:
                x.add_(torch.addmm(block.residual_bias, z, block.residual.t()))
            kept += [entering, ab]
        ctx.blocks, ctx.has_biases = blocks, biases is not None
        ctx.wide = x.dtype
        ctx.save_for_backward(gated, *kept)
        return gated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_gated: Tensor) -> tuple[Any, ...]:
        gated, *kept = ctx.saved_tensors
        blocks: list[_Block] = ctx.blocks
        samples, channels, gate = len(gated), kept[0].shape[1], kept[1].shape[1] // 2
        past = _reach(blocks, samples)
        dx = torch.zeros(samples, channels, dtype=ctx.wide)
        layers = len(blocks) if ctx.has_biases else 1
        d_biases = gated.new_empty(layers, samples + past, 2 * gate)
        d_biases[:, samples:] = 0  # behind the clip
        scratch, ones = gated.new_empty(samples, gate), gated.new_ones(1, samples)
        grads: list[Tensor | None] = []
        for n in reversed(range(len(blocks))):
            block, entering, (a, b) = blocks[n], kept[2 * n], kept[2 * n + 1].chunk(2, dim=1)
            columns = slice(n * gate, (n + 1) * gate)
            dz = d_gated[:, columns]
            of_residual: list[Tensor | None] = [None, None]
            if block.residual is not None:
                leaving = dx.to(gated.dtype)
                dz = torch.addmm(dz, leaving, block.residual)
                of_residual = [leaving.t() @ gated[:, columns], (ones @ leaving)[0]]
            later = d_biases[n % layers]
            d_ab = later[:samples]
            _gate_backward(dz, a, b, scratch, d_ab)
            d_weight = torch.zeros_like(block.weight)
            torch.mm(d_ab.t(), entering[past:], out=d_weight[:, -channels:])
            dx.add_(d_ab @ block.weight[:, -channels:])
            for back, tap in block.taps:
                if back < samples:
                    old = entering[past - back : past - back + samples]
                    torch.mm(d_ab.t(), old, out=d_weight[:, tap])
                    dx.add_(later[back : back + samples] @ block.weight[:, tap])
            grads = [d_weight, (ones @ d_ab)[0], *of_residual, *grads]
        grads = [g if g is None else g.to(dx.dtype) for g in grads]
        return (dx, d_biases[:, :samples] if ctx.has_biases else None, None, *grads)


def gated_outputs(
    model: WaveNet,
    codes: Tensor,
    conditioning: Conditioning,
    start: Tensor,
    lengths: Sequence[int],
) -> Iterator[Tensor]:
    """Compute what the post-net reads, clip by clip; under autocast in its type.

    Args:
        model: on the CPU.
        codes: (B, T) int64, the recordings themselves; conditioning, start: as in `WaveNet`.
        lengths: per clip, how many samples are wanted, 1 to T.
    Yields:
        (length, L * G) per clip: `WaveNet.layers` of the same, up to rounding.
    """
    hop = model.config.condition_hop
    wide = model.skip.weight.dtype
    narrow = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else wide
    weights = [w for block in model.blocks for w in _weights_of(block)]
    blocks = [_make_block(block, narrow) for block in model.blocks]
    inputs = F.pad(codes[:, :-1], (1, 0), value=model.start_code)
    leads = (start % hop).tolist()
    needed = [frames_needed(lead, n, hop) for lead, n in zip(leads, lengths, strict=True)]
    frames = conditioning.frames(start // hop, max(needed))
    for n, length in enumerate(lengths):
        x = model.embedding(inputs[n, :length]).to(wide)
        biases = None
        if frames is not None:
            by_layer = frames[n, : needed[n]].transpose(0, 1)
            biases = interpolate(by_layer, leads[n], length, hop).to(narrow)
        gated: Tensor = _Stack.apply(x, biases, blocks, *weights)  # type: ignore[no-untyped-call]
        yield gated


def _weights_of(block: ResidualBlock) -> list[Tensor | None]:
    conv, residual = block.conv.linear, block.residual
    last = [None, None] if residual is None else [residual.weight, residual.bias]
    return [conv.weight, conv.bias, *last]


def _make_block(block: ResidualBlock, dtype: torch.dtype) -> _Block:
    conv, channels = block.conv, block.conv.linear.in_features // block.conv.kernel_size
    cast: list[Any] = [w if w is None else w.detach().to(dtype) for w in _weights_of(block)]
    taps = [
        ((conv.kernel_size - 1 - k) * conv.dilation, slice(k * channels, (k + 1) * channels))
        for k in range(conv.kernel_size - 1)
    ]
    weight, bias, residual, residual_bias = cast
    return _Block(weight, bias, residual, residual_bias, taps)


def _reach(blocks: list[_Block], samples: int) -> int:
    """Give how far back the taps reach that reach into a clip at all."""
    return max((back for block in blocks for back, _ in block.taps if back < samples), default=0)


def _gate_backward(dz: Tensor, a: Tensor, b: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Write the gradient (T, 2 G) of what the gate read; a, b: tanh and σ that it gave."""
    da, db = out.chunk(2, dim=1)
    torch.mul(dz, b, out=scratch)
    torch.ops.aten.tanh_backward.grad_input(scratch, a, grad_input=da)
    torch.mul(dz, a, out=scratch)
    torch.ops.aten.sigmoid_backward.grad_input(scratch, b, grad_input=db)
