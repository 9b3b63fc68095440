"""Clips of a prepared corpus: each is read when it is looked at, and gone when it is let go.

A corpus enters; sequences of clips leave, of which only numbers are held, so that a million clips
take no more memory than their index.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path, PurePosixPath
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wavenet.corpus.reading import Corpus
from wavenet.errors import DataError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import FramesCondition, VectorCondition
from wavenet.model.frame_features import compute_frame_features
from wavenet.model.model_config import ModelConfig
from wavenet.training.cuts import Clip, Cut, count_kept, cut, longest_clip
from wavenet.training.recipe import DataConfig

# Recordings whose frames are kept, for the segments of a long one ask for them again and again.
RECENT = 16


class Recordings:
    """A corpus as a model takes it.

    Attributes:
        corpus: what is read.
        model: which frames it asks for, and how much context.
        longest: targets of a clip.
    """

    def __init__(self, corpus: Corpus, model: ModelConfig, longest: int):
        self.corpus, self.model, self.longest = corpus, model, longest
        self.frames = lru_cache(RECENT)(self._compute)

    def _compute(self, n: int) -> Tensor:
        if not self.model.locals:
            return torch.zeros(0, 0)
        waveform = torch.from_numpy(self.corpus.read(n))
        return compute_frame_features(self.model, self.corpus.header.sample_rate, waveform)


class StoredClip(Clip):
    """A clip whose waveform, labels and frames are read when they are first asked for."""

    def __init__(self, recordings: Recordings, n: int, piece: int):
        total = int(recordings.corpus.records["samples"][n])
        self._recordings: Recordings
        self._n: int
        self._cut: Cut
        found = cut(total, recordings.longest, recordings.model, piece)
        # what a frozen class sets of itself, but for what is read later
        vars(self).update(
            _recordings=recordings,
            _n=n,
            _cut=found,
            start=found.start,
            total=total,
            context=found.context,
            first=found.first,
        )

    @property
    def samples(self) -> int:
        """Number of samples, the context included."""
        return self._cut.end - self._cut.start

    @cached_property
    def waveform(self) -> Tensor:
        """(T,) float32, read now."""
        samples = self._recordings.corpus.read(self._n, self._cut.start, self._cut.end)
        return torch.from_numpy(samples)

    @cached_property
    def labels(self) -> Mapping[str, ConditionValue]:
        """Fields by name."""
        return {**self._recordings.corpus.labels(self._n)}

    @cached_property
    def source(self) -> str:
        """File name."""
        return PurePosixPath(self._recordings.corpus.names[self._n]).name

    @cached_property
    def local(self) -> Tensor:
        """(F, columns), computed now of all of the recording, as of a folder."""
        return self._recordings.frames(self._n)[self._cut.first : self._cut.last]


class Clips(Sequence[Clip]):
    """Clips that are made when they are asked for.

    Args:
        recordings: what they are cut from.
        rows: (n, 2), for each clip which recording and which piece of it.
    """

    def __init__(self, recordings: Recordings, rows: NDArray[np.int64]):
        self._recordings, self._rows = recordings, rows

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Clip: ...
    @overload
    def __getitem__(self, index: slice) -> "Clips": ...
    def __getitem__(self, index: int | slice) -> "Clip | Clips":
        """Make a clip, or give a part of them."""
        if isinstance(index, slice):
            return Clips(self._recordings, self._rows[index])
        n, piece = self._rows[index].tolist()
        return StoredClip(self._recordings, n, piece)


def open_clips(
    data: DataConfig, folder: Path, sample_rate: int, model: ModelConfig
) -> tuple[Clips, Clips, Clips]:
    """Divide a corpus into clips as the folder that it was made of would be.

    Returns:
        clips to train on, to validate on, for a test.
    Raises:
        DataError: it is damaged, of another rate, or lacks arrays that the model asks for.
        ConfigError: labels are asked for that it was not made with.
        ConditionError: settings of a condition that this rate cannot have.
    """
    corpus = Corpus(folder)
    _check_fit(data, corpus, sample_rate, model)
    recordings = Recordings(corpus, model, longest_clip(data, sample_rate))
    recordings.frames(0)  # what cannot be computed of one cannot be of any
    pieces = -(-corpus.records["samples"] // recordings.longest)
    kept = np.zeros(len(corpus), np.int64)
    is_test = np.zeros(len(corpus), bool)
    for n, (number, count) in enumerate(
        zip(corpus.records["number"].tolist(), pieces.tolist(), strict=True)
    ):
        fields = corpus.labels(n) if data.test or data.validation else {}
        keep = count_kept(data, fields, count, number, corpus.header.files)
        kept[n], is_test[n] = keep or 0, keep is None
    recording = np.repeat(np.arange(len(corpus)), pieces)
    piece = np.arange(len(recording)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    rows = np.stack([recording, piece], axis=1)
    is_train, is_test = piece < kept[recording], is_test[recording]
    chosen = (is_train & ~is_test, ~is_train & ~is_test, is_test)
    train, validation, test = (Clips(recordings, rows[part]) for part in chosen)
    return train, validation, test


def _check_fit(data: DataConfig, corpus: Corpus, sample_rate: int, model: ModelConfig) -> None:
    header, folder = corpus.header, corpus.folder
    if header.sample_rate != sample_rate:
        raise DataError(
            f"the corpus {folder} has {header.sample_rate} Hz, the model {sample_rate}; give "
            f"--sample-rate {header.sample_rate}, or prepare one with {sample_rate}"
        )
    corpus.check_labels(data.pattern, data.metadata)
    if data.speeds:
        raise DataError(
            f"the corpus {folder} holds its recordings at one speed; take data.speeds out of the "
            "recipe, or train from the folder of recordings"
        )
    arrays = [c.name for c in model.conditions if isinstance(c, FramesCondition | VectorCondition)]
    if arrays:
        raise DataError(
            f"the condition {arrays[0]!r} is read from files beside recordings, which a prepared "
            "corpus does not hold; train from the folder of recordings"
        )
