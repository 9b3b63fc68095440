"""A recipe and a dataset -> the config of the checkpoint to be trained."""

import statistics
from itertools import chain

from wavenet.checkpoint import CheckpointConfig
from wavenet.config import make_config
from wavenet.errors import ConfigError
from wavenet.model.conditions import LabelCondition
from wavenet.training.data import Dataset, label_values
from wavenet.training.recipe import RecipeConfig


def checkpoint_config(recipe: RecipeConfig, dataset: Dataset) -> CheckpointConfig:
    """Fill in what only the data knows: the labels left open, and the usual length of a clip.

    Raises:
        DataError: a clip lacks a label that the model is to be conditioned on.
        ConfigError: the data has a label that the recipe does not list.
    """
    conditions = []
    for condition in recipe.model.conditions:
        if isinstance(condition, LabelCondition):
            found = label_values(chain(dataset.train, dataset.validation), condition.name)
            unknown = set(found) - set(condition.values or found)
            if unknown:
                raise ConfigError(
                    f"the data has {condition.name} {min(unknown)!r}, not in the recipe"
                )
            values = {**condition.model_dump(), "values": condition.values or found}
            condition = make_config(LabelCondition, f"the labels of {condition.name}", **values)
        conditions.append(condition)
    model = {**dict(recipe.model), "conditions": tuple(conditions)}
    rate = recipe.audio.sample_rate
    usual = statistics.median(clip.total for clip in dataset.train) / rate
    return make_config(
        CheckpointConfig,
        recipe.name,
        name=recipe.name,
        audio=recipe.audio,
        codec=recipe.codec,
        model=type(recipe.model)(**model),
        default_seconds=round(min(usual, 60.0), 3),
    )
