"""Everything that a file may set: strict, frozen, bounded.

JSON or TOML text enters, checked values leave. A checkpoint's `config.json` is `CheckpointConfig`;
a recipe is `RecipeConfig`. An unknown key, a wrong type, NaN or a contradiction is refused with
one sentence that names the field (`parse`).
"""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError, model_validator

from wavenet.conditions import (
    Condition,
    FramesCondition,
    GlobalCondition,
    LabelCondition,
    LocalCondition,
    LoudnessCondition,
    MelCondition,
    MfccCondition,
    Name,
    NumberCondition,
    PitchCondition,
    PositionCondition,
    Share,
    Strict,
    VectorCondition,
    Width,
)
from wavenet.errors import ConfigError

MAX_PARAMETERS = 100_000_000  # 400 MB in float32; no model of this project comes near
MAX_RING_VALUES = 50_000_000  # 200 MB of float32 ring buffers for one stream


class AudioConfig(Strict):
    """The rate of the waveform, in Hz."""

    sample_rate: int = Field(ge=4_000, le=192_000)


class CodecConfig(Strict):
    """The mu-law convention, written out so that no reader has to guess (see `codec`)."""

    law: Literal["mu-law"] = "mu-law"
    bits: int = Field(default=8, ge=4, le=10)
    rounding: Literal["half-up"] = "half-up"
    silence_code: int = 128

    @model_validator(mode="after")
    def _silence_fits(self) -> Self:
        if self.silence_code != 1 << (self.bits - 1):
            raise ValueError(f"silence_code must be {1 << (self.bits - 1)} for {self.bits} bits")
        return self

    @property
    def n_classes(self) -> int:
        """Size of the alphabet."""
        return 1 << self.bits


class ModelConfig(Strict):
    """The network. `dilations`, one per layer, is the single truth about its depth."""

    residual_channels: Width
    gate_channels: Width  # of EACH half of the gate
    skip_channels: Width
    kernel_size: int = Field(default=2, ge=1, le=64)
    dilations: tuple[Annotated[int, Field(ge=1, le=65_536)], ...] = Field(
        min_length=1, max_length=1000
    )
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


class CheckpointConfig(Strict):
    """The content of a checkpoint's `config.json`."""

    format_version: Literal[1] = 1
    name: Name
    audio: AudioConfig
    codec: CodecConfig
    model: ModelConfig
    default_seconds: float = Field(default=1.0, gt=0, le=600)

    @model_validator(mode="after")
    def _labels_are_known(self) -> Self:
        for condition in self.model.labels:
            if not condition.values:
                raise ValueError(f"the condition {condition.name} has no values")
        return self


class DataConfig(Strict):
    """Where clips and their labels come from, and which are held out."""

    folder: str | None = None
    pattern: str | None = None  # such as "{digit}_{speaker}_{index}"
    metadata: str | None = None  # file name in the folder; found by itself when left out
    validation: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # field -> values
    test: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    validation_share: float = Field(default=0.05, ge=0, lt=1)  # used when `validation` is empty
    max_seconds: float = Field(default=4.0, gt=0, le=600)  # longer files are cut into segments


class TrainConfig(Strict):
    """The optimisation."""

    steps: int = Field(ge=1, le=100_000_000)
    samples_per_step: int = Field(default=8_000, ge=1)  # clips are added until this is reached
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=2e-5, ge=0, le=1)
    warmup_steps: int = Field(default=200, ge=0)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    betas: tuple[Share, Share] = (0.9, 0.99)
    gradient_clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    gain_db: float = Field(default=0.0, ge=0, le=24)  # clips are made louder or softer by up to it
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    seed: int = Field(default=0, ge=0, le=(1 << 63) - 1)
    validate_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)


class RecipeConfig(Strict):
    """A whole recipe. Labels left empty in the model are filled from the data."""

    name: Name
    audio: AudioConfig
    codec: CodecConfig = CodecConfig()
    model: ModelConfig
    data: DataConfig = DataConfig()
    train: TrainConfig


ConfigT = TypeVar("ConfigT", bound=BaseModel)


def parse(kind: type[ConfigT], text: str | bytes, source: str) -> ConfigT:
    """Read a config from JSON text.

    Args:
        kind: the config class.
        text: JSON.
        source: named in the error, usually the file's path.
    Raises:
        ConfigError: one sentence naming the field, what was found and what is allowed.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, kind)}") from None


def make(kind: type[ConfigT], source: str, /, **values: object) -> ConfigT:
    """Build a config from values that a person gave.

    Raises:
        ConfigError: as `parse`.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, kind)}") from None


def explain(error: ValidationError, kind: type[BaseModel]) -> str:
    """Put one fault of a validation into one sentence, an unknown key before all others."""
    faults = error.errors(include_url=False)
    first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
    field = _plain(".".join(str(part) for part in first["loc"])) or "the whole"
    if first["type"] == "extra_forbidden":
        return f"the key {field} is not known ({_siblings(kind, first['loc'])})"
    message = _plain(first["msg"].removeprefix("Value error, "))
    if first["type"] == "missing":
        return f"the key {field} is missing"
    found = repr(first.get("input"))
    return f"{field}: {message}" + (f", found {found}" if len(found) <= 60 else "")


def _siblings(kind: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    kinds = (LabelCondition, PositionCondition, NumberCondition, VectorCondition)
    frames = (MelCondition, MfccCondition, PitchCondition, LoudnessCondition, FramesCondition)
    conditions = {str(c.model_fields["kind"].default): c for c in kinds + frames}
    fields = kind.model_fields
    for part in map(str, loc[:-1]):
        inner: object = fields[part].annotation if part in fields else conditions.get(part)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            fields = inner.model_fields
    return "known keys: " + ", ".join(fields)


def _plain(text: str) -> str:
    """Keep words that came from a file short, and in one line that a terminal can show."""
    short = text if len(text) <= 300 else text[:300] + ".."
    return "".join(c if c.isprintable() else "?" for c in short)
