"""The recipes that a run can use, and the model that it trains: its size and its speed.

Input: values of labels by name, or an initial checkpoint. Output: changed recipes, and numbers.
Called by the studio before a run starts.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch

from wavenet.checkpoint import load_config
from wavenet.config import make_config
from wavenet.errors import ConfigError, WaveNetError
from wavenet.model.architectures import build_model
from wavenet.model.conditions import LabelCondition
from wavenet.training.recipe import BUILT_IN, RecipeConfig, load_recipe
from wavenet.training.recipe_options import add_labels, use_model_of
from wavenet.training.run_process import read_plan
from wavenet.training.run_status import list_runs, read_status


@dataclass(frozen=True)
class RunModel:
    """What changes the model of a recipe for a run.

    Attributes:
        labels: values of the chosen labels by name.
        initial: folder of the checkpoint that the run starts from; "" or None: none.
    """

    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    initial: Path | str | None = None

    def apply_to(self, recipe: RecipeConfig) -> RecipeConfig:
        """Return the recipe with the model that the run trains.

        Raises:
            CheckpointError: the initial checkpoint cannot be used.
            ConfigError: the recipe has a condition that the initial checkpoint lacks.
        """
        if self.initial:
            return use_model_of(recipe, load_config(self.initial))
        labelled = add_labels(recipe, list(self.labels))
        conditions = tuple(
            make_config(
                LabelCondition, "labels", **{**c.model_dump(), "values": tuple(self.labels[c.name])}
            )
            if isinstance(c, LabelCondition) and not c.values and c.name in self.labels
            else c
            for c in labelled.model.conditions
        )
        values = {**dict(labelled.model), "conditions": conditions}
        model = make_config(type(labelled.model), recipe.name, **values)
        return make_config(RecipeConfig, recipe.name, **{**dict(labelled), "model": model})


def usable_recipes(
    model: RunModel, fields: Collection[str] = ()
) -> list[tuple[int, str, RecipeConfig]]:
    """Return the project's recipes that a run can use; the smallest model comes first.

    Args:
        model: of the run.
        fields: of the recordings.
    Returns:
        Number of parameters; name; the recipe with the model of the run.
    Raises:
        CheckpointError: the initial checkpoint cannot be used.
    """
    found = []
    for name in recipe_names():
        if not has_required_fields(read_recipe(name), fields):
            continue
        try:
            recipe = model.apply_to(read_recipe(name))
        except ConfigError:  # its conditions do not fit
            continue
        found.append((count_parameters(recipe), name, recipe))
    return sorted(found, key=lambda row: row[:2])


def recipe_names() -> list[str]:
    """Return the names of the project's recipes."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


@lru_cache(maxsize=32)
def read_recipe(name: str) -> RecipeConfig:
    """Read one of the project's recipes."""
    return load_recipe(str(BUILT_IN / f"{name}.toml"))


def has_required_fields(recipe: RecipeConfig, fields: Collection[str]) -> bool:
    """Return whether the fields of recordings include the labels and the split of a recipe."""
    labels = {condition.name for condition in recipe.model.labels}
    return labels | {*recipe.data.validation, *recipe.data.test} <= set(fields)


def count_parameters(recipe: RecipeConfig) -> int:
    """Count the parameters of a recipe's model."""
    with torch.device("meta"):  # shapes without data
        model = build_model(recipe.model, recipe.codec, recipe.audio.sample_rate)
    return model.parameter_count


def measured_speed(runs_dir: Path, name: str) -> float | None:
    """Return the samples per second of the newest run of a recipe; None without a run."""
    for run in list_runs(runs_dir):
        try:
            if read_plan(runs_dir / run).recipe == name:
                speed = read_status(runs_dir / run).samples_per_second
                if speed:
                    return speed
        except WaveNetError:
            continue
    return None
