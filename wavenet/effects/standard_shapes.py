"""Shapes that guitarists know by name: the standard models of Neural Amp Modeler.

A1 has two arrays of kernel 3 with tanh and a receptive field of 4,093 samples; A2 has one array of
kernels 6 and 15, LeakyReLU, and 6,347 samples, at 48 kHz 85 and 132 ms. Called by training.
Source: neural-amp-modeler, `train/core.py`; NeuralAmpModelerCore, `a2_fast.h`.
"""

from wavenet.effects.effect_shapes import (
    TANH,
    EffectActivation,
    EffectLayerShape,
    FeedForwardShape,
    LayerArrayShape,
)

_OCTAVES = tuple(2**i for i in range(10))
# per name: channels of both arrays, and their dilations
_A1 = {
    "standard": ((16, 8), (_OCTAVES, _OCTAVES)),
    "lite": ((12, 6), (_OCTAVES[:7], (*_OCTAVES[7:], *_OCTAVES))),
    "feather": ((8, 4), (_OCTAVES[:7], (*_OCTAVES[7:], *_OCTAVES))),
    "nano": ((4, 2), (_OCTAVES[:7], (*_OCTAVES[7:], *_OCTAVES))),
}
_A2_CHANNELS = {"a2-full": 8, "a2-lite": 3}
_A2_CYCLE = (1, 3, 7, 17, 41, 101, 239)
_A2_DILATIONS = (*_A2_CYCLE, *_A2_CYCLE, 1, 13, *_A2_CYCLE)
_A2_KERNELS = (*(6,) * 14, 15, 15, *(6,) * 7)
STANDARD_NAMES = (*_A1, *_A2_CHANNELS)
HEAD_SCALES = {"standard": 0.02, "lite": 0.02, "feather": 0.02, "nano": 0.02} | dict.fromkeys(
    _A2_CHANNELS, 0.01
)


def make_standard_shape(name: str) -> FeedForwardShape:
    """Return a shape by its name in `STANDARD_NAMES`."""
    if name in _A2_CHANNELS:
        return _make_a2(_A2_CHANNELS[name])
    (first, second), dilations = _A1[name]
    arrays = (
        LayerArrayShape(1, 1, first, first, _make_layers(dilations[0]), second),
        LayerArrayShape(first, 1, second, second, _make_layers(dilations[1]), 1, head_bias=True),
    )
    return FeedForwardShape(arrays)


def _make_layers(dilations: tuple[int, ...]) -> tuple[EffectLayerShape, ...]:
    return tuple(EffectLayerShape(3, dilation, TANH) for dilation in dilations)


def _make_a2(channels: int) -> FeedForwardShape:
    leaky = EffectActivation("LeakyReLU", (0.01,))
    layers = tuple(
        EffectLayerShape(kernel, dilation, leaky)
        for kernel, dilation in zip(_A2_KERNELS, _A2_DILATIONS, strict=True)
    )
    array = LayerArrayShape(
        *(1, 1, channels, channels, layers, 1), head_kernel_size=16, head_bias=True
    )
    return FeedForwardShape((array,))
