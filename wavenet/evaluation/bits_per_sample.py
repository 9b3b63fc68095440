"""Bits per sample of a model on held-out recordings, in comparison with baselines.

Input: a checkpoint, fitted baselines and recordings. Output: `RecordingBits` per recording, and
rows of a table with confidence intervals. All methods score the same codes of the same recordings.
Called by `wavenet evaluate likelihood`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from wavenet.checkpoint import Checkpoint, CheckpointConfig
from wavenet.evaluation.baselines import CONTEXT, Baseline, Codes, select_evenly
from wavenet.evaluation.labelled_clips import condition_values_of_recording
from wavenet.likelihood.score import score_windows
from wavenet.training.segmentation import TrainingClip

# Name of the evaluated model among the methods. metrics.json has it for every architecture.
MODEL_METHOD = "model"
MAX_FIT_SAMPLES = 10_000_000
BASELINE_WINDOW = 1 << 22  # codes whose bits under a baseline are computed at once
RESAMPLES = 1000
CONFIDENCE_LEVEL = 0.95


@dataclass(frozen=True)
class RecordingBits:
    """The bits of one recording.

    Attributes:
        name: of the file.
        labels: by name.
        samples: number of samples.
        bits: of the whole recording, by method.
    """

    name: str
    labels: Mapping[str, str]
    samples: int
    bits: Mapping[str, float]


def encode_clip(config: CheckpointConfig, clip: TrainingClip) -> Codes:
    """Encode a recording (T,) with the codec of a checkpoint."""
    return np.asarray(config.codec.encode(clip.waveform).numpy())


def encode_baseline_clips(config: CheckpointConfig, clips: Sequence[TrainingClip]) -> list[Codes]:
    """Encode recordings for the baselines: evenly selected, at most about `MAX_FIT_SAMPLES`."""
    selected = select_evenly([clip.samples for clip in clips], MAX_FIT_SAMPLES)
    # a copy, because a view keeps the whole array in memory
    return [encode_clip(config, clips[n])[:MAX_FIT_SAMPLES].copy() for n in selected]


def score_recordings(
    checkpoint: Checkpoint,
    clips: Sequence[TrainingClip],
    baselines: Mapping[str, Baseline],
    label_names: Sequence[str],
) -> Iterator[RecordingBits]:
    """Score recordings under the model and under all baselines.

    Args:
        checkpoint: the model.
        clips: whole recordings.
        baselines: fitted, by name.
        label_names: of the labels to report.
    Yields:
        The bits of each recording, in the order of `clips`.
    Raises:
        ConditionError: a recording has no samples, or lacks a condition of the model.
    """
    config = checkpoint.config
    for clip in clips:
        codes = encode_clip(config, clip)
        values = condition_values_of_recording(config, clip)
        windows = score_windows(
            checkpoint, clip.waveform, values, frame_features=clip.frame_features
        )
        bits = {MODEL_METHOD: sum(float(surprise.double().sum()) for surprise in windows)}
        bits |= {name: sum_bits(baseline, codes) for name, baseline in baselines.items()}
        labels = {name: str(clip.fields[name]) for name in label_names}
        yield RecordingBits(clip.source, labels, len(codes), bits)


def sum_bits(baseline: Baseline, codes: Codes, window: int = BASELINE_WINDOW) -> float:
    """Return the bits of a recording under a baseline, computed window by window.

    Args:
        baseline: fitted.
        codes: (T,), of the recording.
        window: number of codes that are computed at once, without context; limits the memory.
    """
    total = 0.0
    for begin in range(0, len(codes), window):
        start = max(0, begin - CONTEXT)
        total += float(baseline.bits(codes[start : begin + window])[begin - start :].sum())
    return total


def summarise_bits(
    recordings: Sequence[RecordingBits], label_names: Sequence[str], seed: int = 0
) -> list[dict[str, Any]]:
    """Return the rows of the table: all recordings, then those of each value of each label.

    Args:
        recordings: from `score_recordings`.
        label_names: of the labels.
        seed: of the bootstrap.
    Returns:
        Per row: label and value (None for all), clips, samples, bits_per_sample by method, and
        interval, the confidence interval of the model: low and high, or None for a single
        recording.
    """
    groups: list[tuple[str | None, str | None]] = [(None, None)]
    for name in label_names:
        groups += [(name, value) for value in sorted({one.labels[name] for one in recordings})]
    rows = []
    for label, value in groups:
        members = [one for one in recordings if label is None or one.labels[label] == value]
        samples = np.array([one.samples for one in members])
        by_method = {m: np.array([one.bits[m] for one in members]) for m in members[0].bits}
        rows.append(
            {
                "label": label,
                "value": value,
                "clips": len(members),
                "samples": int(samples.sum()),
                "bits_per_sample": {
                    method: float(bits.sum() / samples.sum()) for method, bits in by_method.items()
                },
                "interval": bootstrap_interval(by_method[MODEL_METHOD], samples, seed),
            }
        )
    return rows


def bootstrap_interval(
    bits: NDArray[Any], samples: NDArray[Any], seed: int = 0
) -> tuple[float, float] | None:
    """Return a confidence interval of bits per sample, by the percentile bootstrap.

    Recordings are resampled, not samples, because adjacent samples are correlated.

    Args:
        bits, samples: (N,) of each recording.
        seed: of the resamples.
    Returns:
        The bounds at `CONFIDENCE_LEVEL`, from `RESAMPLES` resamples of N recordings; None if N = 1.
    Source: Efron 1979.
    """
    if len(bits) < 2:
        return None
    result = bootstrap(
        (bits, samples),
        lambda bits, samples, axis: bits.sum(axis) / samples.sum(axis),
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE_LEVEL,
        method="percentile",
        paired=True,
        vectorized=True,
        rng=np.random.default_rng(seed),
    )
    bounds = result.confidence_interval
    return float(bounds.low), float(bounds.high)
