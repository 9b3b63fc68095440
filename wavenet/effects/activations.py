"""Activation functions of effects, in torch. Formulas as in NeuralAmpModelerCore `activations.h`.

    Softsign       x / (1 + |x|)
    LeakyHardtanh  x inside [low, high]; outside, the end plus a slope times the distance from it
    Fasttanh       x (a + a|x| + (b + c|x|) x^2) / (d + (d + x^2) |x + e x|x||), close to tanh

Called by the torch modules of this package.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from wavenet.effects.effect_shapes import EffectActivation

# a, b, c, d, e of Fasttanh
FASTTANH = (2.45550750702956, 0.893229853513558, 0.821226666969744, 2.44506634652299, 0.814642734961073)  # fmt: skip  # noqa: E501


def _fasttanh(x: Tensor) -> Tensor:
    a, b, c, d, e = FASTTANH
    size, square = x.abs(), x * x
    numerator = x * (a + a * size + (b + c * size) * square)
    return numerator / (d + (d + square) * (x + e * x * size).abs())


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    "Tanh": torch.tanh,
    "Hardtanh": F.hardtanh,
    "Fasttanh": _fasttanh,
    "ReLU": F.relu,
    "Sigmoid": torch.sigmoid,
    "SiLU": F.silu,
    "Hardswish": F.hardswish,
    "Softsign": F.softsign,
}


def apply_activation(activation: EffectActivation, x: Tensor) -> Tensor:
    """Return the activation of x: (..., channels)."""
    if activation.kind in ("LeakyReLU", "PReLU"):
        slopes = x.new_tensor(activation.slopes)
        return torch.where(x > 0, x, x * slopes)
    if activation.kind == "LeakyHardtanh":
        inside = x.clamp(activation.low, activation.high)
        below = (x - activation.low).clamp(max=0) * activation.low_slope
        above = (x - activation.high).clamp(min=0) * activation.high_slope
        return inside + below + above
    return PLAIN[activation.kind](x)
