"""A recipe (TOML): the settings of a training run, strict and bounded.

The text of a recipe enters, a `RecipeConfig` leaves. The recipes of this project are in `recipes/`
beside this file and can be named without a path.
"""

import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from wavenet.checkpoint import AudioConfig, check_output
from wavenet.codec import AnyCodec, MuLawCodec
from wavenet.config import Fraction, Name, StrictConfig, parse_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import FramesCondition
from wavenet.model.registry import AnyModelConfig

BUILT_IN = Path(__file__).parent / "recipes"


class DataConfig(StrictConfig):
    """Where clips and their labels come from, and which are held out."""

    folder: str | None = None
    pattern: str | None = None  # such as "{digit}_{speaker}_{index}"
    metadata: str | None = None  # file name in the folder; found by itself when left out
    validation: dict[str, tuple[str, ...]] = Field(default_factory=dict)  # field -> values
    test: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    # Used when `validation` is empty: of the files, or of each long one where they are few.
    validation_share: float = Field(default=0.05, ge=0, lt=1)
    max_seconds: float = Field(default=4.0, gt=0, le=600)  # longer files are cut into segments
    # What is trained on is heard at these speeds too, as from a tape: pitch and timbre go along.
    speeds: tuple[Annotated[float, Field(ge=0.5, le=2)], ...] = Field(default=(), max_length=16)

    @model_validator(mode="after")
    def _speeds_differ(self) -> Self:
        if len({1.0, *self.speeds}) <= len(self.speeds):
            raise ValueError("speeds must differ from each other and from 1, which is always there")
        return self


class TrainConfig(StrictConfig):
    """The optimisation."""

    steps: int = Field(ge=1, le=100_000_000)
    # Clips are added until this is reached, by all processes together.
    samples_per_step: int = Field(default=8_000, ge=1)
    # A step's clips are worked off in so many parts: less memory on a GPU, the same curve.
    accumulate: int = Field(default=1, ge=1, le=10_000)
    learning_rate: float = Field(default=2e-3, gt=0, le=1)
    final_learning_rate: float = Field(default=2e-5, ge=0, le=1)
    warmup_steps: int = Field(default=200, ge=0)
    hold: Fraction = 0.0  # share of the steps behind the warm-up before the rate begins to fall
    # Of Muon, for the matrices between the layers, falling as the other; None: AdamW for all.
    muon_rate: float | None = Field(default=None, gt=0, le=1)
    weight_decay: float = Field(default=0.01, ge=0, le=10)
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    gradient_clip: float = Field(default=1.0, gt=0)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    gain_db: float = Field(default=0.0, ge=0, le=24)  # clips are made louder or softer by up to it
    # Codes: what the network hears is off by up to so much, so that it bears its own mistakes.
    input_noise: float = Field(default=0.0, ge=0, le=10_000)
    precision: Literal["fp32", "bf16", "auto"] = "auto"
    seed: int = Field(default=0, ge=0, le=(1 << 63) - 1)
    validate_every: int = Field(default=500, ge=1)
    save_every: int = Field(default=500, ge=1)


class RecipeConfig(StrictConfig):
    """A whole recipe. Labels left empty in the model are filled from the data."""

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
        given = [c.name for c in self.model.locals if isinstance(c, FramesCondition)]
        if self.data.speeds and given:
            raise ValueError(
                f"data.speeds cannot be used with {given[0]!r}: its frames are read from files, "
                "and fit a recording at its own speed alone"
            )
        return self


def load_recipe(name: str) -> RecipeConfig:
    """Read a recipe file, or one of the project's own by its name.

    Raises:
        ConfigError: no such file, no TOML, or a setting out of its range.
    """
    path = Path(name)
    if not path.is_file() and (BUILT_IN / f"{name}.toml").is_file():
        path = BUILT_IN / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in BUILT_IN.glob("*.toml")))
        raise ConfigError(f"{name} is no recipe file; give a .toml file or one of {known}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
    # by way of JSON, whose lists a strict config takes for tuples
    return parse_config(RecipeConfig, json.dumps(settings, default=str), str(path))
