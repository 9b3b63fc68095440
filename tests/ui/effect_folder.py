"""Small effects for the tests of the Effects tab: a folder with a knob, and a `.nam` file."""

from pathlib import Path

import numpy as np
import torch

from wavenet.effects.nam_file import write_nam
from wavenet.effects.nam_model import NamModel
from wavenet.effects.nam_weights import count_weights
from wavenet.effects.standard_shapes import make_standard_shape
from wavenet.effects.training.effect_architecture import ArraySizes, EffectArchitecture
from wavenet.effects.training.trained_effect import (
    EffectKnob,
    TrainedEffect,
    TrainedEffectConfig,
    save_effect_folder,
)

RATE = 8000
KNOB = "gain"
HOSTILE = '{"version": "0.5.4", "architecture": "<b>Evil", "config": {}, "weights": []}'


def save_effect(folder: Path, rate: int = RATE, knobs: tuple[str, ...] = (KNOB,)) -> Path:
    """Write a random effect of small size; its default of each knob is 0.25."""
    sizes = ArraySizes(channels=2, dilations=(1, 2, 4))
    config = TrainedEffectConfig(
        name=folder.name,
        sample_rate=rate,
        architecture=EffectArchitecture(kind="custom", arrays=(sizes,), head_scale=0.3),
        knobs=tuple(EffectKnob(name=name, settings=(0, 1), default=0.25) for name in knobs),
    )
    torch.manual_seed(0)
    folder.mkdir(parents=True, exist_ok=True)
    save_effect_folder(folder, TrainedEffect(config))
    return folder


def save_nam(path: Path, rate: int | None = 48_000) -> Path:
    """Write a random nano model."""
    shape = make_standard_shape("nano")
    weights = np.random.default_rng(3).normal(0, 0.3, count_weights(shape)).astype(np.float32)
    write_nam(NamModel(shape, weights, sample_rate=rate, metadata={"name": "<i>box</i>"}), path)
    return path
