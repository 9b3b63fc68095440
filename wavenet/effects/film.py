"""Feature-wise linear modulation (FiLM): x * scale + shift, both linear in the condition.

    [scale, shift] = W cond + b

In an effect the condition is the waveform itself, so a FiLM makes a layer depend on it by products.
Source: Perez et al. 2018, section 2.
"""

from torch import Tensor, nn

from wavenet.effects.effect_shapes import FilmShape
from wavenet.effects.grouped_convolution import GroupedConvolution


class FilmLayer(nn.Module):
    """Modulation of `width` channels.

    Args:
        shape: whether there is a shift, and groups.
        condition_size: channels of the condition.
        width: channels that are modulated.
    """

    def __init__(self, shape: FilmShape, condition_size: int, width: int):
        super().__init__()
        self.has_shift = shape.has_shift
        outputs = 2 * width if shape.has_shift else width
        self.linear = GroupedConvolution(condition_size, outputs, groups=shape.groups)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """Modulate x (B, T, width) by the condition (B, T, condition_size)."""
        factors: Tensor = self.linear(condition)
        if not self.has_shift:
            return x * factors
        scale, shift = factors.chunk(2, dim=2)
        return x * scale + shift
