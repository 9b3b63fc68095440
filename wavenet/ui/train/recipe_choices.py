"""The recipes as choices, and the model that a run trains: its size, and its speed on this machine.

Input: labels of the recordings, or an initial checkpoint. Output: names with descriptions. Called
by the Train tab.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import takewhile
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
from wavenet.ui.templates import render

DEFAULT_RECIPE = "small"


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
        model = type(labelled.model)(**{**dict(labelled.model), "conditions": conditions})
        return make_config(RecipeConfig, recipe.name, **{**dict(labelled), "model": model})


def recipe_choices(model: RunModel, fields: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the recipes that a run can use, as (text, name); the smallest model comes first.

    Args:
        model: of the run.
        fields: of the recordings.
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
        found.append((count_parameters(recipe), name, recipe.audio.sample_rate))
    return [
        (f"{name}: {size:,} parameters, {rate:,} Hz", name) for size, name, rate in sorted(found)
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


def count_parameters(recipe: RecipeConfig) -> int:
    """Count the parameters of a recipe's model."""
    with torch.device("meta"):  # shapes without data
        model = build_model(recipe.model, recipe.codec, recipe.audio.sample_rate)
    return model.parameter_count


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
