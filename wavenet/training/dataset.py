"""Clips for training, validation and test, from a folder of recordings or a prepared corpus.

Input: audio files, with fields from `audio_metadata` and frames from `model.frame_features`.
Output: a `Dataset`, whose clips `batches` collates. All recordings of a folder are held in memory;
the clips of a corpus are read on access (`corpus_dataset`). Called by the command line and the
evaluations.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor

from audio_utils import io
from audio_utils.errors import AudioError
from audio_utils.levels import Levels, LevelSummary
from wavenet.corpus.format import is_corpus, read_corpus_report
from wavenet.corpus.reader import Corpus
from wavenet.errors import ConditionError, DataError
from wavenet.model.conditioning import ConditionValue
from wavenet.model.conditions import Condition
from wavenet.model.frame_features import compute_frame_features, read_array
from wavenet.model.model_config import ModelConfig
from wavenet.recordings.audio_metadata import (
    AudioFile,
    AudioListing,
    field_values,
    list_audio_files,
    match_fields,
    relative_name,
    rename_fields,
)
from wavenet.recordings.left_out_files import (
    LeftOutCollector,
    LeftOutFiles,
    merge_groups,
    unreadable_reason,
)
from wavenet.terminal import escape_controls
from wavenet.training.corpus_dataset import open_corpus_clips
from wavenet.training.held_out import (
    RecordingSplit,
    SplitInput,
    match_held_out,
    split_recordings,
)
from wavenet.training.label_checks import LabelDoubt, find_label_doubts
from wavenet.training.number_checks import check_numbers, numbers_from_fields
from wavenet.training.recipe import DataConfig
from wavenet.training.run_identity import RecordingRecord, hash_recording
from wavenet.training.segmentation import (
    TrainingClip,
    count_segments,
    max_clip_targets,
    segment_bounds,
    split_point,
)
from wavenet.user_input.equal_values import describe_merged
from wavenet.user_input.user_paths import expand_home

# Limit of a recording: 2 GiB as float32, three hours at 48 kHz. Training holds all recordings of a
# folder in memory anyway; `wavenet data prepare` reads recordings of any length.
MAX_RECORDING_SAMPLES = 2**29


@dataclass
class Dataset:
    """The clips of a folder or a corpus, split into three parts.

    Attributes:
        train, validation, test: clips.
        skipped: one sentence per file that training cannot use.
        n_speeds: number of speeds at which each recording for training is played.
        recording_count: number of recordings that are used.
        left_out: the files of the folder that are not used, by reason.
        doubts: signs that the values of the model's labels are mistakes.
        levels: recordings beyond full scale, and recordings whose channels cancel; empty for a
            prepared corpus, whose own report contains them.
        notices: sentences about the division that a user may not expect.
        data: the settings with which the clips were read.
        recordings: by path in the folder, a record of each; empty for a corpus.
        corpus: digest of the content of a corpus.
    """

    train: Sequence[TrainingClip] = field(default_factory=list)
    validation: Sequence[TrainingClip] = field(default_factory=list)
    test: Sequence[TrainingClip] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    n_speeds: int = 1
    recording_count: int = 0
    left_out: Sequence[LeftOutFiles] = ()
    doubts: Sequence[LabelDoubt] = ()
    levels: LevelSummary = field(default_factory=LevelSummary)
    notices: list[str] = field(default_factory=list)
    data: DataConfig | None = None
    recordings: dict[str, RecordingRecord] = field(default_factory=dict)
    corpus: str | None = None


def read_dataset(data: DataConfig, sample_rate: int, model: ModelConfig) -> Dataset:
    """Read a folder or open a corpus, compute the model's frames, cut long recordings, split.

    Vectors, and frames that are not computed from the recording, are read from files beside it,
    `<recording>.<condition>.npy`. Unreadable files are skipped, each with a sentence in `skipped`.
    The shards of a prepared corpus are only compared with the hashes of their preparation.

    Raises:
        DataError: there is no clip to train on, or the corpus is damaged or has another rate.
        ConfigError: the corpus was not prepared with the requested fields.
    """
    if data.folder is None:
        raise DataError("no folder of audio is given; set data.folder in the recipe or --data")
    folder = expand_home(data.folder)
    if is_corpus(folder):
        dataset = _open_corpus_dataset(folder, data, sample_rate, model)
    else:
        dataset = _read_folder(folder, data, sample_rate, model)
    dataset.data = data
    if not dataset.train:
        held_out = len(dataset.validation) + len(dataset.test)
        held = f"; {held_out} are held out by data.validation and data.test" if held_out else ""
        reason = f"; the first error: {dataset.skipped[0]}" if dataset.skipped else ""
        raise DataError(f"{data.folder} has no clip to train on{held}{reason}")
    return dataset


@dataclass
class _FolderRecording:
    """A recording of a folder; `number` is the index of its file, `perturbed` at other speeds."""

    entry: AudioFile
    number: int
    clips: list[TrainingClip]
    perturbed: list[list[TrainingClip]]
    digest: str


def _read_folder(folder: Path, data: DataConfig, sample_rate: int, model: ModelConfig) -> Dataset:
    listing = list_recordings(folder, data, model)
    entries, skipped, levels = listing.files, listing.folder_errors, LevelSummary()
    left_out, counts = LeftOutCollector(), _ValueCounts(model)
    data, matched = match_held_out(data, field_values(entries))
    recordings: list[_FolderRecording] = []
    for number, entry in enumerate(entries):
        try:
            clips, found = _read_clips(entry, data, sample_rate, model, 1.0)
            is_trained = split_point(data, entry.fields, len(clips), number, len(entries))
            perturbed = _read_other_speeds(entry, data, sample_rate, model) if is_trained else []
            digest = _hash_recording(entry, data, model)
        except (AudioError, ConditionError) as error:
            skipped.append(str(error))
            left_out.add(unreadable_reason(entry.path), relative_name(entry.path, folder))
            continue
        counts.add(entry.fields)
        levels = levels.with_file(entry.path.name, found)
        recordings.append(_FolderRecording(entry, number, clips, perturbed, digest))
    candidates = [SplitInput(r.entry.fields, len(r.clips), r.number) for r in recordings]
    splits, notices = split_recordings(data, model, candidates, len(entries))
    for recording, split in zip(recordings, splits, strict=True):
        # held out by a fraction, until the correction
        if split.train_segments and not recording.perturbed:
            try:
                recording.perturbed = _read_other_speeds(recording.entry, data, sample_rate, model)
            except (AudioError, ConditionError) as error:
                notices.append(f"used at its own speed only: {error}")
    dataset = _join_parts(recordings, splits)
    dataset.skipped, dataset.levels = skipped, levels
    dataset.notices = [*_describe_merged(listing.merged, data, model), *matched, *notices]
    dataset.n_speeds = 1 + len(data.speed_perturbation)
    dataset.recording_count = counts.recordings
    dataset.left_out = merge_groups(listing.left_out, left_out.groups)
    dataset.doubts = find_label_doubts(counts.by_field)
    for recording, split in zip(recordings, splits, strict=True):
        name = escape_controls(relative_name(recording.entry.path, folder))
        dataset.recordings[name] = _describe_recording(recording, split)
    return dataset


def _join_parts(
    recordings: Sequence[_FolderRecording], splits: Sequence[RecordingSplit]
) -> Dataset:
    """Return a dataset with the clips of all recordings, each in its part."""
    train: list[TrainingClip] = []
    rest: dict[str, list[TrainingClip]] = {"validation": [], "test": [], "unused": []}
    for recording, split in zip(recordings, splits, strict=True):
        clips, first_held_out = recording.clips, split.train_segments
        rest[split.rest].extend(clips[first_held_out:])
        for version in (clips, *recording.perturbed):
            # if the end of a recording is held out: the same fraction at every speed
            train.extend(version[: first_held_out * len(version) // len(clips)])
    return Dataset(train, rest["validation"], rest["test"])


def _describe_recording(recording: _FolderRecording, split: RecordingSplit) -> RecordingRecord:
    segments = len(recording.clips)
    part: str = split.rest if not split.train_segments else "train"
    if 0 < split.train_segments < segments:
        part = f"train {split.train_segments} of {segments}"
    samples = recording.clips[0].total_samples
    return RecordingRecord(samples=samples, digest=recording.digest, part=part)


def _hash_recording(entry: AudioFile, data: DataConfig, model: ModelConfig) -> str:
    stored = data.conditions_with_files(model.conditions)
    arrays = [_array_path(entry.path, condition.name) for condition in stored]
    used = {c.name for c in (*model.labels, *model.globals)}
    return hash_recording(
        entry.path, arrays, {name: value for name, value in entry.fields.items() if name in used}
    )


def _read_other_speeds(
    entry: AudioFile, data: DataConfig, sample_rate: int, model: ModelConfig
) -> list[list[TrainingClip]]:
    return [_read_clips(entry, data, sample_rate, model, s)[0] for s in data.speed_perturbation]


def open_corpus(folder: Path, data: DataConfig, model: ModelConfig) -> Corpus:
    """Open a corpus; its fields are renamed as in `match_fields`.

    Raises:
        DataError: the corpus is damaged, the spelling of a field is close to a wanted name, or the
            number of a recording is wrong.
    """
    corpus = Corpus(folder)
    renamed = match_fields(
        corpus.header.fields, _wanted_fields(data, model), f"the corpus {folder}"
    )
    corpus.rename_fields(renamed)
    if numbers_from_fields(model):
        rows = ((corpus.names[n], corpus.fields(n)) for n in range(len(corpus)))
        source = corpus.header.metadata or "the names of the recordings"
        check_numbers(model, rows, f"{source}, and prepare the corpus again")
    return corpus


def _open_corpus_dataset(
    folder: Path, data: DataConfig, sample_rate: int, model: ModelConfig
) -> Dataset:
    corpus = open_corpus(folder, data, model)
    corpus.check_content()
    opened = open_corpus_clips(data, corpus, sample_rate, model)
    dataset = Dataset(opened.train, opened.validation, opened.test)
    dataset.corpus = opened.digest
    names = {condition.name for condition in model.labels}
    counts = {name: numbers for name, numbers in corpus.count_values().items() if name in names}
    dataset.recording_count = len(corpus)
    report = read_corpus_report(folder)
    dataset.left_out = report.left_out
    renamed = match_fields(corpus.header.fields, _wanted_fields(data, model), str(folder))
    merged = rename_fields(report.merged, renamed)
    dataset.notices = [*_describe_merged(merged, data, model), *opened.notices]
    dataset.doubts = find_label_doubts(counts)
    return dataset


class _ValueCounts:
    """Numbers of recordings by the values of the model's labels."""

    def __init__(self, model: ModelConfig):
        self.recordings = 0
        self.by_field: dict[str, Counter[str]] = {c.name: Counter() for c in model.labels}

    def add(self, fields: Mapping[str, str]) -> None:
        """Count one recording."""
        self.recordings += 1
        for name, counter in self.by_field.items():
            if name in fields:
                counter[fields[name]] += 1


