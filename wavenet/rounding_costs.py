"""The cost of rounded weights in bits per sample, and the precisions that are good enough.

`RoundingCosts` is a part of a checkpoint's config. `evaluation/rounding.py` measures it, and
`generation/checkpoint_engine.py` selects the precision of an engine by it.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from wavenet.config import StrictConfig

# Precisions of rounded weights, fastest first.
RoundedPrecision = Literal["int8", "bf16"]
ROUNDED_PRECISIONS: tuple[RoundedPrecision, ...] = ("int8", "bf16")
MAX_COST = 0.002  # bits per sample


class RoundingCost(StrictConfig):
    """Bits per sample of a model with rounded weights, minus those of the model itself.

    Attributes:
        bits: the difference on all recordings together; negative if rounding helps.
        low, high: its 95 % interval by the bootstrap over recordings.
    """

    bits: float
    low: float
    high: float

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


class RoundingCosts(StrictConfig):
    """What it costs to round the weights of a checkpoint.

    Attributes:
        measured_on: the held-out recordings, in a few words.
        samples: number of scored samples.
        costs: by precision.
    """

    measured_on: str = Field(max_length=120)
    samples: int = Field(ge=1)
    costs: dict[RoundedPrecision, RoundingCost]

    def accepted_precisions(self) -> tuple[RoundedPrecision, ...]:
        """Return the precisions that cost less than `MAX_COST` for certain, fastest first."""
        return tuple(p for p in ROUNDED_PRECISIONS if p in self.costs and self._is_cheap(p))

    def _is_cheap(self, precision: RoundedPrecision) -> bool:
        return self.costs[precision].high < MAX_COST
