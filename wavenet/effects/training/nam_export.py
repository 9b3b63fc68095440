"""Export a trained effect as a `.nam` file, with the description that other programs show.

Input: the folder of an effect and a setting of its knobs. Output: a `NamModel` with metadata, for
`nam_file.write_nam`. A file has no knobs, so each setting is a file of its own.

Programs use `loudness` to make models equally loud. It is the level of the output, dB, for a fixed
input: here twelve plucked notes at -18 dB RMS. The recording that the trainer of Neural Amp Modeler
plays is another one, so levels differ a little from its files; `gain`, which says how much the
effect compresses, agrees with them to 0.01.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from audio_utils.example_sound import make_note
from wavenet.config import StrictConfig
from wavenet.effects.effect_engine import EffectEngine, load_engine
from wavenet.effects.nam_model import NamModel
from wavenet.effects.training.trained_effect import TrainedEffect
from wavenet.effects.training.training_results import TrainingResults

# of the loudness signal: pitches in Hz of the strings of a guitar and some notes between them
_NOTES_HZ = (82.4, 110.0, 146.8, 196.0, 246.9, 329.6, 220.0, 164.8, 130.8, 98.0, 293.7, 440.0)
_NOTE_SECONDS = 0.8
LOUDNESS_INPUT_DB = -18.0  # RMS
_FLOOR_DB = -200.0

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


def measure_loudness(model: NamModel) -> dict[str, float]:
    """Return `loudness` (dB) and `gain` (0 to 1) of a model, as in the metadata of a file.

    With y_i the RMS of the output at i tenths of the input and M = 11 y_10, gain is
    (sum of all y_i - M / 2) / (M / 2): 0 for a linear effect, 1 if all outputs are equal.
    """
    engine: EffectEngine = load_engine(model)  # type: ignore[type-arg]
    signal = loudness_signal(round(model.rate))
    levels = [_output_rms(engine, signal * np.float32(n / 10)) for n in range(11)]
    half = 11 * levels[10] / 2
    gain = (sum(levels) - half) / half if half > 0 else 0.0
    loudness = 20 * math.log10(levels[10]) if levels[10] > 0 else _FLOOR_DB
    return {"loudness": loudness, "gain": min(1.0, max(0.0, gain))}


def loudness_signal(rate: int) -> NDArray[np.float32]:
    """Return twelve plucked notes: (9.6 * rate,), always the same."""
    notes = torch.cat([make_note(hertz, _NOTE_SECONDS, rate) for hertz in _NOTES_HZ])
    samples: NDArray[np.float32] = notes.numpy()
    rms = math.sqrt(float(np.mean(samples.astype(np.float64) ** 2)))
    return samples * np.float32(10 ** (LOUDNESS_INPUT_DB / 20) / rms)


def _output_rms(engine: "EffectEngine", samples: NDArray[np.float32]) -> float:  # type: ignore[type-arg]
    output = engine.process(engine.initial_state(), samples)
    return math.sqrt(float(np.mean(output.astype(np.float64) ** 2)))


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