def _wanted_fields(data: DataConfig, model: ModelConfig) -> set[str]:
    """Return the names of the fields that the model and the split use."""
    numbers = (condition.name for condition in numbers_from_fields(model))
    labels = (condition.name for condition in model.labels)
    return {*labels, *numbers, *data.validation, *data.test}


def list_recordings(folder: Path, data: DataConfig, model: ModelConfig) -> AudioListing:
    """List a folder; fields are renamed as in `match_fields`.

    Raises:
        DataError: as `list_audio_files`, the spelling of a field is close to a wanted name, or the
            number of a recording is wrong.
    """
    listing = list_audio_files(folder, data.pattern, data.metadata)
    found = {name for entry in listing.files for name in entry.fields}
    renamed = match_fields(found, _wanted_fields(data, model), str(data.folder))
    if renamed:
        files = [replace(e, fields=rename_fields(e.fields, renamed)) for e in listing.files]
        listing = replace(listing, files=files, merged=rename_fields(listing.merged, renamed))
    table = listing.table.name if listing.table else None
    rows = ((_name_in_table(entry, folder, table), entry.fields) for entry in listing.files)
    check_numbers(model, rows, table or "the names of the recordings")
    return listing


def _name_in_table(entry: AudioFile, folder: Path, table: str | None) -> str:
    """Return the name of a recording, and the row of its fields if they are from a table."""
    name = relative_name(entry.path, folder)
    return name if entry.line is None else f"{table} line {entry.line} ({name})"


