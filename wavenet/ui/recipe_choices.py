"""The project's recipes as choices: their size, their purpose, and their training time.

Input: recipes and earlier runs. Output: choices of recipes, and HTML. Called by the Train tab.
"""

from collections.abc import Collection
from functools import lru_cache
from html import escape
from itertools import takewhile
from pathlib import Path

import torch

from wavenet.errors import WaveNetError
from wavenet.model.architectures import build_model
from wavenet.training.recipe import BUILT_IN, RecipeConfig, load_recipe
from wavenet.training.run_process import read_plan
from wavenet.training.run_status import list_runs, read_status

DEFAULT_RECIPE = "small"


def recipe_choices(fields: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the recipes that can be trained on recordings with these fields, as (text, name).

    The smallest model comes first.
    """
    found = [
        (count_parameters(name), name)
        for name in recipe_names()
        if has_required_fields(read_recipe(name), fields)
    ]
    return [
        (f"{name}: {size:,} parameters, {read_recipe(name).audio.sample_rate:,} Hz", name)
        for size, name in sorted(found)
    ]


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


@lru_cache(maxsize=32)
def count_parameters(name: str) -> int:
    """Count the parameters of a recipe's model, without the labels of the recordings."""
    recipe = read_recipe(name)
    with torch.device("meta"):  # shapes without data
        model = build_model(recipe.model, recipe.codec, recipe.audio.sample_rate)
    return model.parameter_count


def describe_recipe(runs_dir: Path, name: str) -> str:
    """Return HTML with the purpose of a recipe, from its comment, and its speed on this machine."""
    lines = (BUILT_IN / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    about = " ".join(line.lstrip("# ") for line in takewhile(lambda x: x.startswith("#"), lines))
    speed = measured_speed(runs_dir, name)
    if speed is None:
        duration = "The training time on this machine is unknown until the first run."
    else:
        minutes = 1000 * read_recipe(name).train.samples_per_step / speed / 60
        duration = f"On this machine 1,000 steps needed about {minutes:.1f} minutes."
    return f"<p class='note'>{escape(about)} {duration}</p>"


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
