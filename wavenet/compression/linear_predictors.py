"""Online linear predictors of 16 lanes: least squares over the recent past, solved again and again.

Input: the samples of 16 streams, one time step after the other, and optionally one reference sample
per stream (another channel at the same time). Output: for every step, the predictions of all
predictors and their combination. All numbers are float64 in units of one quantisation step; all
operations are additions, multiplications, divisions and square roots in one fixed order (see
`lane_kernels`), so encoder and decoder agree on every processor. Called by `coding_features` and
`stream_coder`.

A predictor with n past samples and q reference samples, and decay d, minimises

    sum over s < t of d^(t-s) (x[s] - w . z[s])^2,
    z[s] = (x[s-1], ..., x[s-n], r[s], ..., r[s-q+1])

Its normal equations need sums of products d^(t-s) x[s-i] x[s-j]. Such a sum depends on j - i only,
if it is taken i steps earlier. So one step updates a few sums per lag, not a matrix, and the matrix
is gathered from the sums of the last steps when it is solved (Cholesky).

Source: Haykin, Adaptive Filter Theory, chapter 9 (exponentially weighted least squares).
"""

import math
from typing import NamedTuple

import numpy as np

from wavenet.compression.lane_kernels import LANES, decayed_products, subtract_products
from wavenet.engines.cpu.jit import inlined


class PredictorShape(NamedTuple):
    """One predictor: past samples, reference samples, decay per step, steps between solutions."""

    past: int
    references: int
    decay: float
    interval: int


# Measured on speech, music and notes; docs/experiments/compression.md.
PREDICTORS = (
    PredictorShape(past=32, references=0, decay=0.999, interval=8),
    PredictorShape(past=16, references=8, decay=0.997, interval=8),
    PredictorShape(past=32, references=0, decay=0.995, interval=8),
    PredictorShape(past=16, references=0, decay=0.99, interval=4),
    PredictorShape(past=10, references=0, decay=0.98, interval=2),
)
N_PREDICTORS = len(PREDICTORS)
WITH_REFERENCE = 1  # index of the predictor with reference samples
_PAST = np.array([shape.past for shape in PREDICTORS])
_REFERENCES = np.array([shape.references for shape in PREDICTORS])
_DECAYS = np.array([shape.decay for shape in PREDICTORS])
_INTERVALS = np.array([shape.interval for shape in PREDICTORS])

LONGEST = int(_PAST.max())
_HISTORY = 1024  # steps between copies of the history
_RIDGE = 3.0  # added to the diagonal: variance of a few quantisation steps
_RELATIVE_RIDGE = 1e-7

MIX_DECAY = 0.98
_MIX_RIDGE = 0.02  # of the energy of the errors


def _lags(shape: PredictorShape) -> int:
    """Return the sums per step: x x, and with a reference x r, r x and r r."""
    more = 2 * shape.references + shape.past + 1 if shape.references else 0
    return shape.past + 1 + more


_LAGS = np.array([_lags(shape) for shape in PREDICTORS])
_SIZES = np.array([shape.past + shape.references for shape in PREDICTORS])
_SUM_STARTS = np.concatenate([[0], np.cumsum(_LAGS * (_PAST + 1) * LANES)])
_WEIGHT_STARTS = np.concatenate([[0], np.cumsum(_SIZES * LANES)])
_LARGEST = int(max(_SIZES.max(), N_PREDICTORS))


class PredictorState(NamedTuple):
    """The memory of all predictors, changed in place. All float64, except `positions`.

    `past` and `reference`: the newest sample first, from positions[0]. `sums`: rings of sums of
    products, one per predictor. `weights`: one vector per predictor. `predictions`: (predictors,
    16). `mixed`: (16,), their combination. `mix_sums`, `mix_weights`: its normal equations.
    `matrix`: space for one solution.
    """

    positions: np.ndarray
    past: np.ndarray
    reference: np.ndarray
    sums: np.ndarray
    weights: np.ndarray
    predictions: np.ndarray
    mixed: np.ndarray
    mix_sums: np.ndarray
    mix_inputs: np.ndarray
    mix_weights: np.ndarray
    matrix: np.ndarray


