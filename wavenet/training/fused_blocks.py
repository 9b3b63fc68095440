"""The residual blocks of a WaveNet on a CPU, for one clip, as one autograd function.

Input: codes and conditioning of one clip. Output: the gated outputs of all layers. The arithmetic
is that of `WaveNet.hidden_states`, which remains the definition. This is faster because taps are
not copied side by side, results are written in place, and one clip at a time fits into the cache.
Tests check that outputs and gradients equal those of the definition. Called by `cpu_loss`.

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


class BlockWeights(NamedTuple):
    """Weights of a residual block in the dtype of the matrix products.

    Attributes:
        weight, bias: of the convolution; residual, residual_bias: None in the last block.
        past_taps: for each past tap, its delay in samples and its columns of `weight`.
    """

    weight: Tensor
    bias: Tensor
    residual: Tensor | None
    residual_bias: Tensor | None
    past_taps: list[tuple[int, slice]]


class _FusedBlocks(torch.autograd.Function):
    """x (T, R) and biases (L, T, 2 G) or None -> gated outputs of all layers (T, L * G).

    `weights` are the parameters of the blocks, four per block; they receive the gradients. Tensors
    saved for the backward pass have the dtype of the blocks. The residual stream and all gradients
    except that of the biases have the dtype of x.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        biases: Tensor | None,
        blocks: list[BlockWeights],
        *weights: Tensor | None,
    ) -> Tensor:
        samples, channels = x.shape
        gate = blocks[0].weight.shape[0] // 2
        past = _longest_delay(blocks, samples)
        scratch = x.new_empty(samples, gate)
        x = x.clone()
        saved, gated = [], []
        for n, block in enumerate(blocks):
            inputs = block.weight.new_empty(past + samples, channels)
            inputs[:past] = 0  # zeros before the clip
            inputs[past:] = x
            ab = torch.addmm(block.bias, inputs[past:], block.weight[:, -channels:].t())
            for delay, columns in block.past_taps:
                if delay < samples:
                    old = inputs[past - delay : past - delay + samples]
                    ab.addmm_(old, block.weight[:, columns].t())
            if biases is not None:
                ab.add_(biases[n])
            a, b = ab.chunk(2, dim=1)
            # tanh(a) = 2 σ(2 a) - 1: torch.tanh is several times slower on a CPU
            a.copy_(scratch.copy_(a).mul_(2).sigmoid_().mul_(2).sub_(1))
            z = a * b.sigmoid_()
            if block.residual is not None and block.residual_bias is not None:
                x.add_(torch.addmm(block.residual_bias, z, block.residual.t()))
            gated.append(z)
            saved += [inputs, ab, z]
        ctx.blocks, ctx.has_biases = blocks, biases is not None
        ctx.dtype = x.dtype
        ctx.save_for_backward(*saved)
        return torch.cat(gated, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_gated: Tensor) -> tuple[Any, ...]:
        saved = ctx.saved_tensors
        blocks: list[BlockWeights] = ctx.blocks
        (samples, gate), channels = saved[2].shape, saved[0].shape[1]
        past = _longest_delay(blocks, samples)
        dx = torch.zeros(samples, channels, dtype=ctx.dtype)
        layers = len(blocks) if ctx.has_biases else 1
        d_biases = d_gated.new_empty(layers, samples + past, 2 * gate)
        d_biases[:, samples:] = 0  # zeros after the clip
        scratch, ones = d_gated.new_empty(samples, gate), d_gated.new_ones(1, samples)
        grads: list[Tensor | None] = []
        for n in reversed(range(len(blocks))):
            block, (inputs, ab, z) = blocks[n], saved[3 * n : 3 * n + 3]
            dz = d_gated[:, n * gate : (n + 1) * gate]
            d_residual: list[Tensor | None] = [None, None]
            if block.residual is not None:
                d_output = dx.to(z.dtype)
                dz = torch.addmm(dz, d_output, block.residual)
                d_residual = [d_output.t() @ z, (ones @ d_output)[0]]
            d_ab_padded = d_biases[n % layers]
            d_ab = d_ab_padded[:samples]
            _gate_backward(dz, ab, scratch, d_ab)
            d_weight = torch.zeros_like(block.weight)
            torch.mm(d_ab.t(), inputs[past:], out=d_weight[:, -channels:])
            d_inputs = d_ab @ block.weight[:, -channels:]
            for delay, columns in block.past_taps:
                if delay < samples:
                    old = inputs[past - delay : past - delay + samples]
                    torch.mm(d_ab.t(), old, out=d_weight[:, columns])
                    d_inputs.addmm_(d_ab_padded[delay : delay + samples], block.weight[:, columns])
            dx.add_(d_inputs)
            grads = [d_weight, (ones @ d_ab)[0], *d_residual, *grads]
        grads = [g if g is None else g.to(dx.dtype) for g in grads]
        return (dx, d_biases[:, :samples] if ctx.has_biases else None, None, *grads)


