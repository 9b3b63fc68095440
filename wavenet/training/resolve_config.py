"""The config of the checkpoint to be trained.

Input: a recipe and a dataset. Output: a `CheckpointConfig`. A recipe may omit the values of its
label conditions and the default length of a clip; they are then taken from the dataset. Called by
the command line, before `loop`.
"""

import statistics
from collections.abc import Iterable
from itertools import chain

from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config
from wavenet.errors import ConfigError, DataError
from wavenet.model.conditions import LabelCondition
from wavenet.training.dataset import Dataset
from wavenet.training.recipe import RecipeConfig
from wavenet.training.segmentation import TrainingClip

MAX_DEFAULT_SECONDS = 60.0


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
    )


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
                "from names of files and folders, as in {label}/{take}, and --metadata from a table"
            )
        found.add(str(fields[name]))
    return tuple(sorted(found))