def make_predictor_state() -> PredictorState:
    """Return the state before the first sample: everything is zero."""
    history = (_HISTORY + LONGEST + 2) * LANES
    return PredictorState(
        positions=np.array([_HISTORY, 0], dtype=np.int64),
        past=np.zeros(history),
        reference=np.zeros(history),
        sums=np.zeros(int(_SUM_STARTS[-1])),
        weights=np.zeros(int(_WEIGHT_STARTS[-1])),
        predictions=np.zeros((N_PREDICTORS, LANES)),
        mixed=np.zeros(LANES),
        mix_sums=np.zeros((N_PREDICTORS + 2) * N_PREDICTORS * LANES),
        mix_inputs=np.zeros((N_PREDICTORS + 1) * LANES),
        mix_weights=np.zeros(N_PREDICTORS * LANES),
        matrix=np.zeros((_LARGEST + 1) * _LARGEST * LANES),
    )


@inlined
def _solve(matrix, size, weights, weights_at):  # type: ignore[no-untyped-def]
    """Solve A w = b by Cholesky. `matrix`: rows of the lower half of A, then b; overwritten."""
    row = size * LANES
    for j in range(size):
        diagonal = j * row + j * LANES
        for i in range(j, size + 1):
            at = i * row + j * LANES
            subtract_products(matrix, at, matrix, i * row, LANES, matrix, j * row, LANES, j)
            if i == j:
                for lane in range(LANES):
                    matrix[at + lane] = 1.0 / math.sqrt(max(matrix[at + lane], 1e-3))
            else:
                for lane in range(LANES):
                    matrix[at + lane] *= matrix[diagonal + lane]
    for i in range(size - 1, -1, -1):
        at = size * row + i * LANES
        below = (i + 1) * row + i * LANES
        known = weights_at + (i + 1) * LANES
        subtract_products(matrix, at, matrix, below, row, weights, known, LANES, size - 1 - i)
        diagonal = i * row + i * LANES
        for lane in range(LANES):
            weights[weights_at + i * LANES + lane] = matrix[at + lane] * matrix[diagonal + lane]


@inlined
def _copy_lanes(to, to_at, source, at):  # type: ignore[no-untyped-def]
    for lane in range(LANES):
        to[to_at + lane] = source[at + lane]


@inlined
def _sum_at(k, now, steps_ago, lag):  # type: ignore[no-untyped-def]
    """Return the place of a sum of predictor k, as it was some steps ago."""
    depth = _PAST[k] + 1
    row = now - steps_ago
    if row < 0:
        row += depth
    return _SUM_STARTS[k] + (row * _LAGS[k] + lag) * LANES


@inlined
def _solve_predictor(state, k, now):  # type: ignore[no-untyped-def]
    """Gather the normal equations of predictor k from its sums, and solve them."""
    past, references = _PAST[k], _REFERENCES[k]
    size = past + references
    row = size * LANES
    x_r, r_x, r_r = past + 1, past + 1 + references, 2 * past + 2 + references
    for i in range(past):
        for j in range(i + 1):
            at = _sum_at(k, now, j + 1, i - j)
            _copy_lanes(state.matrix, i * row + j * LANES, state.sums, at)
        _copy_lanes(state.matrix, size * row + i * LANES, state.sums, _sum_at(k, now, 0, i + 1))
    for j in range(references):
        to = (past + j) * row
        for i in range(past):
            # x[s - i - 1] r[s - j]
            if j >= i + 1:
                at = _sum_at(k, now, i + 1, x_r + j - i - 1)
            else:
                at = _sum_at(k, now, j, r_x + i + 1 - j)
            _copy_lanes(state.matrix, to + i * LANES, state.sums, at)
        for i in range(j + 1):
            at = _sum_at(k, now, i, r_r + j - i)
            _copy_lanes(state.matrix, to + (past + i) * LANES, state.sums, at)
        to = size * row + (past + j) * LANES
        _copy_lanes(state.matrix, to, state.sums, _sum_at(k, now, 0, x_r + j))
    for i in range(size):
        at = i * row + i * LANES
        for lane in range(LANES):
            state.matrix[at + lane] += state.matrix[at + lane] * _RELATIVE_RIDGE + _RIDGE
    _solve(state.matrix, size, state.weights, _WEIGHT_STARTS[k])


@inlined
def _solve_mix(state):  # type: ignore[no-untyped-def]
    """Solve for the weights of the combination, with a ridge towards the mean of all predictors."""
    row = N_PREDICTORS * LANES
    energy = (N_PREDICTORS + 1) * row
    for at in range((N_PREDICTORS + 1) * row):
        state.matrix[at] = state.mix_sums[at]
    for i in range(N_PREDICTORS):
        at = i * row + i * LANES
        for lane in range(LANES):
            state.matrix[at + lane] += _MIX_RIDGE * state.mix_sums[energy + lane] + 0.1
    _solve(state.matrix, N_PREDICTORS, state.mix_weights, 0)


