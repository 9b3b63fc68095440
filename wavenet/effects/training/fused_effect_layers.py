"""The layers of a plain feed-forward WaveNet for one window, each as one autograd function.

Input: the dry samples of a window and constant knob channels. Output: the valid outputs, those
whose receptive field is in the window. The arithmetic is that of `FeedForwardWaveNet`, which
remains the definition. This is about twice as fast: taps are not copied side by side, results are
written in place, layers compute no output that nothing reads, and the sum of the heads has the
length of the result. Tests compare outputs and gradients. Called by `train_effect` for networks
that `supports_fused_layers` accepts: no gates, FiLMs, groups or head1x1, as in A1 and A2.

Shapes: T samples of the input of a layer, n of its output, N of the head sum; C channels, G outputs
of the convolution, K taps.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from wavenet.effects.feedforward_wavenet import EffectLayer, FeedForwardWaveNet, LayerArray
from wavenet.effects.grouped_convolution import GroupedConvolution
from wavenet.model.layers import CausalConv1d

_ACTIVATIONS = ("Tanh", "ReLU", "LeakyReLU")


class _FusedLayer(torch.autograd.Function):
    """y (T, C), head (N, G), waveform (T0, 1) -> y (n, C) of the next layer, head plus activations.

    `bias` includes what the knobs add. The head sum is changed in place.
    """

    @staticmethod
    def forward(
        ctx: Any,
        y: Tensor,
        head: Tensor,
        waveform: Tensor,
        weight: Tensor,
        bias: Tensor,
        mixin: Tensor,
        residual: Tensor,
        residual_bias: Tensor,
        dilation: int,
        slope: float | None,
        is_last: bool,
    ) -> tuple[Tensor, Tensor]:
        channels = y.shape[1]
        taps = weight.shape[1] // channels
        samples = len(y) - (taps - 1) * dilation
        a = torch.addmm(bias, waveform[len(waveform) - samples :], mixin.t())
        for tap in range(taps):
            inputs = y[tap * dilation : tap * dilation + samples]
            a.addmm_(inputs, weight[:, tap * channels : (tap + 1) * channels].t())
        if slope is None:
            a.tanh_()
        else:
            torch.nn.functional.leaky_relu_(a, slope)
        head.add_(a[samples - len(head) :])
        ctx.mark_dirty(head)
        after = y.new_empty(0)
        if not is_last:
            after = torch.addmm(residual_bias, a, residual.t())
            after.add_(y[len(y) - samples :])
        ctx.save_for_backward(y, waveform, weight, residual, a)
        ctx.dilation, ctx.slope, ctx.is_last = dilation, slope, is_last
        return after, head

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_after: Tensor, grad_head: Tensor) -> tuple[Tensor | None, ...]:
        y, waveform, weight, residual, a = ctx.saved_tensors
        samples, channels = len(a), y.shape[1]
        taps = weight.shape[1] // channels
        grad_residual = grad_residual_bias = None
        if ctx.is_last:
            grad_a = a.new_zeros(a.shape)
        else:
            grad_a = grad_after @ residual
            grad_residual, grad_residual_bias = grad_after.t() @ a, grad_after.sum(0)
        grad_a[samples - len(grad_head) :] += grad_head
        if ctx.slope is None:
            grad_z = torch.ops.aten.tanh_backward(grad_a, a)
        else:
            grad_z = torch.ops.aten.leaky_relu_backward(grad_a, a, ctx.slope, True)
        grad_y, transposed = torch.zeros_like(y), grad_z.t()
        if not ctx.is_last:
            grad_y[len(y) - samples :] = grad_after
        grads = []
        for tap in range(taps):
            part = slice(tap * ctx.dilation, tap * ctx.dilation + samples)
            columns = slice(tap * channels, (tap + 1) * channels)
            grads.append(transposed @ y[part])
            grad_y[part].addmm_(grad_z, weight[:, columns])
        grad_mixin = transposed @ waveform[len(waveform) - samples :]
        return (
            *(grad_y, grad_head, None, torch.cat(grads, dim=1), grad_z.sum(0), grad_mixin),
            *(grad_residual, grad_residual_bias, None, None, None),
        )


def supports_fused_layers(network: FeedForwardWaveNet) -> bool:
    """Return whether `fused_valid_outputs` can compute a network."""
    shape = network.shape
    is_plain = network.condition is None and shape.post_head is None and shape.in_channels == 1
    return is_plain and all(
        array.groups_input == array.groups_input_mixin == array.layer1x1_groups == 1
        and array.head1x1_size is None
        and not any(array.films)
        and array.bottleneck == array.channels
        and all(
            layer.gating == "none"
            and layer.activation.kind in _ACTIVATIONS
            and len(layer.activation.slopes) == 1
            for layer in array.layers
        )
        for array in shape.arrays
    )


def fused_valid_outputs(
    network: FeedForwardWaveNet, waveform: Tensor, constants: Tensor | None
) -> Tensor:
    """Return the outputs whose whole receptive field is in the waveform.

    Args:
        network: one that `supports_fused_layers` accepts.
        waveform: (T,), T at least the receptive field.
        constants: (knob_channels,) or None.
    Returns:
        (T - receptive_field + 1,).
    """
    arrays = [array for array in network.arrays if isinstance(array, LayerArray)]
    waveform = waveform[:, None]
    needed = len(waveform) - network.shape.own_receptive_field + 1
    # samples of the head sum of each array: what the heads after it read
    lengths = [needed]
    for array in reversed(arrays):
        lengths.append(lengths[-1] + array.head.past_samples)
    y, head = waveform, None
    for n, array in enumerate(arrays):
        y = y @ _linear_weight(array.rechannel).t()
        length = lengths[len(arrays) - n]
        layers = list(array.effect_layers())
        if head is None:
            head = y.new_zeros(length, array.head.in_channels)
        for index, layer in enumerate(layers):
            is_last = n == len(arrays) - 1 and index == len(layers) - 1
            y, head = _compute_layer(layer, y, head, waveform, constants, is_last)
        head = _compute_head(array.head, head)
    assert head is not None
    return head[:, 0] * network.get_buffer("head_scale")


def _compute_layer(
    layer: EffectLayer,
    y: Tensor,
    head: Tensor,
    waveform: Tensor,
    constants: Tensor | None,
    is_last: bool,
) -> tuple[Tensor, Tensor]:
    conv, mixin = _linear(layer.conv), _linear_weight(layer.mixin)
    assert layer.layer1x1 is not None
    residual = _linear(layer.layer1x1)
    bias: Tensor = conv.bias
    if constants is not None:
        bias = bias + mixin[:, 1:] @ constants
    activation = layer.shape.activation
    slopes = {"Tanh": None, "ReLU": 0.0, "LeakyReLU": activation.slopes[0]}
    found: tuple[Tensor, Tensor] = _FusedLayer.apply(  # type: ignore[no-untyped-call]
        y,
        head,
        waveform,
        conv.weight,
        bias,
        mixin[:, :1],
        residual.weight,
        residual.bias,
        layer.conv.dilation,
        slopes[activation.kind],
        is_last,
    )
    return found


def _compute_head(conv: GroupedConvolution, head: Tensor) -> Tensor:
    """Return the valid outputs of a head convolution: (N, in) to (N - past, out)."""
    linear = _linear(conv)
    samples = len(head) - conv.past_samples
    taps = [head[k * conv.dilation : k * conv.dilation + samples] for k in range(conv.kernel_size)]
    return torch.nn.functional.linear(
        taps[0] if len(taps) == 1 else torch.cat(taps, dim=1), linear.weight, linear.bias
    )


def _linear(conv: GroupedConvolution) -> torch.nn.Linear:
    inner = conv.convs[0]
    assert isinstance(inner, CausalConv1d)
    return inner.linear


def _linear_weight(conv: GroupedConvolution) -> Tensor:
    weight: Tensor = _linear(conv).weight
    return weight
