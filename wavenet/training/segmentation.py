"""Segments of recordings: their bounds, their context, and the split into training and held-out.

Input: lengths and settings. Output: bounds of segments, and the split into training, validation and
test. No audio is read here. Called by `dataset` for recordings in memory and by `corpus_dataset`
for recordings on disk.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from wavenet.model.conditioning import ConditionValue, max_context
from wavenet.model.model_config import ModelConfig
from wavenet.training.recipe import DataConfig


@dataclass(frozen=True)
class TrainingClip:
    """A recording, or one segment of a long one.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; the first `context` samples are not targets.
        fields: by name, values of the file name or the metadata, and vectors from files.
        start: position in the recording at which the waveform begins, in samples.
        total_samples: length of the whole recording.
        context: number of samples at the beginning that are read, not predicted.
        source: file name of the recording, for messages.
        frame_features: (F, columns) float32 frames of the local conditions, or (0, 0).
        first_frame: the frame of the recording at which `frame_features` begins.
    """

    waveform: Tensor
    fields: Mapping[str, ConditionValue]
    start: int
    total_samples: int
    context: int
    source: str
    frame_features: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    first_frame: int = 0

    @property
    def samples(self) -> int:
        """Number of samples, the context included."""
        return self.waveform.shape[0]


class SegmentBounds(NamedTuple):
    """The position of a segment in its recording.

    Attributes:
        start, end: its samples, context included, end excluded.
        context: number of these samples that are read, not predicted.
        first_frame, last_frame: its frames, the last excluded.
    """

    start: int
    end: int
    context: int
    first_frame: int
    last_frame: int


def max_clip_targets(data: DataConfig, sample_rate: int) -> int:
    """Return the largest number of targets of a clip: `max_seconds`, at least one sample."""
    return max(1, round(data.max_seconds * sample_rate))


def count_segments(total_samples: int, max_targets: int) -> int:
    """Return the number of segments of a recording, each of at most `max_targets` targets."""
    return -(-total_samples // max_targets)


def segment_bounds(
    total_samples: int, max_targets: int, model: ModelConfig, index: int
) -> SegmentBounds:
    """Compute the bounds of a segment, with one receptive field of context before its targets.

    The segments of a recording have about equal numbers of targets. A model whose receptive field
    is None starts every segment with its initial memory, without context.

    Args:
        total_samples: length of the recording.
        max_targets: maximum number of targets of a segment.
        model: its receptive field and its conditions.
        index: of the segment, counted from 0.
    """
    segments, hop, width = (
        count_segments(total_samples, max_targets),
        model.condition_hop,
        max_context(model),
    )
    begin, end = (round(n * total_samples / segments) for n in (index, index + 1))
    receptive_field = model.receptive_field
    start = begin if receptive_field is None else max(0, begin - receptive_field)
    # the frames of the samples, one more for the interpolation, and the frames around them
    first, last = max(0, start // hop - width), -(-end // hop) + 1 + width
    return SegmentBounds(start, end, begin - start, first, last)


def split_point(
    data: DataConfig, fields: Mapping[str, str], segments: int, file_index: int, files: int
) -> int | None:
    """Return the number of segments for training; None: all are for the test.

    The segments after the split point are for validation.

    Args:
        data: selects the held-out recordings.
        fields: of the recording.
        segments: of the recording.
        file_index: of the recording among all files, counted from 0.
        files: number of all files.
    """
    fraction = data.validation_fraction
    if is_selected(data.test, fields):
        return None
    if data.validation:
        return 0 if is_selected(data.validation, fields) else segments
    if _whole_files(files * fraction):
        # a file is held out where floor(index * fraction) increases: evenly spread over the files
        before, after = (_whole_files(n * fraction) for n in (file_index, file_index + 1))
        return segments if after == before else 0
    # too few files to hold one out: hold out the end of each that has several segments
    return max(1, segments - math.ceil(segments * fraction))


def is_selected(chosen: Mapping[str, tuple[str, ...]], fields: Mapping[str, str]) -> bool:
    """Return whether a recording has one of the chosen values of any field."""
    return any(fields.get(name) in values for name, values in chosen.items())


def _whole_files(count: float) -> int:
    return math.floor(count + 1e-9)
