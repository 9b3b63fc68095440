"""Settings of a chain: what a user chooses beside the model and the cabinet.

Input: values of options and widgets. Output: a frozen dataclass, checked. Called by the commands,
the batches of effects and the studio; `effect_chain` reads it.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from wavenet.effects.effect_loudness import output_loudness
from wavenet.effects.nam_model import NamModel
from wavenet.effects.oversampling import FACTORS
from wavenet.errors import ConfigError

RatePolicy = Literal["resample", "refuse"]
RATE_POLICIES: tuple[RatePolicy, ...] = get_args(RatePolicy)
MAX_GAIN_DB = 60.0
MAX_LEVEL = 100.0  # of the levels in the metadata, dB and dBu
MATCHED_LOUDNESS_DB = -18.0  # of the output of every model, as other programs do it


@dataclass(frozen=True)
class ChainSettings:
    """Settings of a chain.

    Attributes:
        input_gain_db: before the model: how hard it is driven, dB.
        interface_dbu: level of a sine that is full scale at the interface of the recording, dBu;
            the model then gets the level with which its maker recorded. None: not calibrated.
        matches_loudness: scale the output of the model by the loudness in its file, or by that
            which is measured, so that all models are about equally loud.
        mix: part of the wet sound from 0, only the dry sound, to 1, only the wet sound.
        trim_db: gain of the output, after everything else, dB.
        oversampling: 1, 2 or 4 times the rate of the model.
        size: of a container of sizes, from 0 to 1; None for the largest.
        rate_policy: what is done with sound at another rate than that of the model.
        removes_offset: whether an offset (DC) of the model is removed by a high-pass at 5 Hz.
    Raises:
        ConfigError: a value is out of range.
    """

    input_gain_db: float = 0.0
    interface_dbu: float | None = None
    matches_loudness: bool = False
    mix: float = 1.0
    trim_db: float = 0.0
    oversampling: int = 1
    size: float | None = None
    rate_policy: RatePolicy = "resample"
    removes_offset: bool = False

    def __post_init__(self) -> None:
        """Check all values."""
        for name, gain in (("the input gain", self.input_gain_db), ("the trim", self.trim_db)):
            if not -MAX_GAIN_DB <= gain <= MAX_GAIN_DB:
                raise ConfigError(
                    f"{name}: expected {-MAX_GAIN_DB:g} to {MAX_GAIN_DB:g} dB, found {gain:g}"
                )
        if self.interface_dbu is not None and not -60 <= self.interface_dbu <= 60:
            raise ConfigError(
                f"the interface level: expected -60 to 60 dBu, found {self.interface_dbu:g}"
            )
        if not 0 <= self.mix <= 1:
            raise ConfigError(f"the mix: expected 0 (only dry) to 1 (only wet), found {self.mix:g}")
        if self.oversampling not in FACTORS:
            raise ConfigError(f"the oversampling: expected 1, 2 or 4, found {self.oversampling}")
        if self.size is not None and not 0 <= self.size <= 1:
            raise ConfigError(f"the size: expected 0 (small) to 1 (large), found {self.size:g}")
        if self.rate_policy not in RATE_POLICIES:
            raise ConfigError(
                f"the rate policy: expected {' or '.join(RATE_POLICIES)}, found {self.rate_policy}"
            )


def loudness_gain_db(model: NamModel) -> float:
    """Return the gain that brings a model to `MATCHED_LOUDNESS_DB`, dB.

    The loudness is that of the metadata; of a model without it, it is measured.
    """
    loudness = metadata_number(model, "loudness")
    return MATCHED_LOUDNESS_DB - (output_loudness(model) if loudness is None else loudness)


def calibration_gain_db(model: NamModel, interface_dbu: float) -> float:
    """Return the input gain with which a model gets the level that its maker recorded with, dB.

    Args:
        model: with `input_level_dbu` in its metadata.
        interface_dbu: as in `ChainSettings`.
    Raises:
        ConfigError: the file does not say its level.
    """
    level = metadata_number(model, "input_level_dbu")
    if level is None:
        raise ConfigError(
            "the metadata of this model has no input_level_dbu, so the input cannot be "
            "calibrated; use the input gain instead"
        )
    return interface_dbu - level


def metadata_number(model: NamModel, name: str) -> float | None:
    """Return a level of the metadata, dB or dBu, or None.

    Raises:
        ConfigError: it is beyond `MAX_LEVEL`.
    """
    value = (model.metadata or {}).get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if abs(value) > MAX_LEVEL:
        raise ConfigError(
            f"the metadata of this model has {name} {value:g}; expected -{MAX_LEVEL:g} to "
            f"{MAX_LEVEL:g}, so the level cannot be used; set the gains by hand"
        )
    return float(value)


def gain_of(decibels: float) -> float:
    """Return the amplitude factor of a gain in dB."""
    return float(10 ** (decibels / 20))
