"""The linear filter beside a trained effect: it finds a filter, and no distortion."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.effects.training.training_data import make_pair
from wavenet.effects.training.effect_pairs import (
    EffectPair,
    PairPart,
    SplitSettings,
    split_pairs,
)
from wavenet.effects.training.linear_baseline import TAPS, fit_linear_filter, linear_error


@pytest.mark.parametrize("clip_samples", [None, 500])
def test_the_taps_of_a_filter_are_found(clip_samples):
    rng = np.random.default_rng(0)
    taps = rng.standard_normal(TAPS) * np.exp(-np.arange(TAPS) / 8)
    dry = rng.standard_normal(70_000)
    clips = dry.reshape(-1, clip_samples or len(dry))
    wet = np.concatenate([np.convolve(clip, taps)[: len(clip)] for clip in clips])
    tensors = (torch.from_numpy(x).float() for x in (dry, wet))
    settings = SplitSettings(clip_samples=clip_samples)
    (split,) = split_pairs([EffectPair("x", *tensors, {})], settings, 10)
    found = fit_linear_filter(split)
    assert np.abs(found - taps).max() < 1e-4
    assert linear_error(split, split.validation, found) < 1e-8
    assert linear_error(split, split.test, found) is None


def test_the_error_of_a_distortion_remains():
    (split,) = split_pairs([make_pair()], SplitSettings(), 10)
    taps = fit_linear_filter(split)
    error = linear_error(split, split.training, taps)
    assert error > 0.1
    # least squares: any other filter is worse
    for n in (0, 5):
        other = taps.copy()
        other[n] *= 1.05
        assert linear_error(split, split.training, other) > error


def test_a_pair_without_a_training_part_is_fitted_to_another_one_of_its_setting():
    def pair(gain, part, sign=1):
        made = make_pair(gain, part=part, seed=int(part is PairPart.VALIDATION))
        return replace(made, wet=sign * made.wet)

    both = [pair(0.5, PairPart.TRAINING, -1), pair(0.5, PairPart.VALIDATION)]
    first, second = split_pairs(both, SplitSettings(), 10)
    assert np.array_equal(fit_linear_filter(second, [first, second]), fit_linear_filter(first))
    third = split_pairs([*both, pair(1.0, PairPart.VALIDATION)], SplitSettings(), 10)[2]
    own = fit_linear_filter(third, [first, second, third])
    assert linear_error(third, third.validation, own) < 0.5
