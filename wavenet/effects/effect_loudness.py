"""The loudness of models of effects, by which programs make them equally loud.

It is the level of the output, dB, for a fixed input: twelve plucked notes at -18 dB RMS. The
recording that the trainer of Neural Amp Modeler plays is another one, so levels differ a little
from its files; `gain`, which says how much the effect compresses, agrees with them to 0.01. Called
by the export of `.nam` files, and by chains with a model whose file has no loudness.
"""

import math

import numpy as np
import torch
from numpy.typing import NDArray

from audio_utils.example_sound import make_note
from wavenet.effects.effect_engine import EffectEngine, load_engine
from wavenet.effects.nam_model import NamModel

# of the loudness signal: pitches in Hz of the strings of a guitar and some notes between them
_NOTES_HZ = (82.4, 110.0, 146.8, 196.0, 246.9, 329.6, 220.0, 164.8, 130.8, 98.0, 293.7, 440.0)
_NOTE_SECONDS = 0.8
LOUDNESS_INPUT_DB = -18.0  # RMS
_FLOOR_DB = -200.0


def output_loudness(model: NamModel) -> float:
    """Return the level of the output for `loudness_signal`, dB."""
    engine: EffectEngine = load_engine(model)  # type: ignore[type-arg]
    return _decibels(_output_rms(engine, loudness_signal(round(model.rate))))


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
    return {"loudness": _decibels(levels[10]), "gain": min(1.0, max(0.0, gain))}


def loudness_signal(rate: int) -> NDArray[np.float32]:
    """Return twelve plucked notes: (9.6 * rate,), always the same."""
    notes = torch.cat([make_note(hertz, _NOTE_SECONDS, rate) for hertz in _NOTES_HZ])
    samples: NDArray[np.float32] = notes.numpy()
    rms = math.sqrt(float(np.mean(samples.astype(np.float64) ** 2)))
    return samples * np.float32(10 ** (LOUDNESS_INPUT_DB / 20) / rms)


def _output_rms(engine: "EffectEngine", samples: NDArray[np.float32]) -> float:  # type: ignore[type-arg]
    output = engine.process(engine.initial_state(), samples)
    return math.sqrt(float(np.mean(output.astype(np.float64) ** 2)))


def _decibels(level: float) -> float:
    return 20 * math.log10(level) if level > 0 else _FLOOR_DB