@inlined
def predict(state):  # type: ignore[no-untyped-def]
    """Compute `predictions` and `mixed` of the next sample.

    The reference samples of the next step must be at state.reference[(positions[0] - 1) * 16].
    """
    at = state.positions[0] * LANES
    for lane in range(LANES):
        state.mixed[lane] = 0.0
    for k in range(N_PREDICTORS):
        weights_at = _WEIGHT_STARTS[k]
        total = state.matrix
        for lane in range(LANES):
            total[lane] = 0.0
        subtract_products(
            total, 0, state.weights, weights_at, LANES, state.past, at, LANES, _PAST[k]
        )
        weights_at += _PAST[k] * LANES
        subtract_products(
            total,
            0,
            state.weights,
            weights_at,
            LANES,
            state.reference,
            at - LANES,
            LANES,
            _REFERENCES[k],
        )
        for lane in range(LANES):
            state.predictions[k, lane] = -total[lane]
            state.mixed[lane] -= total[lane] * (1.0 / N_PREDICTORS)
    for lane in range(LANES):
        mean = state.mixed[lane]
        for k in range(N_PREDICTORS):
            difference = state.predictions[k, lane] - mean
            state.mix_inputs[k * LANES + lane] = difference
            state.mixed[lane] += state.mix_weights[k * LANES + lane] * difference
        state.mix_inputs[N_PREDICTORS * LANES + lane] = mean


@inlined
def _update_mix(state, newest):  # type: ignore[no-untyped-def]
    """Add the step to the normal equations of the combination, then solve them."""
    row = N_PREDICTORS * LANES
    mean_at = N_PREDICTORS * LANES
    for lane in range(LANES):
        # becomes what the weights should have produced
        state.mix_inputs[mean_at + lane] = (
            state.past[newest + lane] - state.mix_inputs[mean_at + lane]
        )
    for i in range(N_PREDICTORS + 1):
        decayed_products(
            state.mix_sums,
            i * row,
            state.mix_sums,
            i * row,
            MIX_DECAY,
            state.mix_inputs,
            i * LANES,
            state.mix_inputs,
            0,
            N_PREDICTORS,
        )
    energy = (N_PREDICTORS + 1) * row
    decayed_products(
        state.mix_sums,
        energy,
        state.mix_sums,
        energy,
        MIX_DECAY,
        state.mix_inputs,
        mean_at,
        state.mix_inputs,
        mean_at,
        1,
    )
    _solve_mix(state)


@inlined
def accept(state, samples):  # type: ignore[no-untyped-def]
    """Add the samples of the step, (16,) float64, and solve the predictors whose turn it is."""
    if state.positions[0] == 1:
        for at in range((LONGEST + 1) * LANES - 1, -1, -1):
            state.past[_HISTORY * LANES + at] = state.past[LANES + at]
            state.reference[_HISTORY * LANES + at] = state.reference[LANES + at]
        # the reference of this step, too
        _copy_lanes(state.reference, (_HISTORY - 1) * LANES, state.reference, 0)
        state.positions[0] = _HISTORY
    state.positions[0] -= 1
    newest = state.positions[0] * LANES
    _copy_lanes(state.past, newest, samples, 0)
    step = state.positions[1]
    state.positions[1] = step + 1
    for k in range(N_PREDICTORS):
        past, references = _PAST[k], _REFERENCES[k]
        depth = past + 1
        now = step % depth
        new, old = _sum_at(k, now, 0, 0), _sum_at(k, now, 1, 0)
        sums, decay = state.sums, _DECAYS[k]
        decayed_products(sums, new, sums, old, decay, state.past, newest, state.past, newest, depth)
        if references > 0:
            more = depth * LANES
            decayed_products(
                sums,
                new + more,
                sums,
                old + more,
                decay,
                state.past,
                newest,
                state.reference,
                newest,
                references,
            )
            more += references * LANES
            decayed_products(
                sums,
                new + more,
                sums,
                old + more,
                decay,
                state.reference,
                newest,
                state.past,
                newest,
                depth,
            )
            more += depth * LANES
            decayed_products(
                sums,
                new + more,
                sums,
                old + more,
                decay,
                state.reference,
                newest,
                state.reference,
                newest,
                references,
            )
        if (step + k) % _INTERVALS[k] == 0:
            _solve_predictor(state, k, now)
    _update_mix(state, newest)
