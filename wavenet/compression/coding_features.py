"""What the network knows about the next sample: 23 numbers per step, from samples before it.

Input: the predictions of `linear_predictors` and the samples before. Output: per step and lane the
features (float32), the centre and the scale in which the network expresses its distribution, and
the scales of the adaptive distributions. Training computes them for whole recordings with
`compute_features`, coding step by step: the same operations in the same order.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wavenet.compression import exact_math, lane_kernels, linear_predictors
from wavenet.compression.exact_math import log2, squashed
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.linear_predictors import (
    N_PREDICTORS,
    WITH_REFERENCE,
    PredictorState,
    accept,
    predict,
)
from wavenet.engines.cpu.jit import compiled, inlined

N_FEATURES = 2 * N_PREDICTORS + 13

SLOW_RATE, FAST_RATE, FASTEST_RATE = 1 / 100, 1 / 12, 1 / 3
_LEVEL_RATE = 1 / 256
_FIRST_ERROR = 100.0  # expected before the first sample, in quantisation steps
_SMALLEST = 0.03  # smallest scale, in quantisation steps


class FeatureState(NamedTuple):
    """Running means of 16 lanes, changed in place; float64 (16,), in quantisation steps.

    `slow`, `fast`, `fastest`: means of |error| of the combined prediction. `own`: of the predictor
    with reference samples. `level`: of |sample|.
    `skew`: of the error. `errors`: (predictors + 1, 16), the last errors. `last`: the last samples.
    `step`: (1,) int64, samples so far.
    """

    slow: np.ndarray
    fast: np.ndarray
    fastest: np.ndarray
    own: np.ndarray
    level: np.ndarray
    skew: np.ndarray
    errors: np.ndarray
    last: np.ndarray
    step: np.ndarray


def make_feature_state() -> FeatureState:
    """Return the state before the first sample."""
    return FeatureState(
        slow=np.full(LANES, _FIRST_ERROR),
        fast=np.full(LANES, _FIRST_ERROR),
        fastest=np.full(LANES, _FIRST_ERROR),
        own=np.full(LANES, _FIRST_ERROR),
        level=np.full(LANES, _FIRST_ERROR),
        skew=np.zeros(LANES),
        errors=np.zeros((N_PREDICTORS + 1, LANES)),
        last=np.zeros(LANES),
        step=np.zeros(1, dtype=np.int64),
    )


@inlined
def fill_features(features, state, predictors):  # type: ignore[no-untyped-def]
    """Write the features of the next sample: float32 (N_FEATURES, 16), about -1 to 1 each.

    Input: the state, and the predictor state after its `predict`.
    """
    age = 1.0 / (1.0 + float(state.step[0]) / 64.0)
    for lane in range(LANES):
        slow, level = state.slow[lane], state.level[lane]
        mixed, last = predictors.mixed[lane], state.last[lane]
        for k in range(N_PREDICTORS):
            difference = (predictors.predictions[k, lane] - mixed) / slow
            features[k, lane] = np.float32(squashed(2.0 * difference))
            features[N_PREDICTORS + k, lane] = np.float32(squashed(state.errors[k, lane] / slow))
        at = 2 * N_PREDICTORS
        error = state.errors[N_PREDICTORS, lane]
        features[at, lane] = np.float32(squashed(error / slow))
        features[at + 1, lane] = np.float32(0.25 * log2(math.fabs(error) / slow + 0.05))
        features[at + 2, lane] = np.float32(0.125 * log2(slow))
        features[at + 3, lane] = np.float32(0.5 * log2(state.fast[lane] / slow))
        features[at + 4, lane] = np.float32(0.25 * log2(state.fastest[lane] / slow))
        features[at + 5, lane] = np.float32(0.125 * log2(level / slow))
        features[at + 6, lane] = np.float32(squashed(mixed / level))
        features[at + 7, lane] = np.float32(squashed(last / level))
        features[at + 8, lane] = np.float32(squashed((mixed - last) / level))
        features[at + 9, lane] = np.float32(squashed(4.0 * (mixed - last) / slow))
        features[at + 10, lane] = np.float32(squashed(4.0 * state.skew[lane] / slow))
        nearest = float(int(mixed + 16777216.5) - 16777216)
        features[at + 11, lane] = np.float32((mixed - nearest) / (1.0 + slow))
        features[at + 12, lane] = np.float32(age)


@inlined
def update_features(state, predictors, samples):  # type: ignore[no-untyped-def]
    """Add the samples of the step, (16,) float64, before the predictors accept them."""
    first = 1.0 / (float(state.step[0]) + 2.0)
    slow_rate, fast_rate = max(SLOW_RATE, first), max(FAST_RATE, first)
    fastest_rate, level_rate = max(FASTEST_RATE, first), max(_LEVEL_RATE, first)
    state.step[0] += 1
    for lane in range(LANES):
        x = samples[lane]
        for k in range(N_PREDICTORS):
            state.errors[k, lane] = x - predictors.predictions[k, lane]
        error = x - predictors.mixed[lane]
        state.errors[N_PREDICTORS, lane] = error
        size = math.fabs(error) + _SMALLEST
        state.slow[lane] += slow_rate * (size - state.slow[lane])
        state.fast[lane] += fast_rate * (size - state.fast[lane])
        state.fastest[lane] += fastest_rate * (size - state.fastest[lane])
        own = math.fabs(state.errors[WITH_REFERENCE, lane]) + _SMALLEST
        state.own[lane] += fast_rate * (own - state.own[lane])
        state.level[lane] += level_rate * (math.fabs(x) + 1.0 - state.level[lane])
        state.skew[lane] += fast_rate * (error - state.skew[lane])
        state.last[lane] = x


def _features_of_streams(samples, references, predictors, state, features, centres, scales):  # type: ignore[no-untyped-def]
    for t in range(samples.shape[0]):
        before = predictors.positions[0] - 1
        for lane in range(LANES):
            predictors.reference[before * LANES + lane] = references[t, lane]
        predict(predictors)
        fill_features(features[t], state, predictors)
        for lane in range(LANES):
            centres[t, lane] = predictors.mixed[lane]
            scales[t, lane] = state.slow[lane]
        update_features(state, predictors, samples[t])
        accept(predictors, samples[t])


FEATURE_SOURCES = tuple(
    Path(str(path))
    for path in (
        exact_math.__file__,
        lane_kernels.__file__,
        linear_predictors.__file__,
        __file__,
    )
)
_run = compiled(_features_of_streams, FEATURE_SOURCES)


def compute_features(
    streams: Sequence[np.ndarray], references: Sequence[np.ndarray | None] | None = None
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Compute the features of up to 16 whole streams.

    Args:
        streams: of integers, (samples,) each.
        references: another channel of each stream, or None.
    Returns:
        per stream: features (samples, N_FEATURES) float32; centres and scales (samples,) float64.
    """
    longest = max(len(stream) for stream in streams)
    samples, other = np.zeros((longest, LANES)), np.zeros((longest, LANES))
    for lane, stream in enumerate(streams):
        samples[: len(stream), lane] = stream
        reference = references[lane] if references else None
        if reference is not None:
            other[: len(stream), lane] = reference
    features = np.zeros((longest, N_FEATURES, LANES), dtype=np.float32)
    centres, scales = np.zeros((longest, LANES)), np.zeros((longest, LANES))
    predictors: PredictorState = linear_predictors.make_predictor_state()
    _run(samples, other, predictors, make_feature_state(), features, centres, scales)
    return [
        (
            features[: len(stream), :, lane].copy(),
            centres[: len(stream), lane].copy(),
            scales[: len(stream), lane].copy(),
        )
        for lane, stream in enumerate(streams)
    ]
