"""Streams of integers to bytes and back: up to 16 streams, one sample of each per step.

Input: streams of signed integers, each with a reference stream or none. Output: bytes; decoding
returns the same integers. Encoder and decoder are one loop. In a step both predict, by linear
predictors and network, the distribution of the next sample of every stream; the encoder writes the
interval of the sample, the decoder reads it; then both accept the sample. All arithmetic is exact,
as `exact_math` describes, so both have equal intervals on any two processors.

A stream is coded by itself: its bytes do not depend on the other streams.

Called by `block_coder`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from wavenet.compression import (
    network_step,
    range_coder,
    value_distribution,
)
from wavenet.compression.coding_features import (
    FEATURE_SOURCES,
    N_FEATURES,
    fill_features,
    make_feature_state,
    update_features,
)
from wavenet.compression.exact_math import LOGISTIC_TABLE
from wavenet.compression.lane_kernels import LANES
from wavenet.compression.linear_predictors import (
    WITH_REFERENCE,
    accept,
    make_predictor_state,
    predict,
)
from wavenet.compression.network_step import StepWeights, make_step_state
from wavenet.compression.range_coder import (
    TAIL_BYTES,
    CoderState,
    decode_interval,
    decoder_target,
    encode_interval,
    finish_encoder,
    make_coder_state,
    start_decoder,
)
from wavenet.compression.value_distribution import (
    cumulative,
    fill_distribution,
    find_value,
    make_distribution,
    update_experts,
)
from wavenet.engines.cpu.jit import compiled


@dataclass(frozen=True)
class Stream:
    """What is coded.

    Attributes:
        samples: (n,) integers; before decoding, an array of that length.
        bits: 1 to 24; the samples are from -2**(bits - 1) to 2**(bits - 1) - 1.
        reference: (n,) integers that the decoder knows already, such as another channel, or None.
        adapts: whether adaptive predictors take part in the distribution.
    """

    samples: np.ndarray
    bits: int
    reference: np.ndarray | None = None
    adapts: bool = True


@dataclass(frozen=True)
class EncodedStream:
    """The bytes of a stream.

    Attributes:
        data: the bytes, or None if they would be more than those of the samples themselves.
        network_bits: bits of all samples under the network alone.
        mixture_bits: bits of all samples under the mixture with the adaptive predictors.
    """

    data: bytes | None
    network_bits: float
    mixture_bits: float


def _code_streams(  # type: ignore[no-untyped-def]
    samples,
    references,
    lengths,
    bits,
    is_decoder,
    coder,
    predictors,
    means,
    weights,
    memory,
    distribution,
    features,
    current,
):
    rows = features.reshape(N_FEATURES, LANES)
    for t in range(samples.shape[0]):
        before = (predictors.positions[0] - 1) * LANES
        for lane in range(LANES):
            predictors.reference[before + lane] = float(references[t, lane])
        predict(predictors)
        fill_features(rows, means, predictors)
        network_step.network_step(memory, weights, features)
        for lane in range(LANES):
            current[lane] = 0.0
            if t >= lengths[lane]:
                continue
            centre, slow, fast = predictors.mixed[lane], means.slow[lane], means.fast[lane]
            referred, own = predictors.predictions[WITH_REFERENCE, lane], means.own[lane]
            fill_distribution(distribution, lane, memory.params, centre, slow, fast, referred, own)
            if is_decoder:
                target = decoder_target(coder, lane)
                value, start, end = find_value(distribution, lane, target, centre, slow, bits[lane])
                decode_interval(coder, lane, start, end - start)
                samples[t, lane] = value
            else:
                value = np.int64(samples[t, lane])
                start = cumulative(distribution, lane, value, bits[lane])
                end = cumulative(distribution, lane, value + 1, bits[lane])
                if not encode_interval(coder, lane, start, end - start):
                    lengths[lane] = -1
            update_experts(distribution, lane, value, end - start)
            current[lane] = float(value)
        update_features(means, predictors, current)
        accept(predictors, current)


_SOURCES = (
    *FEATURE_SOURCES,
    *(
        Path(str(path))
        for path in (
            network_step.__file__,
            range_coder.__file__,
            value_distribution.__file__,
            __file__,
        )
    ),
)
_code = compiled(_code_streams, _SOURCES)


def encode_streams(streams: Sequence[Stream], weights: StepWeights) -> list[EncodedStream]:
    """Encode up to 16 streams."""
    lengths = _lengths(streams)
    longest = int(lengths.max())
    limits = np.zeros(LANES, dtype=np.int64)
    for lane, stream in enumerate(streams):
        limits[lane] = (len(stream.samples) * stream.bits + 7) // 8
    samples = np.zeros((longest, LANES), dtype=np.int32)
    for lane, stream in enumerate(streams):
        samples[: len(stream.samples), lane] = stream.samples
    coder = make_coder_state(
        np.zeros((LANES, int(limits.max()) + TAIL_BYTES), dtype=np.uint8), limits
    )
    spent = _run(streams, samples, lengths, False, coder, weights)
    return [
        EncodedStream(
            finish_encoder(coder, lane) if lengths[lane] >= 0 else None,
            float(spent[lane, 0]),
            float(spent[lane, 1]),
        )
        for lane in range(len(streams))
    ]


def decode_streams(
    data: Sequence[bytes], streams: Sequence[Stream], weights: StepWeights
) -> list[np.ndarray]:
    """Decode up to 16 streams.

    Damaged bytes give other samples of the same range, not an error.

    Args:
        data: of `encode_streams`.
        streams: as they were encoded, but their samples are not read.
    Returns:
        (n,) int32 each.
    """
    lengths = _lengths(streams)
    samples = np.zeros((int(lengths.max()), LANES), dtype=np.int32)
    ends = np.zeros(LANES, dtype=np.int64)
    rows = np.zeros((LANES, max(map(len, data)) + 1), dtype=np.uint8)
    for lane, text in enumerate(data):
        ends[lane] = len(text)
        rows[lane, : len(text)] = np.frombuffer(text, dtype=np.uint8)
    coder = make_coder_state(rows, ends)
    start_decoder(coder)
    _run(streams, samples, lengths, True, coder, weights)
    return [samples[: len(stream.samples), lane].copy() for lane, stream in enumerate(streams)]


def _lengths(streams: Sequence[Stream]) -> np.ndarray:
    """Return the samples of each lane, (16,) int64; 0 for lanes without a stream."""
    if not 1 <= len(streams) <= LANES:
        raise ValueError(f"expected 1 to {LANES} streams, found {len(streams)}")
    lengths = np.zeros(LANES, dtype=np.int64)
    lengths[: len(streams)] = [len(stream.samples) for stream in streams]
    return lengths


def _run(
    streams: Sequence[Stream],
    samples: np.ndarray,
    lengths: np.ndarray,
    is_decoder: bool,
    coder: CoderState,
    weights: StepWeights,
) -> np.ndarray:
    """Code all samples; return the bits of every lane (16, 2)."""
    references = np.zeros(samples.shape, dtype=np.int32)
    bits, adapts = np.ones(LANES, dtype=np.int64), np.ones(LANES, dtype=np.int64)
    for lane, stream in enumerate(streams):
        bits[lane], adapts[lane] = stream.bits, stream.adapts
        if stream.reference is not None:
            references[: len(stream.reference), lane] = stream.reference
    distribution = make_distribution(LOGISTIC_TABLE, adapts)
    _code(
        samples,
        references,
        lengths,
        bits,
        is_decoder,
        coder,
        make_predictor_state(),
        make_feature_state(),
        weights,
        make_step_state(weights),
        distribution,
        np.zeros(N_FEATURES * LANES, dtype=np.float32),
        np.zeros(LANES),
    )
    return distribution.spent
