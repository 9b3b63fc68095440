"""The recipes as choices, and the model that a run trains, as text.

Input: labels of the recordings, or an initial checkpoint. Output: names with descriptions. Called
by the Train tab.
"""

from collections.abc import Collection
from itertools import takewhile
from pathlib import Path

from wavenet.training.recipe import BUILT_IN
from wavenet.training.run_recipe import (
    RunModel,
    count_parameters,
    measured_speed,
    read_recipe,
    usable_recipes,
)
from wavenet.ui.templates import render

DEFAULT_RECIPE = "small"


def recipe_choices(model: RunModel, fields: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the recipes of `usable_recipes` as (text, name)."""
    return [
        (f"{name}: {size:,} parameters, {recipe.audio.sample_rate:,} Hz", name)
        for size, name, recipe in usable_recipes(model, fields)
    ]


def describe_recipe(
    runs_dir: Path, name: str, model: RunModel, fields: Collection[str] = ()
) -> str:
    """Return HTML about a run: the purpose of its recipe, the size of its model, its speed.

    Args:
        runs_dir: folder of earlier runs.
        name: of the recipe.
        model: of the run.
        fields: of the recordings.
    Raises:
        CheckpointError: the initial checkpoint cannot be used.
    """
    lines = (BUILT_IN / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    about = " ".join(line.lstrip("# ") for line in takewhile(lambda x: x.startswith("#"), lines))
    recipe = model.apply_to(read_recipe(name))
    field_samples = recipe.model.receptive_field
    speed = measured_speed(runs_dir, name)
    labels = [condition.name for condition in recipe.model.labels]
    minutes = 1000 * recipe.train.samples_per_step / speed / 60 if speed else None
    return render(
        "train/recipe_about.html",
        about=about,
        initial=Path(model.initial).name if model.initial else None,
        parameters=f"{count_parameters(recipe):,}",
        labels=", ".join(labels),
        missing=", ".join(name for name in labels if model.initial and name not in fields),
        milliseconds=field_samples and f"{1000 * field_samples / recipe.audio.sample_rate:.0f}",
        minutes=minutes and f"{minutes:.1f}",
    )
