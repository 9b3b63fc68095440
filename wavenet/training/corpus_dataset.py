"""Training clips of a prepared corpus, each read from disk when it is accessed.

Input: a corpus. Output: sequences of clips, of which only indices are in memory: a million clips
need no more memory than their index. Called by `dataset`.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.corpus.reader import Corpus
from wavenet.errors import DataError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.model_config import ModelConfig
from wavenet.training.held_out import SplitInput, match_held_out, split_recordings
from wavenet.training.recipe import DataConfig
from wavenet.training.segmentation import (
    SegmentBounds,
    TrainingClip,
    max_clip_targets,
    segment_bounds,
)

# Recordings whose frames are cached. This helps only callers that read the segments of a long
# recording in order, such as preview clips: training and validation read clips in shuffled order.
CACHED_RECORDINGS = 16


class CorpusRecordings:
    """The recordings of a corpus, with the frames that a model needs.

    Attributes:
        corpus: source of the samples.
        model: its conditions and its receptive field.
        max_targets: maximum number of targets of a clip.
        frame_features: recording index -> frames (F, columns), cached.
    """

    def __init__(self, corpus: Corpus, model: ModelConfig, max_targets: int):
        self.corpus, self.model, self.max_targets = corpus, model, max_targets
        self.frame_features = lru_cache(CACHED_RECORDINGS)(self._compute_frames)

    def _compute_frames(self, index: int) -> Tensor:
        if not self.model.locals:
            return torch.zeros(0, 0)
        waveform = torch.from_numpy(self.corpus.read(index))
        return compute_frame_features(self.model, self.corpus.header.sample_rate, waveform)


class CorpusClip(TrainingClip):
    """A clip whose waveform, fields and frames are read on first access.

    Args:
        recordings: of the corpus.
        recording: index of the recording.
        segment: index of the segment in the recording.
    """

    def __init__(self, recordings: CorpusRecordings, recording: int, segment: int):
        samples = int(recordings.corpus.records["samples"][recording])
        self._recordings: CorpusRecordings
        self._recording: int
        self._bounds: SegmentBounds
        bounds = segment_bounds(samples, recordings.max_targets, recordings.model, segment)
        # the parent is frozen; its other fields are the properties below
        vars(self).update(
            _recordings=recordings,
            _recording=recording,
            _bounds=bounds,
            start=bounds.start,
            total_samples=samples,
            context=bounds.context,
            first_frame=bounds.first_frame,
        )

    @property
    def samples(self) -> int:
        """Number of samples, the context included."""
        return self._bounds.end - self._bounds.start

    @cached_property
    def waveform(self) -> Tensor:
        """Read the samples (T,), float32."""
        bounds = self._bounds
        samples = self._recordings.corpus.read(self._recording, bounds.start, bounds.end)
        return torch.from_numpy(samples)

    @cached_property
    def fields(self) -> Mapping[str, ConditionValue]:
        """Values by name."""
        return {**self._recordings.corpus.fields(self._recording)}

    @cached_property
    def source(self) -> str:
        """File name of the recording."""
        return PurePosixPath(self._recordings.corpus.names[self._recording]).name

    @cached_property
    def frame_features(self) -> Tensor:
        """Compute the frames (F, columns) from the whole recording, as for a folder."""
        frames = self._recordings.frame_features(self._recording)
        return frames[self._bounds.first_frame : self._bounds.last_frame]


class CorpusClips(Sequence[TrainingClip]):
    """A sequence of clips that are created on access.

    Args:
        recordings: of the corpus.
        index: (n, 2), for each clip the index of its recording and of its segment.
    """

    def __init__(self, recordings: CorpusRecordings, index: NDArray[np.int64]):
        self._recordings, self._index = recordings, index

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self._index)

    @overload
    def __getitem__(self, index: int) -> TrainingClip: ...
    @overload
    def __getitem__(self, index: slice) -> "CorpusClips": ...
    def __getitem__(self, index: int | slice) -> "TrainingClip | CorpusClips":
        """Create a clip, or return a slice of the sequence."""
        if isinstance(index, slice):
            return CorpusClips(self._recordings, self._index[index])
        recording, segment = self._index[index].tolist()
        return CorpusClip(self._recordings, recording, segment)


class OpenedCorpus(NamedTuple):
    """The clips of a corpus, sentences about their division, and the digest of its content."""

    train: CorpusClips
    validation: CorpusClips
    test: CorpusClips
    notices: list[str]
    digest: str


def open_corpus_clips(
    data: DataConfig, corpus: Corpus, sample_rate: int, model: ModelConfig
) -> OpenedCorpus:
    """Split a corpus into the same clips as the folder that it was prepared from.

    Raises:
        DataError: the corpus is damaged, has another rate, or lacks arrays that the model needs.
        ConfigError: fields are requested that the corpus was not prepared with.
        ConditionError: settings of a condition that are impossible at this rate.
    """
    _check_corpus(data, corpus, sample_rate, model)
    data, matched = match_held_out(data, corpus.field_values)
    recordings = CorpusRecordings(corpus, model, max_clip_targets(data, sample_rate))
    recordings.frame_features(0)  # settings that fail for one recording fail for all
    segments = -(-corpus.records["samples"] // recordings.max_targets)
    needs_fields = bool(data.test or data.validation or model.labels)
    candidates = [
        SplitInput(corpus.fields(n) if needs_fields else {}, count, file_index)
        for n, (file_index, count) in enumerate(
            zip(corpus.records["number"].tolist(), segments.tolist(), strict=True)
        )
    ]
    splits, notices = split_recordings(data, model, candidates, corpus.header.files)
    train_segments = np.array([split.train_segments for split in splits])
    rest = np.array([split.rest for split in splits])
    recording = np.repeat(np.arange(len(corpus)), segments)
    segment = np.arange(len(recording)) - np.repeat(np.cumsum(segments) - segments, segments)
    index = np.stack([recording, segment], axis=1)
    is_train = segment < train_segments[recording]
    masks = [is_train, *(~is_train & (rest[recording] == part) for part in ("validation", "test"))]
    train, validation, test = (CorpusClips(recordings, index[mask]) for mask in masks)
    return OpenedCorpus(train, validation, test, [*matched, *notices], corpus.content_digest())


def _check_corpus(data: DataConfig, corpus: Corpus, sample_rate: int, model: ModelConfig) -> None:
    header, folder = corpus.header, corpus.folder
    if header.sample_rate != sample_rate:
        raise DataError(
            f"the corpus {folder} has {header.sample_rate} Hz, the model {sample_rate}; use "
            f"--sample-rate {header.sample_rate}, or prepare a corpus with {sample_rate}"
        )
    corpus.check_field_source(data.pattern, data.metadata)
    corpus.check_reading(data.channel, data.normalize)
    if data.speed_perturbation:
        raise DataError(
            f"the corpus {folder} holds its recordings at one speed; remove "
            "data.speed_perturbation from the recipe, or train from the folder of recordings"
        )
    arrays = [c.name for c in data.conditions_with_files(model.conditions)]
    if arrays:
        raise DataError(
            f"the condition {arrays[0]!r} is read from files beside recordings, which a prepared "
            "corpus does not hold; train from the folder of recordings"
        )
