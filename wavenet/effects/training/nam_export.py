"""Export a trained effect as a `.nam` file, with the description that other programs show.

Input: the folder of an effect and a setting of its knobs. Output: a `NamModel` with metadata, for
`nam_file.write_nam`. A file has no knobs, so each setting is a file of its own.

`loudness` and `gain` are those of `effect_loudness`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from wavenet.config import StrictConfig
from wavenet.effects.effect_loudness import measure_loudness
from wavenet.effects.nam_model import NamModel
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.effects.training.training_results import TrainingResults

GearType = Literal["amp", "pedal", "pedal_amp", "amp_cab", "amp_pedal_cab", "preamp", "studio"]
ToneType = Literal["clean", "overdrive", "crunch", "hi_gain", "fuzz"]
GEAR_TYPES: tuple[str, ...] = get_args(GearType)
TONE_TYPES: tuple[str, ...] = get_args(ToneType)

_Text = Annotated[str, Field(max_length=200)]


class CaptureDescription(StrictConfig):
    """What a person says about a capture; None is not written.

    Attributes:
        name: of the capture.
        modeled_by: who made it.
        gear_make, gear_model, gear_type: the device.
        tone_type: its sound.
        input_level_dbu, output_level_dbu: level of a sine of 1 kHz at 0 dBFS (peak) at the device.
    """

    name: _Text | None = None
    modeled_by: _Text | None = None
    gear_make: _Text | None = None
    gear_model: _Text | None = None
    gear_type: GearType | None = None
    tone_type: ToneType | None = None
    input_level_dbu: float | None = Field(default=None, ge=-100, le=100)
    output_level_dbu: float | None = Field(default=None, ge=-100, le=100)


def export_nam(
    effect: TrainedEffect,
    setting: Mapping[str, float] | None = None,
    description: CaptureDescription | None = None,
    results: TrainingResults | None = None,
    date: datetime | None = None,
) -> NamModel:
    """Return the model of an effect at one setting, with metadata.

    Args:
        effect: trained.
        setting: of the knobs; those that are missing have their default.
        description: of the device.
        results: of the training; the ESR of the setting is written if it was measured.
        date: of the export; None for now.
    Raises:
        ConfigError: an unknown knob, or a value out of range.
    """
    chosen = effect.complete_setting(setting)
    plain = effect.nam_model(chosen)
    moment = date or datetime.now(UTC)
    fields = ("year", "month", "day", "hour", "minute", "second")
    told = {} if description is None else description.model_dump(exclude_none=True)
    metadata: dict[str, Any] = {
        "date": {name: getattr(moment, name) for name in fields},
        **measure_loudness(plain),
        "name": effect.config.name,
        **told,
        "training": _describe_training(chosen, results),
    }
    return effect.nam_model(chosen, metadata)


def _describe_training(
    setting: dict[str, float], results: TrainingResults | None
) -> dict[str, Any]:
    """Return what the file says about the training."""
    found: dict[str, Any] = {"program": "WaveNet Studio"}
    if setting:
        found["knobs"] = setting
    pair = None if results is None else results.find(setting)
    if pair is not None:
        found |= {"validation_esr": pair.validation_esr, "latency": pair.latency}
    return found
