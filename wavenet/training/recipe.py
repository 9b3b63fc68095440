"""A recipe (TOML) and a dataset -> the config of the checkpoint to be trained.

The recipes of this project lie in `recipes/` beside this file and can be named without a path.
"""

import json
import statistics
import tomllib
from itertools import chain
from pathlib import Path

from wavenet.conditions import LabelCondition
from wavenet.config import CheckpointConfig, RecipeConfig
from wavenet.errors import ConfigError
from wavenet.parsing import make, parse
from wavenet.training.dataset import Dataset, label_values

BUILT_IN = Path(__file__).parent / "recipes"


def load_recipe(name: str) -> RecipeConfig:
    """Read a recipe file, or one of the project's own by its name.

    Raises:
        ConfigError: no such file, no TOML, or a setting out of its range.
    """
    path = Path(name)
    if not path.is_file() and (BUILT_IN / f"{name}.toml").is_file():
        path = BUILT_IN / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in BUILT_IN.glob("*.toml")))
        raise ConfigError(f"{name} is no recipe file; give a .toml file or one of {known}")
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from None
    # by way of JSON, whose lists a strict config takes for tuples
    return parse(RecipeConfig, json.dumps(settings, default=str), str(path))


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
            condition = make(LabelCondition, f"the labels of {condition.name}", **values)
        conditions.append(condition)
    model = {**dict(recipe.model), "conditions": tuple(conditions)}
    rate = recipe.audio.sample_rate
    usual = statistics.median(clip.total for clip in dataset.train) / rate
    return make(
        CheckpointConfig,
        recipe.name,
        name=recipe.name,
        audio=recipe.audio,
        codec=recipe.codec,
        model=type(recipe.model)(**model),
        default_seconds=round(min(usual, 60.0), 3),
    )
