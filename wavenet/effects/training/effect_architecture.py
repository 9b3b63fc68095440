"""The architectures of effects that are trained here, as settings: by name, or by their sizes.

Input: settings of a recipe or of the folder of an effect. Output: a `FeedForwardShape`. Called by
`trained_effect`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavenet.config import StrictConfig
from wavenet.effects.effect_shapes import (
    EffectActivation,
    EffectLayerShape,
    FeedForwardShape,
    GatingMode,
    LayerArrayShape,
)
from wavenet.effects.nam_weights import MAX_WEIGHTS, count_weights
from wavenet.effects.standard_shapes import HEAD_SCALES, make_standard_shape

MAX_RECEPTIVE_FIELD = 1 << 17  # samples

ArchitectureName = Literal["standard", "lite", "feather", "nano", "a2-full", "a2-lite", "custom"]


class ArraySizes(StrictConfig):
    """Layers of equal width.

    Attributes:
        channels: width.
        dilations: one per layer.
        kernel_size: of every convolution.
    """

    channels: int = Field(ge=1, le=256)
    dilations: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        min_length=1, max_length=64
    )
    kernel_size: int = Field(default=3, ge=1, le=64)


class EffectArchitecture(StrictConfig):
    """A standard model of Neural Amp Modeler, or arrays of other sizes.

    Attributes:
        kind: name of the standard model, or custom.
        head_scale: constant factor of the output; None for that of the standard model.
        arrays: of a custom model, in their order; the head of an array has the width of the next.
        activation: of all layers of a custom model.
        gating: of all layers of a custom model; the second half is a sigmoid.
    """

    kind: ArchitectureName = "standard"
    head_scale: float | None = Field(default=None, gt=0, le=100)
    arrays: tuple[ArraySizes, ...] = Field(default=(), max_length=8)
    activation: Literal["Tanh", "ReLU", "LeakyReLU", "SiLU", "Hardtanh", "Softsign"] = "Tanh"
    gating: GatingMode = "none"

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if self.kind != "custom":
            if self.arrays or self.gating != "none" or self.activation != "Tanh":
                raise ValueError(
                    f"arrays, activation and gating need the kind custom, found {self.kind}"
                )
            return self
        if not self.arrays:
            raise ValueError("the kind custom needs arrays, found none")
        weights, field = count_weights(self.shape), self.shape.own_receptive_field
        if weights > MAX_WEIGHTS or field > MAX_RECEPTIVE_FIELD:
            raise ValueError(
                f"expected at most {MAX_WEIGHTS:,} weights and a receptive field of at most "
                f"{MAX_RECEPTIVE_FIELD:,} samples, found {weights:,} and {field:,}"
            )
        return self

    @property
    def output_factor(self) -> float:
        """The constant factor of the output."""
        standard = HEAD_SCALES.get(self.kind, HEAD_SCALES["standard"])
        return standard if self.head_scale is None else self.head_scale

    @property
    def shape(self) -> FeedForwardShape:
        """Sizes of all layers, without knobs."""
        if self.kind != "custom":
            return make_standard_shape(self.kind)
        return FeedForwardShape(tuple(self._array_shape(n) for n in range(len(self.arrays))))

    def _array_shape(self, index: int) -> LayerArrayShape:
        sizes, is_last = self.arrays[index], index == len(self.arrays) - 1
        activation = EffectActivation(self.activation)
        return LayerArrayShape(
            input_size=self.arrays[index - 1].channels if index else 1,
            condition_size=1,
            channels=sizes.channels,
            bottleneck=sizes.channels,
            layers=tuple(
                EffectLayerShape(sizes.kernel_size, dilation, activation, self.gating)
                for dilation in sizes.dilations
            ),
            head_size=1 if is_last else self.arrays[index + 1].channels,
            head_bias=is_last,
        )
