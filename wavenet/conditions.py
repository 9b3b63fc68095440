"""What a model can be conditioned on: the classes that stand in a checkpoint's `config.json`.

Global conditions hold for a clip: a label, a number, a vector. Local ones come in frames, one
every `condition_hop` samples, frame n standing at sample n * hop: a position, or features of a
recording with all settings of how they are computed. `model.features` computes them,
`model.conditioning` makes biases of all of them.
"""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
Label = Annotated[str, Field(min_length=1, max_length=100)]
Width = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, lt=1)]
Context = Annotated[int, Field(ge=0, le=16)]  # frames to each side that are seen beside the current
Window = Annotated[int, Field(ge=16, le=16_384)]  # samples


class Strict(BaseModel):
    """Parent of every config: frozen, no coercion, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class LabelCondition(Strict):
    """A named set of labels, such as digit or speaker; one is chosen per clip."""

    kind: Literal["label"] = "label"
    name: Name
    values: tuple[Label, ...] = Field(default=(), max_length=10_000)  # a recipe may leave it empty
    channels: int = Field(default=16, ge=1, le=512)
    dropout: Share = 0.0  # share of training clips without it; above 0 it may be left out

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"the labels of {self.name} must differ from each other")
        return self

    @property
    def features(self) -> int:
        """Width of what enters the frame-rate network."""
        return self.channels


class NumberCondition(Strict):
    """A number per clip, such as a loudness in dB, from `low` to `high`."""

    kind: Literal["number"] = "number"
    name: Name
    low: float
    high: float
    unit: str = Field(default="", max_length=20)
    dropout: Share = 0.0
    # What it is of a clip to learn from, frame by frame: the level in dB re full scale. None: read
    # with the labels of the clip.
    measured: Literal["loudness"] | None = None
    # What a clip is made with where no number is given; one that is measured, that of its prompt.
    usual: float | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.usual is not None and not self.low <= self.usual <= self.high:
            raise ValueError(f"usual must be {self.span}, found {self.usual:g}")
        return self

    @property
    def span(self) -> str:
        """What can be given, such as "-60 to 0 dB"."""
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()

    @property
    def choice(self) -> str:
        """What can be given, and what is taken otherwise."""
        return self.span if self.usual is None else f"{self.span}, {self.usual:g} unless told"

    @property
    def width(self) -> int:
        """Numbers per clip."""
        return 1

    @property
    def features(self) -> int:
        """Width of what enters the frame-rate network: the number, and whether there is one."""
        return 2


class VectorCondition(Strict):
    """A vector per clip that the caller computes, such as an embedding of a speaker."""

    kind: Literal["vector"] = "vector"
    name: Name
    size: Width
    dropout: Share = 0.0

    @property
    def width(self) -> int:
        """Numbers per clip."""
        return self.size

    @property
    def features(self) -> int:
        """Width of what enters the frame-rate network: the vector, and whether there is one."""
        return self.size + 1


class PositionCondition(Strict):
    """Where in the clip a sample lies, as a share of its length, and its time in seconds."""

    kind: Literal["position"] = "position"
    harmonics: int = Field(default=6, ge=0, le=16)

    @property
    def features(self) -> int:
        """Width of what enters the frame-rate network."""
        return 3 + 4 * self.harmonics


class _Frames(Strict):
    """What all conditions that come in frames have.

    Each has a small network of its own: one linear layer over the frames from `context` before to
    `context` behind, so that a sample can be prepared for what follows.
    """

    channels: Width = 64  # of what that layer gives
    context: Context = 2

    @property
    def features(self) -> int:
        """Width of what enters the frame-rate network."""
        return self.channels


class MelCondition(_Frames):
    """Log-mel energies in dB: what a vocoder turns into sound."""

    kind: Literal["mel"] = "mel"
    name: Name = "mel"
    bands: int = Field(default=64, ge=2, le=512)
    window: Window = 256
    low_hz: float = Field(default=0.0, ge=0)
    high_hz: float | None = Field(default=None, gt=0)  # half the sample rate when left out

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return self.bands


class MfccCondition(_Frames):
    """Mel-frequency cepstral coefficients: timbre without fine structure."""

    kind: Literal["mfcc"] = "mfcc"
    name: Name = "mfcc"
    coefficients: int = Field(default=20, ge=1, le=128)
    bands: int = Field(default=64, ge=2, le=512)
    window: Window = 256

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return self.coefficients


class PitchCondition(_Frames):
    """Fundamental frequency in octaves above 100 Hz, 0 where unvoiced, and voiced or not."""

    kind: Literal["f0"] = "f0"
    name: Name = "f0"
    low_hz: float = Field(default=65.0, ge=20)
    high_hz: float = Field(default=500.0, gt=20)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.low_hz < self.high_hz:
            raise ValueError(f"low_hz must be below high_hz, found {self.low_hz}, {self.high_hz}")
        return self

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return 2


class LoudnessCondition(_Frames):
    """Level of the waveform in dB re full scale, frame by frame."""

    kind: Literal["loudness"] = "loudness"
    name: Name = "loudness"
    window: Window = 256

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return 1


class FramesCondition(_Frames):
    """Frames that the caller computes and gives as an array; about -1 to 1 is best."""

    kind: Literal["frames"] = "frames"
    name: Name
    columns: Width


GlobalCondition = NumberCondition | VectorCondition
LocalCondition = MelCondition | MfccCondition | PitchCondition | LoudnessCondition | FramesCondition
Condition = Annotated[
    LabelCondition | PositionCondition | GlobalCondition | LocalCondition,
    Field(discriminator="kind"),
]
