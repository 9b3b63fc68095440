"""Bits per sample of a model on recordings that it never saw, beside those of simple models.

A checkpoint, baselines and recordings enter; a `Cost` for each recording leaves, and rows of a
table with their intervals. All methods pay for the same codes of the same recordings.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.evaluation.baselines import Baseline, Codes, spread
from wavenet.evaluation.recordings import given_to
from wavenet.likelihood.score import score
from wavenet.training.cuts import Clip

MODEL = "wavenet"
MAX_FIT_SAMPLES = 10_000_000
RESAMPLES = 1000
LEVEL = 95  # percent of the resamples lie in the interval


@dataclass(frozen=True)
class Cost:
    """What a recording costs.

    Attributes:
        name: of its file.
        labels: by name.
        samples: how many there are.
        bits: of the whole recording, by method.
    """

    name: str
    labels: Mapping[str, str]
    samples: int
    bits: Mapping[str, float]


def codes_of(config: CheckpointConfig, clip: Clip) -> Codes:
    """Encode a recording (T,) as the checkpoint does."""
    codes = config.codec.encode(clip.waveform)
    return np.asarray(codes.numpy())


def codes_to_fit(config: CheckpointConfig, clips: Sequence[Clip]) -> list[Codes]:
    """Encode what baselines learn from: at most about `MAX_FIT_SAMPLES`, evenly over the clips."""
    chosen = spread([clip.samples for clip in clips], MAX_FIT_SAMPLES)
    return [codes_of(config, clips[n]) for n in chosen]


def measure(
    checkpoint: Checkpoint,
    clips: Sequence[Clip],
    baselines: Mapping[str, Baseline],
    names: Sequence[str],
) -> Iterator[Cost]:
    """Score recordings by the model and by all baselines.

    Args:
        names: of the labels to be told.
    Yields:
        the cost of each recording, in the order given.
    Raises:
        ConditionError: a recording without samples, or without a condition of the model.
    """
    config = checkpoint.config
    for clip in clips:
        codes = codes_of(config, clip)
        scored = score(checkpoint, clip.waveform, given_to(config, clip), frame_features=clip.local)
        bits = {MODEL: float(scored.bits.double().sum())}
        bits |= {name: float(simple.bits(codes).sum()) for name, simple in baselines.items()}
        labels = {name: str(clip.labels[name]) for name in names}
        yield Cost(clip.source, labels, len(codes), bits)


def summarise(costs: Sequence[Cost], names: Sequence[str], seed: int = 0) -> list[dict[str, Any]]:
    """Make the rows of the table: all recordings, then those of each value of each label.

    Args:
        names: of the labels.
        seed: of the resamples.
    Returns:
        per row: label and value (None for all), clips, samples, bits per sample by method, and the
        interval of the model's: low and high, or None for a single recording.
    """
    groups: list[tuple[str | None, str | None]] = [(None, None)]
    for name in names:
        groups += [(name, value) for value in sorted({cost.labels[name] for cost in costs})]
    rows = []
    for label, value in groups:
        mine = [cost for cost in costs if label is None or cost.labels[label] == value]
        samples = np.array([cost.samples for cost in mine])
        by_method = {m: np.array([cost.bits[m] for cost in mine]) for m in mine[0].bits}
        rows.append(
            {
                "label": label,
                "value": value,
                "clips": len(mine),
                "samples": int(samples.sum()),
                "bits_per_sample": {
                    method: float(bits.sum() / samples.sum()) for method, bits in by_method.items()
                },
                "interval": interval(by_method[MODEL], samples, seed),
            }
        )
    return rows


def interval(
    bits: np.ndarray[Any, Any], samples: np.ndarray[Any, Any], seed: int = 0
) -> tuple[float, float] | None:
    """Bound bits per sample by the bootstrap over recordings: neighbouring samples are alike.

    Args:
        bits, samples: (N,) of each recording; drawn N at a time, with replacement, `RESAMPLES`
            times.
    Returns:
        the percentiles between which `LEVEL` percent of the resamples lie; None for N = 1.
    Source: Efron 1979.
    """
    if len(bits) < 2:
        return None
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(bits), size=(RESAMPLES, len(bits)))
    means = bits[chosen].sum(1) / samples[chosen].sum(1)
    low, high = np.percentile(means, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)
