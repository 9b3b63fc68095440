"""Audio files -> clips to train on and clips held out.

A folder enters (through `manifest`), which is read whole, or a prepared corpus, of which a clip is
read when it is looked at; clips leave, with their labels and frames. `batches` puts them side by
side.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from wavenet.corpus.format import is_corpus
from wavenet.errors import ConditionError, DataError
from wavenet.manifest import Entry, find_entries
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import (
    FramesCondition,
    GlobalCondition,
    LocalCondition,
    VectorCondition,
)
from wavenet.model.frame_features import compute_frame_features, read_array
from wavenet.model.model_config import ModelConfig
from wavenet.training.cuts import Clip as Clip
from wavenet.training.cuts import count_kept, longest_clip
from wavenet.training.cuts import segments as segments
from wavenet.training.recipe import DataConfig
from wavenet.training.stored import open_clips

Arrays = dict[str, Tensor]


@dataclass
class Dataset:
    """The clips of a folder or a corpus, split, and what could not be used."""

    train: Sequence[Clip] = field(default_factory=list)
    validation: Sequence[Clip] = field(default_factory=list)
    test: Sequence[Clip] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)  # one sentence per unreadable file
    speeds: int = 1  # at which each recording to train on is heard


def read_dataset(data: DataConfig, sample_rate: int, model: ModelConfig) -> Dataset:
    """Read a folder, compute the frames that the model asks for, cut long files, split.

    Vectors, and frames that are no feature of the recording, lie beside it in
    `<recording>.<condition>.npy`. Unreadable files are skipped, each with a sentence in `skipped`.
    Of a prepared corpus only the index is read.

    Raises:
        DataError: nothing to train on, a corpus that is damaged or of another rate.
        ConfigError: labels of a corpus are asked for that it was not made with.
    """
    if data.folder is None:
        raise DataError("no folder of audio is given; set data.folder in the recipe or --data")
    if is_corpus(Path(data.folder)):
        dataset = Dataset(*open_clips(data, Path(data.folder), sample_rate, model))
    else:
        dataset = _read_folder(Path(data.folder), data, sample_rate, model)
    if not dataset.train:
        why = f"; the first fault: {dataset.skipped[0]}" if dataset.skipped else ""
        raise DataError(f"{data.folder} leaves no clip to train on{why}")
    return dataset


def _read_folder(folder: Path, data: DataConfig, sample_rate: int, model: ModelConfig) -> Dataset:
    train: list[Clip] = []
    validation: list[Clip] = []
    test: list[Clip] = []
    skipped: list[str] = []
    entries = find_entries(folder, data.pattern, data.metadata)
    for number, entry in enumerate(entries):
        try:
            clips = _read_clips(entry, data, sample_rate, model, 1.0)
            keep = count_kept(data, entry.fields, len(clips), number, len(entries))
            sped = [_read_clips(entry, data, sample_rate, model, s) for s in data.speeds if keep]
        except (AudioError, ConditionError) as error:
            skipped.append(str(error))
            continue
        if keep is None:
            test.extend(clips)
            continue
        validation.extend(clips[keep:])
        for heard in (clips, *sped):
            # of a long recording whose end is held out, as much at every speed
            train.extend(heard[: keep * len(heard) // len(clips)])
    return Dataset(train, validation, test, skipped, 1 + len(data.speeds))


def _read_clips(
    entry: Entry, data: DataConfig, sample_rate: int, model: ModelConfig, speed: float
) -> list[Clip]:
    # At a lower rate than it is then taken for, it sounds faster; with all the treble that it has.
    waveform = io.read(entry.path, round(sample_rate / speed)).waveform
    local = compute_frame_features(
        model, sample_rate, waveform, read_arrays(entry.path, model.locals)
    )
    fields: dict[str, ConditionValue] = {**entry.fields}
    fields |= read_arrays(entry.path, model.globals)
    longest = longest_clip(data, sample_rate)
    return segments(waveform, fields, longest, model, entry.path.name, local)


def read_arrays(path: Path, conditions: Iterable[LocalCondition | GlobalCondition]) -> Arrays:
    """Read the arrays that lie beside a recording, by condition name.

    Raises:
        ConditionError: one is missing or cannot be read.
    """
    return {
        condition.name: read_array(path.with_suffix(f".{condition.name}.npy"))
        for condition in conditions
        if isinstance(condition, FramesCondition | VectorCondition)
    }


def label_values(clips: Iterable[Clip], name: str) -> tuple[str, ...]:
    """List the labels found under a name, in order.

    Raises:
        DataError: a clip has no such field.
    """
    found = set()
    for clip in clips:
        labels = clip.labels
        if name not in labels:
            have = ", ".join(labels) or "none"
            raise DataError(f"{clip.source} has no field {name!r}; its fields: {have}")
        found.add(str(labels[name]))
    return tuple(sorted(found))
