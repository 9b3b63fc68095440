"""A recipe: audio rate, codec, model, data and settings of one training, read from TOML.

Input: a file name, or the name of a built-in recipe. Output: a checked `RecipeConfig`. Unknown
keys, wrong types, NaN and contradictions are refused with a sentence that names the key. Built-in
recipes are in `recipes/` beside this file. Called by the command line, the studio and the
evaluations.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audio_utils.levels import Channel
from wavenet.checkpoint import AudioConfig, check_output
from wavenet.codec import AnyCodec, MuLawCodec
from wavenet.config import Fraction, Name, StrictConfig, load_toml, read_toml
from wavenet.errors import ConfigError
from wavenet.model.architectures import AnyModelConfig
from wavenet.model.conditions import (
    Condition,
    FramesCondition,
    LocalCondition,
    VectorCondition,
)
from wavenet.user_input.recipe_files import describe_unknown_recipe, find_recipe

BUILT_IN = Path(__file__).parent / "recipes"
VOICES = BUILT_IN / "voices"  # recipes of `speech.voice_recipe`
VOICE_KIND = "voice"


class DataConfig(StrictConfig):
    """The sources of recordings and fields, and the held-out recordings.

    Attributes:
        folder: of recordings, or a prepared corpus; ~ is the home folder.
        pattern: of file names, such as "{digit}_{speaker}_{index}".
        metadata: file name of a table in the folder; None: metadata.jsonl or metadata.csv.
        channel: of stereo recordings; mix is the mean of all channels.
        normalize: scale recordings beyond full scale so that their peak is full scale, instead of
            limiting them.
        validation: field -> values of recordings held out for validation.
        test: field -> values of recordings held out for a test.
        validation_fraction: held out if `validation` is empty: a fraction of the files or, if the
            files are few, of the segments of each long file.
        max_seconds: longer files are cut into segments.
        speed_perturbation: speeds, besides 1, at which recordings for training are also played;
            pitch and timbre change with the speed.
        stored_frames: read the frames of all local conditions from files beside the recordings,
            such as `a.mel.npy` beside `a.wav`, instead of computing them.
    """

    folder: str | None = None
    pattern: str | None = None
    metadata: str | None = None
    channel: Channel = "mix"
    normalize: bool = False
    validation: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    test: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    validation_fraction: float = Field(default=0.05, ge=0, lt=1)
    max_seconds: float = Field(default=4.0, gt=0, le=600)
    speed_perturbation: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(
        default=(), max_length=16
    )
    stored_frames: bool = False

    @model_validator(mode="after")
    def _speeds_differ(self) -> Self:
        if self.speed_perturbation and self.stored_frames:
            raise ValueError(
                "stored_frames cannot be used with speed_perturbation: the frames of a file have "
                "one speed; remove one of the two"
            )
        if len({1.0, *self.speed_perturbation}) <= len(self.speed_perturbation):
            raise ValueError(
                "the speeds of speed_perturbation must differ from each other and from 1, which is "
                "always included"
            )
        return self

    def conditions_with_files(
        self, conditions: Iterable[Condition]
    ) -> list[VectorCondition | LocalCondition]:
        """Return the conditions whose arrays are in files beside the recordings."""
        kinds = LocalCondition if self.stored_frames else FramesCondition
        return [c for c in conditions if isinstance(c, VectorCondition | kinds)]


class TrainConfig(StrictConfig):
    """The settings of the steps and of the optimizer.

    Attributes:
        steps: number of updates of the weights.
        samples_per_step: largest padded size of a step, over all processes; a step has at least one
            clip.
        accumulation_steps: micro-batches per step: more need less memory on a GPU; the training is
            the same, up to rounding.
        truncation: largest number of samples through which the gradient goes back, for models with
            an unlimited receptive field: a clip is computed in chunks of this size, whose
            activations are freed one after the other; None: the whole clip.
        learning_rate: the highest, after the warm-up.
        final_learning_rate: at the last step.
        warmup_steps: steps in which the learning rate rises from 0.
        stable_fraction: fraction of the steps after the warm-up with a constant learning rate.
        muon_learning_rate: of Muon, for the hidden matrices (see `task.ParameterGroups`), in a
            fixed ratio to `learning_rate`; None: AdamW for all parameters.
        weight_decay: of the optimizer, decoupled from the gradient.
        betas: decay of the two averages of AdamW.
        gradient_clip: largest norm of the gradient.
        ema_decay: per step, of the average of the weights that the checkpoint contains.
        gain_db: each clip gets a random gain from -gain_db to gain_db.
        input_noise: largest standard deviation, in codes, of the noise on input codes, so that the
            model tolerates its own errors.
        scheduled_sampling: share of input codes that the model draws itself in the last step; it
            grows linearly from 0 (see `scheduled_sampling`).
        precision: of matrix products; auto: bf16 on a GPU, and on a CPU with bf16 arithmetic.
        seed: of the first weights, the order of the clips, and all noise.
        validate_every, save_every: steps between two validations, and between two snapshots.
    """

    steps: int = Field(ge=1, le=100_000_000)
    samples_per_step: int = Field(default=8_000, ge=1)
    accumulation_steps: int = Field(default=1, ge=1, le=10_000)
    truncation: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=2e-5, ge=0, le=1)
    warmup_steps: int = Field(default=200, ge=0)
    stable_fraction: Fraction = 0.0
    muon_learning_rate: float | None = Field(default=None, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    gradient_clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    gain_db: float = Field(default=0.0, ge=0, le=24)
    input_noise: float = Field(default=0.0, ge=0, le=10_000)
    scheduled_sampling: float = Field(default=0.0, ge=0, le=1)
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    seed: int = Field(default=0, ge=0, le=(1 << 63) - 1)
    validate_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)


class RecipeConfig(StrictConfig):
    """A recipe. Label conditions without values receive their values from the data.

    Attributes:
        name: of the model and, without --out, of the folder in runs.
        audio: the sample rate.
        codec: the rule between waveform and codes.
        model: the network, its conditions and its output.
        data: the recordings, and those that are held out.
        train: the steps and the optimizer.
    """

    name: Name
    audio: AudioConfig
    codec: AnyCodec = MuLawCodec()
    model: AnyModelConfig
    data: DataConfig = DataConfig()
    train: TrainConfig

    @model_validator(mode="after")
    def _output_fits_the_codec(self) -> Self:
        check_output(self.model, self.codec)
        return self

    @model_validator(mode="after")
    def _speeds_fit_the_conditions(self) -> Self:
        from_files = [c.name for c in self.model.locals if isinstance(c, FramesCondition)]
        if self.data.speed_perturbation and from_files:
            raise ValueError(
                f"data.speed_perturbation cannot be used with {from_files[0]!r}: its frames are "
                "read from files, and fit a recording at its original speed only"
            )
        return self

    @model_validator(mode="after")
    def _steps_fit_a_model_of_statistics(self) -> Self:
        if self.model.uses_statistics:
            gradient_only = {
                "truncation": self.train.truncation is not None,
                "scheduled_sampling": self.train.scheduled_sampling > 0,
            }
            for name in (name for name, is_used in gradient_only.items() if is_used):
                raise ValueError(
                    f"train.{name} is for models trained by gradients; found the architecture "
                    f"{self.model.architecture}, which is estimated from statistics of the "
                    f"recordings: remove {name}"
                )
        return self

    @model_validator(mode="after")
    def _truncation_fits_the_model(self) -> Self:
        field = self.model.receptive_field
        if self.train.truncation is not None and field is not None:
            # segments of long recordings have one receptive field of context: their gradient is
            # exact, and max_seconds limits the memory for activations
            raise ValueError(
                "train.truncation is for models with an unlimited receptive field; found a model "
                f"with {field:,} samples: remove truncation, and use data.max_seconds to shorten "
                "the clips"
            )
        return self

    @model_validator(mode="after")
    def _segments_fit_the_model(self) -> Self:
        longest, rate = self.model.longest_clip, self.audio.sample_rate
        if longest is not None and round(self.data.max_seconds * rate) > longest:
            raise ValueError(
                f"data.max_seconds must be at most {longest / rate:g}, because this model reads "
                f"clips of at most {longest:,} samples, found {self.data.max_seconds:g}; "
                f"{self.model.clip_limit_advice}"
            )
        return self


def load_recipe(name: str) -> RecipeConfig:
    """Read a recipe file, or a built-in recipe by its name.

    Raises:
        ConfigError: no such file, invalid TOML, or a setting out of its range.
    """
    path = find_recipe(name, BUILT_IN)
    if is_voice_recipe(name):
        raise ConfigError(
            f"{name} is the recipe of a voice, which only the command `wavenet train` uses; choose "
            "the recipe of one model, such as small"
        )
    if path is None:
        raise ConfigError(describe_unknown_recipe(name, BUILT_IN, VOICES))
    return load_toml(RecipeConfig, path)


def is_voice_recipe(name: str) -> bool:
    """Return whether a name or a file is the recipe of a voice, which has `kind = "voice"`."""
    path = find_recipe(name, BUILT_IN) or find_recipe(name, VOICES)
    try:
        return path is not None and read_toml(path).get("kind") == VOICE_KIND
    except (OSError, ValueError, RecursionError):
        return False  # reading the recipe reports the error


def is_built_in(recipe: RecipeConfig) -> bool:
    """Return whether a recipe has all settings of a built-in one, under any name."""
    known = (load_toml(RecipeConfig, path) for path in BUILT_IN.glob("*.toml"))
    return any(recipe.model_copy(update={"name": other.name}) == other for other in known)
