"""Improbable places of a recording: clicks, dropouts, splices, foreign sounds and other faults.

A place is improbable if the mean excess over a window of any length exceeds the threshold of that
length. The event is the part of these windows that explains it: the samples with the largest sum of
excess above the threshold. The lengths are checked from the shortest to the longest; the samples of
an event count as expected for longer windows, so that a click is not found again as a long event.
Events that are close together become one.

An event depends only on the samples before its end and on those of the last window behind it.

Input: a checkpoint with its calibration, and a waveform; or the excess of any detector. Output:
`Event`s in the order of time. Called by `wavenet surprise` and the Python interface.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from wavenet.checkpoint import Checkpoint
from wavenet.detection.calibration import SurpriseCalibration, read_calibration
from wavenet.detection.surprise_excess import compute_excess
from wavenet.detection.window_means import MERGE_SECONDS, to_samples, window_means
from wavenet.model.conditioning import ConditionValue

DEFAULT_FALSE_ALARMS = 60.0  # an hour


@dataclass(frozen=True)
class Event:
    """An improbable place of a recording.

    Attributes:
        start, end: seconds from the beginning of the recording.
        peak_surprise: largest mean surprise beyond the expected one in a window, bits per sample.
        ratio: that mean relative to the threshold, above 1.
        window: length of that window, seconds.
    """

    start: float
    end: float
    peak_surprise: float
    ratio: float
    window: float


def find_events(
    checkpoint: Checkpoint,
    waveform: Tensor,
    false_alarms_per_hour: float = DEFAULT_FALSE_ALARMS,
    conditions: Mapping[str, ConditionValue] | None = None,
    calibration: SurpriseCalibration | None = None,
) -> list[Event]:
    """Find the improbable places of a recording.

    Args:
        checkpoint: a loaded model.
        waveform: (T,) float32 in [-1, 1], at the model's rate.
        false_alarms_per_hour: accepted number of events per hour of clean sound, 0.001 to 1800.
        conditions: the condition values by name.
        calibration: None: that in the folder of the checkpoint.
    Raises:
        CheckpointError: the checkpoint has no calibration, or it is damaged.
        ConfigError: the number of false alarms is out of range.
        ConditionError: as in `compute_excess`.
    """
    found = calibration or read_calibration(checkpoint)
    thresholds = found.thresholds(false_alarms_per_hour)
    excess = compute_excess(checkpoint, waveform, conditions)
    return select_events(excess, checkpoint.sample_rate, thresholds)


def select_events(
    excess: Tensor, sample_rate: int, thresholds: Mapping[float, float]
) -> list[Event]:
    """Find the places where the excess of any detector is above a threshold.

    Args:
        excess: (T,) of a recording.
        sample_rate: Hz.
        thresholds: of the mean excess, by the length of the window in seconds.
    """
    left, found = excess.clone(), []
    for seconds, threshold in sorted(thresholds.items()):
        length = to_samples(seconds, sample_rate)
        means = window_means(left, length)
        for first, last in _runs(means > threshold):
            start, end = _densest_part(left, max(0, first - length + 1), last + 1, threshold)
            peak = float(means[first : last + 1].max())
            span = (start / sample_rate, end / sample_rate)
            found.append(Event(*span, peak, peak / threshold, seconds))
        for event in found:
            span_samples = (round(t * sample_rate) for t in (event.start, event.end))
            left[slice(*span_samples)] = 0
    return _merge(found)


def _runs(is_above: Tensor) -> Iterator[tuple[int, int]]:
    """Yield the first and the last index of every run of True in (T,)."""
    changes = torch.nn.functional.pad(is_above.int(), (1, 1)).diff()
    starts, ends = (changes == 1).nonzero()[:, 0], (changes == -1).nonzero()[:, 0]
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        yield start, end - 1


def _densest_part(excess: Tensor, first: int, end: int, threshold: float) -> tuple[int, int]:
    """Return the part of [first, end) with the largest sum of excess above the threshold.

    Source: the maximum-subarray problem, by prefix sums.
    """
    sums = torch.nn.functional.pad((excess[first:end].double() - threshold).cumsum(0), (1, 0))
    lowest = sums.cummin(0)
    best = int((sums[1:] - lowest.values[:-1]).argmax())
    return first + int(lowest.indices[best]), first + best + 1


def _merge(events: list[Event]) -> list[Event]:
    """Join events closer than `MERGE_SECONDS`; each keeps the measures of its clearest part."""
    merged: list[Event] = []
    for event in sorted(events, key=lambda e: (e.start, e.end)):
        if not merged or event.start > merged[-1].end + MERGE_SECONDS:
            merged.append(event)
            continue
        before = merged[-1]
        clearest = max(before, event, key=lambda e: e.ratio)
        merged[-1] = Event(
            before.start,
            max(before.end, event.end),
            *(clearest.peak_surprise, clearest.ratio, clearest.window),
        )
    return merged
