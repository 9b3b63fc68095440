"""Effects that contain effects: one in several sizes, and a series.

A choice of sizes runs one part, the largest by default. A series feeds the output of each part to
the next. `slim_model` reduces the width of a WaveNet that was trained for it. Source:
NeuralAmpModelerCore `container.cpp`, `sequential.cpp`, `slimmable.cpp`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from wavenet.effects.effect import Effect, EffectState, inner_state
from wavenet.effects.effect_shapes import FeedForwardShape, LayerArrayShape, SizeChoiceShape
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import Weights, join_weights, weight_specs
from wavenet.errors import ConfigError


class _Container(Effect):
    """What both containers share: no weights of their own."""

    def load_tensors(self, tensors: dict[str, Weights]) -> None:
        """Do nothing: the parts have the weights."""

    def tensors(self) -> dict[str, Weights]:
        """Return nothing: the parts have the weights."""
        return {}


class SizeChoice(_Container):
    """One effect in several sizes; one of them runs.

    Args:
        shape: limits of the sizes.
        parts: effects, smallest first.
        size: from 0 to 1; None for the largest.
    """

    def __init__(self, shape: SizeChoiceShape, parts: Sequence[Effect], size: float | None = None):
        chosen = parts[shape.select(size)]
        super().__init__(
            *(chosen.in_channels, chosen.out_channels),
            *(chosen.receptive_field, chosen.warm_up),
        )
        self.parts = nn.ModuleList(parts)
        self.chosen = shape.select(size)

    @property
    def active(self) -> Effect:
        """The part that runs."""
        part = self.parts[self.chosen]
        assert isinstance(part, Effect)
        return part

    def zero_state(self, batch: int = 1) -> EffectState:
        """See `Effect.zero_state`."""
        return self.active.zero_state(batch)

    def initial_state(self, batch: int = 1) -> EffectState:
        """See `Effect.initial_state`."""
        return self.active.initial_state(batch)

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        return self.active.process(state, block)


class EffectSeries(_Container):
    """Effects that run one after the other."""

    def __init__(self, parts: Sequence[Effect]):
        fields = [part.receptive_field for part in parts]
        known = [field for field in fields if field is not None]
        field = 1 + sum(f - 1 for f in known) if len(known) == len(fields) else None
        warm_up = sum(part.warm_up for part in parts)
        super().__init__(parts[0].in_channels, parts[-1].out_channels, field, warm_up)
        self.parts = nn.ModuleList(parts)

    def zero_state(self, batch: int = 1) -> EffectState:
        """See `Effect.zero_state`: the states of the parts."""
        return tuple(part.zero_state(batch) for part in self._effects())

    def process(self, state: EffectState, block: Tensor) -> tuple[Tensor, EffectState]:
        """See `Effect.process`."""
        after = []
        for index, part in enumerate(self._effects()):
            block, kept = part.process(inner_state(state, index), block)
            after.append(kept)
        return block, tuple(after)

    def _effects(self) -> list[Effect]:
        return [part for part in self.parts if isinstance(part, Effect)]


def slim_model(model: NamModel, ratio: float) -> NamModel:
    """Return a narrower model: the first rows and columns of every tensor of a slimmable WaveNet.

    Args:
        model: whose arrays have `allowed_channels`.
        ratio: from 0, the narrowest, to 1, the whole model.
    Raises:
        ConfigError: the model cannot be reduced.
    """
    shape = model.shape
    if not isinstance(shape, FeedForwardShape) or not any(a.allowed_channels for a in shape.arrays):
        raise ConfigError("this model is not slimmable; expected a WaveNet with allowed_channels")
    if shape.post_head or any(_has_groups(array) for array in shape.arrays):
        raise ConfigError(
            "this model cannot be slimmed: it has groups, a head of several taps or a post-stack "
            "head; use it at full size"
        )
    widths = [_pick_width(array, ratio) for array in shape.arrays]
    arrays = []
    for index, (array, width) in enumerate(zip(shape.arrays, widths, strict=True)):
        is_last = index == len(widths) - 1
        with_1x1 = array.layer1x1_groups is not None
        bottleneck = max(1, array.bottleneck * width // array.channels) if with_1x1 else width
        slim = replace(
            array,
            input_size=array.input_size if index == 0 else widths[index - 1],
            channels=width,
            bottleneck=bottleneck,
            head_size=array.head_size if is_last else widths[index + 1],
            allowed_channels=(),
        )
        arrays.append(slim)
    slim_shape = replace(shape, arrays=tuple(arrays))
    full = model.tensors()
    tensors = {
        spec.name: full[spec.name][tuple(slice(size) for size in spec.sizes)]
        for spec in weight_specs(slim_shape)
    }
    return replace(model, shape=slim_shape, weights=join_weights(slim_shape, tensors))


def _pick_width(array: LayerArrayShape, ratio: float) -> int:
    allowed = array.allowed_channels or (array.channels,)
    return allowed[min(math.floor(ratio * len(allowed)), len(allowed) - 1)]


def _has_groups(array: LayerArrayShape) -> bool:
    groups = [array.groups_input, array.groups_input_mixin, array.head1x1_groups]
    groups += [array.layer1x1_groups or 1, array.head_kernel_size]
    groups += [film.groups for film in array.films if film]
    return max(groups) > 1
