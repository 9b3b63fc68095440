"""A recording -> its clips: where they begin, what they see before that, which are held out.

Called by `data`, of recordings that are read, and by `stored`, of such that are yet to be.
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
class Clip:
    """A recording, or one segment of a long one.

    Attributes:
        waveform: (T,) float32 in [-1, 1]; the first `context` samples are no targets.
        labels: fields and vectors by name.
        start: where in the recording the waveform begins, in samples.
        total: length of the whole recording in samples.
        context: samples at the beginning that are given, not predicted.
        source: file name, for messages.
        local: (F, columns) float32 frames of the local conditions, or (0, 0).
        first: the frame of the recording at which `local` begins.
    """

    waveform: Tensor
    labels: Mapping[str, ConditionValue]
    start: int
    total: int
    context: int
    source: str
    local: Tensor = field(default_factory=lambda: torch.zeros(0, 0))
    first: int = 0

    @property
    def samples(self) -> int:
        """Number of samples, the context included."""
        return self.waveform.shape[0]


class Cut(NamedTuple):
    """One of the segments of a recording.

    Attributes:
        start, end: where its samples are; context: how many of them are given, not predicted.
        first, last: where its frames are, the last not included.
    """

    start: int
    end: int
    context: int
    first: int
    last: int


def cut(total: int, longest: int, model: ModelConfig, piece: int) -> Cut:
    """Find a segment of a recording of `total` samples: at most `longest` targets, and context."""
    pieces, hop, width = -(-total // longest), model.condition_hop, max_context(model)
    begin, end = (round(n * total / pieces) for n in (piece, piece + 1))
    start = begin if model.receptive_field is None else max(0, begin - model.receptive_field)
    # what lies around the samples, and one frame more to interpolate to
    first, last = max(0, start // hop - width), -(-end // hop) + 1 + width
    return Cut(start, end, begin - start, first, last)


def segments(
    waveform: Tensor,
    labels: Mapping[str, ConditionValue],
    longest: int,
    model: ModelConfig,
    source: str,
    local: Tensor,
) -> list[Clip]:
    """Cut a recording into clips of at most `longest` targets, each after its own context."""
    total = waveform.shape[0]
    cuts = [cut(total, longest, model, n) for n in range(-(-total // longest))]
    return [
        Clip(
            *(waveform[c.start : c.end], labels, c.start, total, c.context, source),
            *(local[c.first : c.last], c.first),
        )
        for c in cuts
    ]


def count_kept(
    data: DataConfig, fields: Mapping[str, str], pieces: int, number: int, files: int
) -> int | None:
    """Say how many of the pieces of a recording are to train on; None: all are for a test.

    Those after them are to validate on.

    Args:
        fields: of the recording, which is the `number`th of so many files.
    """
    share = data.validation_share
    if any(fields.get(name) in values for name, values in data.test.items()):
        return None
    if data.validation:
        held = any(fields.get(name) in values for name, values in data.validation.items())
        return 0 if held else pieces
    if _whole(files * share):
        # the share of the files so far, counted in whole files, grows with this one
        return pieces if _whole((number + 1) * share) == _whole(number * share) else 0
    # Too few files to spare one: the end of each that is long enough to be cut.
    return max(1, pieces - math.ceil(pieces * share))


def _whole(files: float) -> int:
    return math.floor(files + 1e-9)


def longest_clip(data: DataConfig, sample_rate: int) -> int:
    """Give the most targets that a clip may have."""
    return max(1, round(data.max_seconds * sample_rate))
