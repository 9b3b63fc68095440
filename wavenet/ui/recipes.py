"""The recipes of the project as a choice by size: what each is for, how large, how long it takes.

Recipes and earlier runs enter; choices and words leave. Called by the Train tab.
"""

from collections.abc import Collection
from functools import lru_cache
from html import escape
from itertools import takewhile
from pathlib import Path

import torch

from wavenet.errors import WaveNetError
from wavenet.model.registry import build_model
from wavenet.training.recipe import BUILT_IN, RecipeConfig, load_recipe
from wavenet.training.run_process import read_plan
from wavenet.training.run_status import list_runs, read_status

FIRST = "small"


def choices(fields: Collection[str] = ()) -> list[tuple[str, str]]:
    """List the recipes that recordings with these fields can be used for, as (words, name).

    The smallest stands first.
    """
    found = [(parameters(name), name) for name in names() if fits(recipe(name), fields)]
    return [
        (f"{name}: {size:,} parameters, {recipe(name).audio.sample_rate:,} Hz", name)
        for size, name in sorted(found)
    ]


def names() -> list[str]:
    """Name the project's recipes."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


@lru_cache(maxsize=32)
def recipe(name: str) -> RecipeConfig:
    """Read one of the project's recipes."""
    return load_recipe(str(BUILT_IN / f"{name}.toml"))


def fits(wanted: RecipeConfig, fields: Collection[str]) -> bool:
    """Tell whether recordings with these fields have all labels that a recipe asks for."""
    return {condition.name for condition in wanted.model.labels} <= set(fields)


@lru_cache(maxsize=32)
def parameters(name: str) -> int:
    """Count the parameters of a recipe's model, without the labels that the data will bring."""
    wanted = recipe(name)
    with torch.device("meta"):  # shapes, and no memory
        model = build_model(wanted.model, wanted.codec, wanted.audio.sample_rate)
    return model.parameter_count


def describe(runs: Path, name: str) -> str:
    """Put into HTML what a recipe is for, in its own words, and how long it takes here."""
    lines = (BUILT_IN / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    about = " ".join(line.lstrip("# ") for line in takewhile(lambda x: x.startswith("#"), lines))
    speed = measured(runs, name)
    if speed is None:
        pace = "How long it takes on this machine is not known yet: the first run will tell."
    else:
        minutes = 1000 * recipe(name).train.samples_per_step / speed / 60
        pace = f"On this machine 1,000 steps took about {minutes:.1f} minutes."
    return f"<p class='note'>{escape(about)} {pace}</p>"


def measured(runs: Path, name: str) -> float | None:
    """Give the samples a second of the newest run of a recipe; None where there was none."""
    for run in list_runs(runs):
        try:
            if read_plan(runs / run).recipe == name:
                speed = read_status(runs / run).samples_per_second
                if speed:
                    return speed
        except WaveNetError:
            continue
    return None
