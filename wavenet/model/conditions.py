"""Conditions that a model can have: the config classes in a checkpoint's `config.json`.

There are five sorts. A label has one word per clip. A global condition has a number or a vector per
clip. A local condition has one vector per frame, one frame every `condition_hop` samples, frame n
at sample n * hop: features of a recording with all settings of their computation. The position and
the raster have no value; they are computed from the index of a sample. `model.frame_features`
computes the frames, `model.conditioning` converts all conditions to biases. Called by model
configs.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from wavenet.config import Fraction, Name, StrictConfig, Width

LabelValue = Annotated[str, Field(min_length=1, max_length=100)]
Context = Annotated[int, Field(ge=0, le=16)]  # frames on each side, beside the current one
MAX_SHOWN_LABELS = 30
WindowLength = Annotated[int, Field(ge=16, le=16_384)]  # samples


def _renamed(new: str, old: str, **options: Any) -> Any:
    """Return a field that is also read by its name in older checkpoints."""
    return Field(validation_alias=AliasChoices(new, old), **options)


class LabelCondition(StrictConfig):
    """A condition whose value is one of a set of words, such as digit or speaker.

    Attributes:
        kind: selects this class.
        name: of the condition, and of the field of the recordings.
        values: the words; a recipe may leave them empty: those of the recordings.
        channels: width of the embedding of a word.
        dropout: fraction of training clips without this condition; above 0, a request may omit it.
    """

    kind: Literal["label"] = "label"
    name: Name
    values: tuple[LabelValue, ...] = Field(default=(), max_length=10_000)
    channels: int = Field(default=16, ge=1, le=512)
    dropout: Fraction = 0.0

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"the values of {self.name} must differ from each other")
        return self

    @property
    def choice_text(self) -> str:
        """The first words, for a message."""
        words = ", ".join(self.values[:MAX_SHOWN_LABELS])
        return words + (", .." if len(self.values) > MAX_SHOWN_LABELS else "")

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network."""
        return self.channels


class NumberCondition(StrictConfig):
    """A number per clip, such as a loudness in dB, from `low` to `high`.

    Attributes:
        kind: selects this class.
        name: of the condition, and of the field of the recordings.
        low, high: lowest and highest value.
        unit: for messages, such as dB.
        dropout: fraction of training clips without this condition; above 0, a request may omit it.
        derived_from: "loudness": in training, the level of the recording around each frame, dB re
            full scale; None: read from the fields of the recording.
        default: used if the request has no value; a derived number is computed from the prompt, if
            any.
    """

    kind: Literal["number"] = "number"
    name: Name
    low: float
    high: float
    unit: str = Field(default="", max_length=20)
    dropout: Fraction = 0.0
    derived_from: Literal["loudness"] | None = _renamed("derived_from", "measured", default=None)
    default: float | None = _renamed("default", "usual", default=None)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low must be below high, found {self.low:g} and {self.high:g}")
        if self.default is not None and not self.low <= self.default <= self.high:
            raise ValueError(f"default must be {self.range_text}, found {self.default:g}")
        return self

    @property
    def range_text(self) -> str:
        """The allowed range, such as "-60 to 0 dB"."""
        return f"{self.low:g} to {self.high:g} {self.unit}".rstrip()

    @property
    def choice_text(self) -> str:
        """The allowed range and the default."""
        text = self.range_text
        return text if self.default is None else f"{text}, default {self.default:g}"

    @property
    def width(self) -> int:
        """Numbers per clip."""
        return 1

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network: the number, and 1 if it is not omitted."""
        return 2


class VectorCondition(StrictConfig):
    """A vector per clip that the caller computes, such as a speaker embedding.

    Attributes:
        kind: selects this class.
        name: of the condition; in training, the vector of a recording is in RECORDING.NAME.npy.
        size: numbers in the vector.
        dropout: fraction of training clips without this condition; above 0, a request may omit it.
    """

    kind: Literal["vector"] = "vector"
    name: Name
    size: Width
    dropout: Fraction = 0.0

    @property
    def width(self) -> int:
        """Numbers per clip."""
        return self.size

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network: the vector, and 1 if it is not omitted."""
        return self.size + 1


