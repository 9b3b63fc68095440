"""The config of the checkpoint to be trained.

Input: a recipe and a dataset. Output: a `CheckpointConfig`. A recipe may omit the values of its
label conditions and the default length of a clip; they are then taken from the dataset, and so are
the statistics of frames and windows. Called by the command line, before `loop`.
"""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence

import torch

from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config
from wavenet.corpus.format import is_corpus
from wavenet.errors import ConfigError, DataError
from wavenet.generation.guard import GuardConfig, measure_windows
from wavenet.model.conditions import LabelCondition, NumberCondition
from wavenet.model.frame_scales import FrameStatistics, measure_statistics
from wavenet.model.model_config import ModelConfig
from wavenet.recordings.audio_metadata import field_values
from wavenet.training.dataset import Dataset, list_recordings, open_corpus
from wavenet.training.held_out import check_held_out, match_held_out
from wavenet.training.recipe import RecipeConfig
from wavenet.training.segmentation import TrainingClip
from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.user_paths import expand_home

MAX_DEFAULT_SECONDS = 60.0
# Enough for a mean and a range. Clips of a corpus compute their frames again on each access.
MEASURED_CLIPS = 200


def resolve_config(
    recipe: RecipeConfig, dataset: Dataset, has_initial_weights: bool = False
) -> CheckpointConfig:
    """Return the recipe's config with labels and default length taken from the dataset.

    Args:
        recipe, dataset: of the training.
        has_initial_weights: whether the weights are those of a checkpoint that was trained on all
            label values of the recipe.
    Raises:
        DataError: a clip lacks a field that is a label condition of the model.
        ConfigError: the data contain a label value that is not in the recipe, or the recipe
            contains one that no clip for training has.
    """
    conditions = []
    for condition in recipe.model.conditions:
        if isinstance(condition, LabelCondition):
            found = label_values(dataset.train, condition.name)
            held_out = label_values(dataset.validation, condition.name)
            unknown = {*found, *held_out} - set(condition.values or found)
            if unknown:
                raise ConfigError(
                    f"the data contain {condition.name} {min(unknown)!r}, "
                    "which is not in the recipe"
                )
            untrained = set(condition.values) - set(found)
            if untrained and not has_initial_weights:
                raise ConfigError(
                    f"the recipe has {condition.name} {min(untrained)!r}, which no recording for "
                    "training has; remove it from the values of the condition"
                )
            values = {**condition.model_dump(), "values": condition.values or found}
            condition = make_config(LabelCondition, f"the labels of {condition.name}", **values)
        conditions.append(condition)
    model = {**dict(recipe.model), "conditions": tuple(conditions)}
    rate = recipe.audio.sample_rate
    median = statistics.median(clip.total_samples for clip in dataset.train) / rate
    return make_config(
        CheckpointConfig,
        recipe.name,
        name=recipe.name,
        audio=recipe.audio,
        codec=recipe.codec,
        model=make_config(type(recipe.model), recipe.name, **model),
        default_seconds=_default_seconds(median, recipe.model.longest_clip, rate),
        frame_statistics=measure_frames(dataset.train, recipe.model),
        window_statistics=measure_windows(
            (clip.waveform for clip in some_clips(dataset.train)), rate, GuardConfig()
        ),
    )


def _default_seconds(median: float, longest_clip: int | None, sample_rate: int) -> float:
    """Return the default length of a clip: that of most recordings, if the model can read it."""
    default = round(min(median, MAX_DEFAULT_SECONDS), 3)
    return default if longest_clip is None else min(default, longest_clip / sample_rate)


def measure_frames(
    clips: Sequence[TrainingClip], model: ModelConfig
) -> tuple[FrameStatistics, ...]:
    """Compute the statistics of the frames of some clips."""
    if not model.locals:
        return ()
    frames = torch.cat([clip.frame_features for clip in some_clips(clips)])
    return measure_statistics(model.locals, frames)


def check_fields(recipe: RecipeConfig) -> None:
    """Check that the recordings have the fields of the recipe, before any of them is read.

    Raises:
        DataError: a recording lacks a label or number of the model or has a wrong number, no
            recording has a field or a value that selects held-out recordings, all recordings for
            validation are also for the test, or the folder cannot be used.
    """
    data, model = recipe.data, recipe.model
    if data.folder is None:
        return  # `read_dataset` reports it
    folder = expand_home(data.folder)
    values: Mapping[str, Collection[str]]
    recordings: Iterable[Mapping[str, str]]
    if is_corpus(folder):
        corpus = open_corpus(folder, data, model)
        values, recordings = corpus.field_values, map(corpus.fields, range(len(corpus)))
        sources = {str(folder): tuple(values)}
    else:
        entries = list_recordings(folder, data, model).files
        values, recordings = field_values(entries), (entry.fields for entry in entries)
        sources = {entry.path.name: tuple(entry.fields) for entry in entries}
    numbers = [c for c in model.globals if isinstance(c, NumberCondition)]
    required = [c.name for c in model.labels]
    required += [c.name for c in numbers if c.derived_from is None and not c.dropout]
    for source, fields in sources.items():
        for name in required:
            if name not in fields:
                raise DataError(describe_missing_field(source, name, fields))
    known = sorted({name for fields in sources.values() for name in fields})
    for part, chosen in (("validation", data.validation), ("test", data.test)):
        for name in chosen:
            if name not in known:
                close = find_equal_name(name, known) or find_close_name(name, known)
                question = f" (did you mean {close}?)" if close else ""
                raise DataError(
                    f"data.{part} of the recipe {recipe.name} holds out recordings by the field "
                    f"{name}, but no recording has it{question}; found "
                    f"{', '.join(known) or 'none'}; use the field {name} in --pattern, "
                    f"or remove data.{part} from the recipe"
                )
    check_held_out(match_held_out(data, values)[0], recordings)


def some_clips(clips: Sequence[TrainingClip]) -> Sequence[TrainingClip]:
    """Return up to `MEASURED_CLIPS` clips, evenly distributed."""
    return clips[:: max(1, -(-len(clips) // MEASURED_CLIPS))]


def label_values(clips: Iterable[TrainingClip], name: str) -> tuple[str, ...]:
    """Return the values of a field over all clips, sorted.

    Raises:
        DataError: a clip has no such field.
    """
    found = set()
    for clip in clips:
        fields = clip.fields
        if name not in fields:
            raise DataError(describe_missing_field(clip.source, name, fields))
        found.add(str(fields[name]))
    return tuple(sorted(found))


def describe_missing_field(source: str, name: str, fields: Iterable[str]) -> str:
    """Describe in one sentence that a recording lacks a field of the model."""
    known = list(fields)
    close = find_equal_name(name, known) or find_close_name(name, known)
    question = f" (did you mean {close}?)" if close else ""
    return (
        f"{source} has no field {name!r}; its fields: {', '.join(known) or 'none'}{question}; "
        "--pattern reads fields from names of files and folders, as in {label}/{take}, and "
        "--metadata from a table"
    )