def cast_blocks(model: WaveNet, dtype: torch.dtype) -> list[BlockWeights]:
    """Cast the weights of all blocks to the dtype of the matrix products, once per batch."""
    return [_cast_block(block, dtype) for block in model.blocks]


def fused_hidden_states(
    model: WaveNet,
    blocks: list[BlockWeights],
    codes: Tensor,
    conditioning: Conditioning,
    start: int,
) -> Tensor:
    """Compute the gated outputs of all layers for one clip, the input of the output layers.

    Args:
        model: on the CPU; blocks: from `cast_blocks`.
        codes: (T,) int64, input codes.
        conditioning: of this clip only.
        start: as in `WaveNet.forward`, of this clip.
    Returns:
        (T, L * G) in the dtype of the blocks: equal to `WaveNet.hidden_states` up to rounding.
    """
    hop, samples, dtype = model.config.condition_hop, codes.numel(), blocks[0].weight.dtype
    inputs = F.pad(codes[:-1], (1, 0), value=model.start_code)
    x = model.embedding(inputs).to(model.skip.weight.dtype)
    first = torch.tensor([start // hop])
    frames = conditioning.biases(first, frames_needed(start % hop, samples, hop))
    biases = None
    if frames is not None:
        biases = interpolate(frames[0].transpose(0, 1), start % hop, samples, hop).to(dtype)
    weights = [w for block in model.blocks for w in _block_parameters(block)]
    gated: Tensor = _FusedBlocks.apply(x, biases, blocks, *weights)  # type: ignore[no-untyped-call]
    return gated


def _block_parameters(block: ResidualBlock) -> list[Tensor | None]:
    conv, residual = block.conv.linear, block.residual
    residual_part = [None, None] if residual is None else [residual.weight, residual.bias]
    return [conv.weight, conv.bias, *residual_part]


def _cast_block(block: ResidualBlock, dtype: torch.dtype) -> BlockWeights:
    conv, channels = block.conv, block.conv.linear.in_features // block.conv.kernel_size
    cast: list[Any] = [w if w is None else w.detach().to(dtype) for w in _block_parameters(block)]
    past_taps = [
        ((conv.kernel_size - 1 - k) * conv.dilation, slice(k * channels, (k + 1) * channels))
        for k in range(conv.kernel_size - 1)
    ]
    weight, bias, residual, residual_bias = cast
    return BlockWeights(weight, bias, residual, residual_bias, past_taps)


def _longest_delay(blocks: list[BlockWeights], samples: int) -> int:
    """Return the longest tap delay below the length of the clip."""
    delays = (delay for block in blocks for delay, _ in block.past_taps)
    return max((delay for delay in delays if delay < samples), default=0)


def _gate_backward(dz: Tensor, ab: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Write the gradient (T, 2 G) of the gate's input; ab: its tanh and σ."""
    (a, b), (da, db) = ab.chunk(2, dim=1), out.chunk(2, dim=1)
    torch.mul(dz, b, out=scratch)
    torch.ops.aten.tanh_backward.grad_input(scratch, a, grad_input=da)
    torch.mul(dz, a, out=scratch)
    torch.ops.aten.sigmoid_backward.grad_input(scratch, b, grad_input=db)
