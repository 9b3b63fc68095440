"""The config of the checkpoint to be trained.

Input: a recipe and a dataset. Output: a `CheckpointConfig`. A recipe may omit the values of its
label conditions and the default length of a clip; they are then taken from the dataset, and so are
the statistics of frames and windows. Called by the command line, before `loop`.
"""

import statistics
from collections.abc import Iterable, Sequence
from itertools import chain

import torch

from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config
from wavenet.errors import ConfigError, DataError
from wavenet.generation.guard import GuardConfig, measure_windows
from wavenet.model.conditions import LabelCondition
from wavenet.model.frame_scales import FrameStatistics, measure_statistics
from wavenet.model.model_config import ModelConfig
from wavenet.training.dataset import Dataset
from wavenet.training.recipe import RecipeConfig
from wavenet.training.segmentation import TrainingClip

MAX_DEFAULT_SECONDS = 60.0
# Enough for a mean and a range. Clips of a corpus compute their frames again on each access.
MEASURED_CLIPS = 200


def resolve_config(recipe: RecipeConfig, dataset: Dataset) -> CheckpointConfig:
    """Return the recipe's config with labels and default length taken from the dataset.

    Raises:
        DataError: a clip lacks a field that is a label condition of the model.
        ConfigError: the data contain a label value that is not in the recipe.
    """
    conditions = []
    for condition in recipe.model.conditions:
        if isinstance(condition, LabelCondition):
            found = label_values(chain(dataset.train, dataset.validation), condition.name)
            unknown = set(found) - set(condition.values or found)
            if unknown:
                raise ConfigError(
                    f"the data contain {condition.name} {min(unknown)!r}, "
                    "which is not in the recipe"
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
        model=type(recipe.model)(**model),
        default_seconds=round(min(median, MAX_DEFAULT_SECONDS), 3),
        frame_statistics=measure_frames(dataset.train, recipe.model),
        window_statistics=measure_windows(
            (clip.waveform for clip in some_clips(dataset.train)), rate, GuardConfig()
        ),
    )


def measure_frames(
    clips: Sequence[TrainingClip], model: ModelConfig
) -> tuple[FrameStatistics, ...]:
    """Compute the statistics of the frames of some clips."""
    if not model.locals:
        return ()
    frames = torch.cat([clip.frame_features for clip in some_clips(clips)])
    return measure_statistics(model.locals, frames)


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
            known = ", ".join(fields) or "none"
            raise DataError(
                f"{clip.source} has no field {name!r}; its fields: {known}; --pattern reads fields "
                "from file names"
            )
        found.add(str(fields[name]))
    return tuple(sorted(found))