def _describe_merged(
    merged: Mapping[str, Mapping[str, str]], data: DataConfig, model: ModelConfig
) -> list[str]:
    """Return a sentence for each label, or field that holds out recordings, with merged values."""
    used = {*(c.name for c in model.labels), *data.validation, *data.test}
    return [describe_merged(name, pairs) for name, pairs in merged.items() if name in used]


def _read_clips(
    entry: AudioFile, data: DataConfig, sample_rate: int, model: ModelConfig, speed: float
) -> tuple[list[TrainingClip], Levels]:
    """Read a recording at a speed and cut it into segments with their frames."""
    # A recording that is resampled to a lower rate than the model's sounds faster. Resampling
    # directly from the file keeps all high frequencies that a slowed recording can have.
    recording = io.read(
        entry.path,
        round(sample_rate / speed),
        MAX_RECORDING_SAMPLES,
        channel=data.channel,
        normalize=data.normalize,
    )
    waveform = recording.waveform
    arrays = _read_arrays(entry.path, data, model.locals)
    frames = compute_frame_features(model, sample_rate, waveform, arrays)
    fields: dict[str, ConditionValue] = {**entry.fields}
    fields |= _read_arrays(entry.path, data, model.globals)
    max_targets = max_clip_targets(data, sample_rate)
    clips = cut_recording(waveform, fields, max_targets, model, entry.path.name, frames)
    return clips, recording.levels


def cut_recording(
    waveform: Tensor,
    fields: Mapping[str, ConditionValue],
    max_targets: int,
    model: ModelConfig,
    source: str,
    frame_features: Tensor,
) -> list[TrainingClip]:
    """Cut a recording into clips of at most `max_targets` targets, each after its own context.

    Args:
        waveform: (T,) float32; fields, source: as in `TrainingClip`.
        max_targets: maximum number of targets of a clip.
        model: its receptive field and its conditions.
        frame_features: (F, columns) of the whole recording.
    """
    samples = waveform.shape[0]
    clips = []
    for index in range(count_segments(samples, max_targets)):
        start, end, context, first, last = segment_bounds(samples, max_targets, model, index)
        frames = frame_features[first:last]
        clips.append(
            TrainingClip(
                waveform[start:end], fields, start, samples, context, source, frames, first
            )
        )
    return clips


def _read_arrays(
    path: Path, data: DataConfig, conditions: Iterable[Condition]
) -> dict[str, Tensor]:
    """Read the arrays in files beside a recording, by condition name."""
    return {
        condition.name: read_array(_array_path(path, condition.name))
        for condition in data.conditions_with_files(conditions)
    }


def _array_path(path: Path, name: str) -> Path:
    return path.with_suffix(f".{name}.npy")
