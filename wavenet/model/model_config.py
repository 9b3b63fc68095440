"""Settings of the models of all architectures: output distribution and conditions.

Each architecture extends `ModelConfig` in the file of its network; `architectures` lists them.
Called by models, checkpoints and recipes.
"""

from abc import ABC, abstractmethod
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavenet.config import StrictConfig, Width
from wavenet.errors import ConditionError
from wavenet.model.conditions import (
    Condition,
    GlobalCondition,
    LabelCondition,
    LocalCondition,
    PositionCondition,
    RasterCondition,
)

MAX_PARAMETERS = 100_000_000  # 400 MB in float32; far above all models of this project
MAX_MEMORY_VALUES = 50_000_000  # 200 MB of float32 memory for one stream


class CategoricalOutput(StrictConfig):
    """One logit per code of a mu-law codec.

    Attributes:
        kind: selects this class.
    """

    kind: Literal["categorical"] = "categorical"


class LogisticOutput(StrictConfig):
    """A mixture of logistics over 16-bit codes.

    Attributes:
        kind: selects this class.
        components: number of logistics.
    """

    kind: Literal["logistic-mixture"] = "logistic-mixture"
    components: int = Field(default=10, ge=1, le=64)


class GaussianOutput(StrictConfig):
    """A mixture of Gaussians over 16-bit codes; one component is the single Gaussian.

    Attributes:
        kind: selects this class.
        components: number of Gaussians.
    """

    kind: Literal["gaussian-mixture"] = "gaussian-mixture"
    components: int = Field(default=1, ge=1, le=64)


Output = Annotated[CategoricalOutput | LogisticOutput | GaussianOutput, Field(discriminator="kind")]


class ModelConfig(StrictConfig, ABC):
    """Base of the model configs; the key `architecture` selects the class.

    Attributes:
        architecture: the kind of network.
        output: the distribution over the next code.
        conditions: inputs besides past codes.
        condition_channels: hidden width of the condition network.
        condition_hop: samples from one condition frame to the next.
    """

    architecture: str
    output: Output = CategoricalOutput()
    conditions: tuple[Condition, ...] = Field(default=(), max_length=32)
    condition_channels: Width = 64
    condition_hop: int = Field(default=80, ge=1, le=65_536)

    @model_validator(mode="after")
    def _check_conditions(self) -> Self:
        computed = (PositionCondition, RasterCondition)
        names = [c.name for c in self.conditions if not isinstance(c, computed)]
        if len(set(names)) != len(names):
            raise ValueError("two conditions have the same name")
        kinds = [c.kind for c in self.conditions if isinstance(c, computed)]
        for kind in set(kinds):
            if kinds.count(kind) > 1:
                raise ValueError(f"only one {kind} condition is allowed")
        if "raster" in kinds and self.condition_hop != 1:
            raise ValueError(
                "a raster condition needs condition_hop = 1, because every pixel has its own row "
                f"and column; found {self.condition_hop}"
            )
        return self

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        weights = self.approximate_parameters
        if weights > MAX_PARAMETERS:
            raise ValueError(f"about {weights:,} parameters; the limit is {MAX_PARAMETERS:,}")
        values = self.memory_values
        if values > MAX_MEMORY_VALUES:
            raise ValueError(
                f"a memory of {values:,} values per stream; the limit is {MAX_MEMORY_VALUES:,}"
            )
        return self

    @property
    def uses_statistics(self) -> bool:
        """Whether the model is estimated from statistics; otherwise it is trained by gradients."""
        return False

    @property
    def receptive_field(self) -> int | None:
        """Past samples that one prediction can depend on, the newest included; None: all."""
        return None

    @property
    def past_description(self) -> str:
        """What a prediction reads if `receptive_field` is None, for facts and cards."""
        return "unlimited"

    @property
    def longest_clip(self) -> int | None:
        """Largest number of samples of a clip, its prompt included; None: any number."""
        return None

    @property
    def clip_limit_advice(self) -> str:
        """Why a clip has at most `longest_clip` samples and what to do, for a message."""
        return "use shorter clips"

    @property
    @abstractmethod
    def bias_layers(self) -> int:
        """Number of layers with a bias from the condition network."""

    @property
    @abstractmethod
    def bias_width(self) -> int:
        """Numbers in the bias of one layer."""

    @property
    @abstractmethod
    def memory_values(self) -> int:
        """Numbers in the memory of one stream."""

    @property
    @abstractmethod
    def network_parameters(self) -> int:
        """Estimated number of weights without the condition network, for a 10-bit codec."""

    @property
    def labels(self) -> tuple[LabelCondition, ...]:
        """The label conditions."""
        return tuple(c for c in self.conditions if isinstance(c, LabelCondition))

    @property
    def globals(self) -> tuple[GlobalCondition, ...]:
        """The conditions that are a number or a vector per clip."""
        return tuple(c for c in self.conditions if isinstance(c, GlobalCondition))

    @property
    def locals(self) -> tuple[LocalCondition, ...]:
        """The conditions with one vector per frame."""
        return tuple(c for c in self.conditions if isinstance(c, LocalCondition))

    @property
    def columns(self) -> int:
        """Numbers per frame of all local conditions together."""
        return sum(c.columns for c in self.locals)

    @property
    def droppable(self) -> frozenset[str]:
        """Names of the conditions that a request may omit."""
        return frozenset(c.name for c in (*self.labels, *self.globals) if c.dropout > 0)

    @property
    def approximate_parameters(self) -> int:
        """Estimated number of weights for a 10-bit codec, without most biases."""
        total = self.network_parameters
        if self.conditions:
            hidden = self.condition_channels
            total += self.bias_layers * self.bias_width * hidden
            total += hidden * (hidden + sum(c.feature_width for c in self.conditions))
            total += sum((len(c.values) + 1) * c.channels for c in self.labels)
            total += sum((2 * c.context + 1) * c.columns * c.channels for c in self.locals)
        return total


def check_clip_length(config: ModelConfig, samples: int, sample_rate: int) -> None:
    """Check that a model can generate or score a clip.

    Args:
        samples: of the clip, its prompt included.
        sample_rate: Hz.
    Raises:
        ConditionError: the clip is longer than `longest_clip`.
    """
    longest = config.longest_clip
    if longest is not None and samples > longest:
        raise ConditionError(
            f"this model reads clips of at most {longest:,} samples ({longest / sample_rate:g} s), "
            f"found {samples:,} samples; {config.clip_limit_advice}"
        )
