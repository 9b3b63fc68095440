"""Compiled wrappers for parts that are otherwise inlined into the loop of the coder."""

from pathlib import Path

from wavenet.compression import exact_math, range_coder, stream_coder, value_distribution
from wavenet.compression.lane_kernels import subtract_products
from wavenet.compression.linear_predictors import accept, predict
from wavenet.engines.cpu.jit import compiled

_SOURCES = (*stream_coder._SOURCES, Path(__file__))


def _log2(values, results):
    for n in range(values.shape[0]):
        results[n] = exact_math.log2(values[n])


def _exp2(values, results):
    for n in range(values.shape[0]):
        results[n] = exact_math.exp2(values[n])


def _logistic(values, results, table):
    for n in range(values.shape[0]):
        results[n] = exact_math.logistic(values[n], table)


def _cumulative(distribution, lane, values, bits, results):
    for n in range(values.shape[0]):
        results[n] = value_distribution.cumulative(distribution, lane, values[n], bits)


def _find(distribution, lane, targets, centre, width, bits, results):
    for n in range(targets.shape[0]):
        value, low, high = value_distribution.find_value(
            distribution, lane, targets[n], centre, width, bits
        )
        results[n, 0] = value
        results[n, 1] = low
        results[n, 2] = high


def _fill(distribution, lane, params, centre, slow, fast):
    value_distribution.fill_distribution(
        distribution, lane, params, centre, slow, fast, centre, fast
    )


def _encode_intervals(coder, lane, intervals):
    for n in range(intervals.shape[0]):
        if not range_coder.encode_interval(coder, lane, intervals[n, 0], intervals[n, 1]):
            return n
    return intervals.shape[0]


def _decode_intervals(coder, lane, intervals, targets):
    for n in range(intervals.shape[0]):
        targets[n] = range_coder.decoder_target(coder, lane)
        range_coder.decode_interval(coder, lane, intervals[n, 0], intervals[n, 1])


def _dot(y, a, b, n):
    subtract_products(y, 0, a, 0, 16, b, 0, 16, n)


def _predictions(state, samples, references, mixed):
    for t in range(samples.shape[0]):
        at = (state.positions[0] - 1) * 16
        for lane in range(16):
            state.reference[at + lane] = references[t, lane]
        predict(state)
        for lane in range(16):
            mixed[t, lane] = state.mixed[lane]
        accept(state, samples[t])


log2 = compiled(_log2, _SOURCES)
exp2 = compiled(_exp2, _SOURCES)
logistic = compiled(_logistic, _SOURCES)
cumulative = compiled(_cumulative, _SOURCES)
find = compiled(_find, _SOURCES)
fill = compiled(_fill, _SOURCES)
encode_intervals = compiled(_encode_intervals, _SOURCES)
decode_intervals = compiled(_decode_intervals, _SOURCES)
dot = compiled(_dot, _SOURCES)
predictions = compiled(_predictions, _SOURCES)
