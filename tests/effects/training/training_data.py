"""Synthetic effects with a knob, tiny networks and their settings, for the tests of training."""

import numpy as np
import torch
from scipy.signal import lfilter

from tests.effects.pair_sounds import plucked
from wavenet.effects.training.effect_architecture import ArraySizes, EffectArchitecture
from wavenet.effects.training.effect_pairs import EffectPair, SplitSettings, split_pairs
from wavenet.effects.training.train_effect import EffectTrainingSettings
from wavenet.effects.training.trained_effect import EffectKnob, TrainedEffectConfig

RATE = 8000
ARCHITECTURE = EffectArchitecture(
    kind="custom",
    head_scale=0.3,
    arrays=(
        ArraySizes(channels=6, dilations=(1, 2, 4)),
        ArraySizes(channels=4, dilations=(1, 2, 4)),
    ),
)
FIELD = 29
KNOB = EffectKnob(name="gain", settings=(0.0, 0.5, 1.0), default=0.5)
SETTINGS = EffectTrainingSettings(
    steps=6, windows_per_step=3, window_samples=256, validate_every=2, learning_rate=5e-3
)


def drive(dry, gain):
    """Return a filter and a distortion whose strength is the knob."""
    return 0.5 * np.tanh((8 + 12 * gain) * lfilter([0.7], [1, -0.3], dry))


def make_pair(gain=None, seconds=3.0, seed=0, **options):
    """Return a pair of the synthetic effect; without a gain it has no knob."""
    dry = plucked(seconds, RATE, seed)
    wet = drive(dry, 0.5 if gain is None else gain)
    setting = {} if gain is None else {"gain": gain}
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (dry, wet))
    return EffectPair(f"wet {gain}", *tensors, setting, **options)


def make_split(gains=(None,), **options):
    """Return split pairs."""
    pairs = [make_pair(gain) for gain in gains]
    return split_pairs(pairs, SplitSettings(**options), FIELD)


def make_effect_config(knobs=(), **options):
    """Return the config of a tiny effect."""
    values = {"sample_rate": RATE, "architecture": ARCHITECTURE, "knobs": knobs}
    return TrainedEffectConfig(**values | options)


def changed(settings, **options):
    """Return checked settings with other values."""
    return type(settings)(**dict(settings) | options)


def equal_weights(first, second):
    """Return whether two networks are equal bit for bit."""
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