class PositionCondition(StrictConfig):
    """Position of a sample in its clip: fraction of the length, time, and length of the clip.

    Attributes:
        kind: selects this class.
        harmonics: number of frequencies, each twice the one before, whose sine and cosine are
            computed for the fraction and for the time.
    """

    kind: Literal["position"] = "position"
    harmonics: int = Field(default=6, ge=0, le=16)

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network."""
        return 3 + 4 * self.harmonics


class RasterCondition(StrictConfig):
    """Row and column of a pixel, for images whose pixels are the samples of a clip, row by row.

    Sample t is in row t // width and column t % width. Each row and each column has one input of
    the condition network, which is 1 for the row and the column of the sample.

    Attributes:
        kind: selects this class.
        height, width: rows and columns of an image.
    """

    kind: Literal["raster"] = "raster"
    height: int = Field(default=32, ge=1, le=1024)
    width: int = Field(default=24, ge=1, le=1024)

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network."""
        return self.height + self.width


class _LocalCondition(StrictConfig):
    """Base of all local conditions.

    Each has a linear layer over the frames from `context` before to `context` after the current
    frame, so that a prediction can depend on later frames.

    Attributes:
        kind: selects the class.
        name: of the condition.
        channels: outputs of the linear layer.
        context: frames on each side of the current one.
        win_length: samples of the window of one frame.
        f_min, f_max: lowest and highest frequency, Hz.
        n_mels: number of mel bands.
    """

    channels: Width = 64
    context: Context = 2

    @property
    def feature_width(self) -> int:
        """Number of inputs of the condition network."""
        return self.channels


class MelCondition(_LocalCondition):
    """Log-mel energies in dB: the input of a vocoder.

    Attributes:
        f_max: highest frequency, Hz; None: half the sample rate.
    """

    kind: Literal["mel"] = "mel"
    name: Name = "mel"
    n_mels: int = _renamed("n_mels", "bands", default=64, ge=2, le=512)
    win_length: WindowLength = _renamed("win_length", "window", default=256)
    f_min: float = _renamed("f_min", "low_hz", default=0.0, ge=0)
    f_max: float | None = _renamed("f_max", "high_hz", default=None, gt=0)

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return self.n_mels


class MfccCondition(_LocalCondition):
    """Mel-frequency cepstral coefficients: timbre without fine structure.

    Attributes:
        n_mfcc: number of coefficients.
    """

    kind: Literal["mfcc"] = "mfcc"
    name: Name = "mfcc"
    n_mfcc: int = _renamed("n_mfcc", "coefficients", default=20, ge=1, le=128)
    n_mels: int = _renamed("n_mels", "bands", default=64, ge=2, le=512)
    win_length: WindowLength = _renamed("win_length", "window", default=256)

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return self.n_mfcc


class F0Condition(_LocalCondition):
    """Fundamental frequency in octaves above 100 Hz, 0 if unvoiced; and 1 if voiced, else 0."""

    kind: Literal["f0"] = "f0"
    name: Name = "f0"
    f_min: float = _renamed("f_min", "low_hz", default=65.0, ge=20)
    f_max: float = _renamed("f_max", "high_hz", default=500.0, gt=20)

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if not self.f_min < self.f_max:
            raise ValueError(f"f_min must be below f_max, found {self.f_min}, {self.f_max}")
        return self

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return 2


class LoudnessCondition(_LocalCondition):
    """Level of the waveform in dB re full scale, per frame."""

    kind: Literal["loudness"] = "loudness"
    name: Name = "loudness"
    win_length: WindowLength = _renamed("win_length", "window", default=256)

    @property
    def columns(self) -> int:
        """Numbers per frame."""
        return 1


class FramesCondition(_LocalCondition):
    """Frames that the caller computes and passes as an array, best between about -1 and 1.

    Attributes:
        columns: numbers per frame.
    """

    kind: Literal["frames"] = "frames"
    name: Name
    columns: Width


GlobalCondition = NumberCondition | VectorCondition
LocalCondition = MelCondition | MfccCondition | F0Condition | LoudnessCondition | FramesCondition
Condition = Annotated[
    LabelCondition | PositionCondition | RasterCondition | GlobalCondition | LocalCondition,
    Field(discriminator="kind"),
]
