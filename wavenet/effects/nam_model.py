"""A model of an effect with its weights: plain data, checked, without torch.

`nam_file` reads and writes it; `effect_builder` makes a torch module of it; engines read it. Parts
are the models of a container, or the one model that computes the condition of a WaveNet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from wavenet.effects.effect_shapes import (
    ARCHITECTURES_BY_SHAPE,
    DEFAULT_RATE,
    LSTM_WARM_UP_SECONDS,
    ConvNetShape,
    EffectShape,
    FeedForwardShape,
    ImpulseResponseShape,
    RecurrentShape,
    SeriesShape,
    SizeChoiceShape,
)
from wavenet.effects.nam_weights import Weights, split_weights


@dataclass(frozen=True)
class NamModel:
    """An effect: shape, weights, and what its file says about it.

    Attributes:
        shape: kind and sizes.
        weights: (count,) float32, in the order of `nam_weights`; empty in a container.
        parts: the models inside: of a container, or the condition of a WaveNet.
        sample_rate: Hz; None if the file does not say it.
        version: of the format, as in the file.
        metadata: free text and numbers about the device, unchanged.
    """

    shape: EffectShape
    weights: Weights = field(default_factory=lambda: np.zeros(0, np.float32))
    parts: tuple["NamModel", ...] = ()
    sample_rate: float | None = None
    version: str = "0.5.4"
    metadata: Mapping[str, Any] | None = None

    @property
    def architecture(self) -> str:
        """Name of the architecture in the file."""
        return ARCHITECTURES_BY_SHAPE[type(self.shape)]

    @property
    def rate(self) -> float:
        """Sample rate of the model, Hz; `DEFAULT_RATE` if the file does not say it."""
        return DEFAULT_RATE if self.sample_rate is None else self.sample_rate

    @property
    def in_channels(self) -> int:
        """Channels of the input."""
        if isinstance(self.shape, SizeChoiceShape | SeriesShape):
            return self.parts[0].in_channels
        return self.shape.in_channels

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        if isinstance(self.shape, SizeChoiceShape | SeriesShape):
            return self.parts[-1].out_channels
        return self.shape.out_channels

    @property
    def receptive_field(self) -> int | None:
        """Samples that an output depends on; of a choice the largest; None if recurrent."""
        parts = [part.receptive_field for part in self.parts]
        known = [value for value in parts if value is not None]
        if len(known) < len(parts) or isinstance(self.shape, RecurrentShape):
            return None
        match self.shape:
            case FeedForwardShape():
                return self.shape.own_receptive_field + sum(value - 1 for value in known)
            case ConvNetShape():
                return 1 + sum(self.shape.dilations)
            case ImpulseResponseShape():
                return self.shape.taps
            case SizeChoiceShape():
                return max(known)
            case SeriesShape():
                return 1 + sum(value - 1 for value in known)

    @property
    def warm_up(self) -> int:
        """Zeros of input before the first sample, after which the state is that of silence."""
        if isinstance(self.shape, RecurrentShape):
            return max(int(LSTM_WARM_UP_SECONDS * self.rate), 1)
        if isinstance(self.shape, SizeChoiceShape):
            return max(part.warm_up for part in self.parts)
        inner = sum(part.warm_up for part in self.parts)
        match self.shape:
            case FeedForwardShape():
                return self.shape.own_receptive_field + inner
            case ConvNetShape():
                return 1 + sum(self.shape.dilations)
            case ImpulseResponseShape():
                return self.shape.taps
            case _:
                return inner

    def tensors(self) -> dict[str, Weights]:
        """Return the weights by name; see `nam_weights.weight_specs`."""
        return split_weights(self.shape, self.weights)
