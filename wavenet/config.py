"""Everything that a file may set: strict, frozen, bounded.

JSON text enters, checked values leave. A checkpoint's `config.json` is `CheckpointConfig`; recipes
are `training.recipe.RecipeConfig`. An unknown key, a wrong type, NaN or a contradiction is refused
with one sentence that names the field (`parsing`).
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavenet.codec import Rounding, silence_code
from wavenet.conditions import (
    Condition,
    GlobalCondition,
    LabelCondition,
    LocalCondition,
    Name,
    PositionCondition,
    Strict,
    Width,
)

MAX_PARAMETERS = 100_000_000  # 400 MB in float32; no model of this project comes near
MAX_RING_VALUES = 50_000_000  # 200 MB of float32 ring buffers for one stream


class AudioConfig(Strict):
    """The rate of the waveform, in Hz."""

    sample_rate: int = Field(ge=4_000, le=192_000)


class CodecConfig(Strict):
    """The convention of the codes, written out so that no reader has to guess (see `codec`)."""

    law: Literal["mu-law", "linear"] = "mu-law"
    bits: int = Field(default=8, ge=4, le=16)
    rounding: Rounding = "half-up"
    silence_code: int = 128  # stands before the first sample

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.law == "linear" and self.bits != 16:
            raise ValueError(f"the linear law has 16 bits, found {self.bits}")
        if self.law == "mu-law" and self.bits > 10:
            raise ValueError(f"the mu-law has 4 to 10 bits, found {self.bits}")
        if self.law == "linear" and self.rounding != "half-up":
            raise ValueError(f"the linear law is rounded 'half-up', found {self.rounding!r}")
        if self.rounding == "down-256" and self.bits != 8:
            raise ValueError(f"the rounding 'down-256' has 8 bits, found {self.bits}")
        silence = silence_code(self.bits, self.rounding)
        if self.silence_code != silence:
            rounded = "" if self.rounding == "half-up" else f" rounded {self.rounding!r}"
            raise ValueError(f"silence_code must be {silence} for {self.bits} bits{rounded}")
        return self

    @property
    def n_classes(self) -> int:
        """Size of the alphabet."""
        return 1 << self.bits


class CategoricalOutput(Strict):
    """One logit per class of a mu-law alphabet."""

    kind: Literal["categorical"] = "categorical"


class LogisticOutput(Strict):
    """A mixture of logistics over 16-bit samples."""

    kind: Literal["logistic-mixture"] = "logistic-mixture"
    components: int = Field(default=10, ge=1, le=64)


class GaussianOutput(Strict):
    """A mixture of Gaussians over 16-bit samples; one component is the single Gaussian."""

    kind: Literal["gaussian-mixture"] = "gaussian-mixture"
    components: int = Field(default=1, ge=1, le=64)


Output = Annotated[CategoricalOutput | LogisticOutput | GaussianOutput, Field(discriminator="kind")]


class ModelConfig(Strict):
    """The network. `dilations`, one per layer, is the single truth about its depth."""

    residual_channels: Width
    gate_channels: Width  # of EACH half of the gate
    skip_channels: Width
    kernel_size: int = Field(default=2, ge=1, le=64)
    dilations: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        min_length=1, max_length=1000
    )
    output: Output = CategoricalOutput()
    conditions: tuple[Condition, ...] = Field(default=(), max_length=32)
    condition_channels: Width = 64  # hidden width of the frame-rate network
    condition_hop: int = Field(default=80, ge=1, le=65_536)  # samples between condition frames

    @model_validator(mode="after")
    def _is_buildable(self) -> Self:
        names = [c.name for c in self.conditions if not isinstance(c, PositionCondition)]
        if len(set(names)) != len(names):
            raise ValueError("two conditions have the same name")
        if len(self.conditions) - len(names) > 1:
            raise ValueError("the position condition can be given once")
        weights = self.approximate_parameters
        if weights > MAX_PARAMETERS:
            raise ValueError(f"about {weights:,} parameters; the limit is {MAX_PARAMETERS:,}")
        ring = (self.receptive_field - 1) * self.residual_channels
        if ring > MAX_RING_VALUES:
            raise ValueError(f"ring buffers of {ring:,} values; the limit is {MAX_RING_VALUES:,}")
        return self

    @property
    def receptive_field(self) -> int:
        """Number of past samples, the newest included, that one prediction can depend on."""
        return 1 + (self.kernel_size - 1) * sum(self.dilations)

    @property
    def labels(self) -> tuple[LabelCondition, ...]:
        """The conditions that are chosen by name."""
        return tuple(c for c in self.conditions if isinstance(c, LabelCondition))

    @property
    def globals(self) -> tuple[GlobalCondition, ...]:
        """The conditions that are numbers or vectors of a clip."""
        return tuple(c for c in self.conditions if isinstance(c, GlobalCondition))

    @property
    def locals(self) -> tuple[LocalCondition, ...]:
        """The conditions that come in frames."""
        return tuple(c for c in self.conditions if isinstance(c, LocalCondition))

    @property
    def approximate_parameters(self) -> int:
        """Number of weights, biases left out, for a 10-bit alphabet: an upper estimate."""
        gate, residual, skip = self.gate_channels, self.residual_channels, self.skip_channels
        block = 2 * gate * (self.kernel_size * residual + 1) + gate * (residual + skip) + residual
        frames = 0
        if self.conditions:
            hidden = self.condition_channels
            block += 2 * gate * hidden
            frames = hidden * (hidden + sum(c.features for c in self.conditions))
            frames += sum((len(c.values) + 1) * c.channels for c in self.labels)
            frames += sum((2 * c.context + 1) * c.columns * c.channels for c in self.locals)
        return len(self.dilations) * block + skip * (skip + 1024) + 1024 * residual + frames


class SamplingConfig(Strict):
    """How each sample is drawn (see `sampling`)."""

    temperature: float = Field(default=1.0, ge=1e-6, le=100)  # lower ones overflow: use greedy
    top_k: int | None = Field(default=None, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    greedy: bool = False
    guidance: float = Field(default=1.0, ge=0, le=20)  # 1: off; needs conditions to leave out


class CheckpointConfig(Strict):
    """The content of a checkpoint's `config.json`."""

    format_version: Literal[1] = 1
    name: Name
    audio: AudioConfig
    codec: CodecConfig
    model: ModelConfig
    default_seconds: float = Field(default=1.0, gt=0, le=600)
    sampling: SamplingConfig = SamplingConfig()  # for whoever does not say how to draw

    @model_validator(mode="after")
    def _output_fits_the_codec(self) -> Self:
        check_output(self.model, self.codec)
        return self

    @model_validator(mode="after")
    def _can_be_drawn_so(self) -> Self:
        chosen = self.sampling
        if chosen.greedy:
            raise ValueError("sampling.greedy is for a caller to ask for")
        left_out = any(c.dropout for c in (*self.model.labels, *self.model.globals))
        if chosen.guidance != 1 and not left_out:
            raise ValueError("sampling.guidance needs a condition that may be left out")
        plain = SamplingConfig(temperature=chosen.temperature)
        if self.model.output.kind != "categorical" and chosen != plain:
            raise ValueError("sampling of a mixture can set its temperature alone")
        return self

    @model_validator(mode="after")
    def _labels_are_known(self) -> Self:
        for condition in self.model.labels:
            if not condition.values:
                raise ValueError(f"the condition {condition.name} has no values")
        return self


def check_output(model: ModelConfig, codec: CodecConfig) -> None:
    """Refuse an output distribution over an alphabet that it is not for."""
    law = "mu-law" if model.output.kind == "categorical" else "linear"
    if codec.law != law:
        raise ValueError(
            f"a {model.output.kind} output needs codec.law {law!r}, found {codec.law!r}"
        )
