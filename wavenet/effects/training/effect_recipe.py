"""The recipe of an effect: its network, its training and the split of its recordings, from TOML.

Input: a file name, or the name of a built-in recipe. Output: a checked `EffectRecipe`. Called by
`wavenet effects train`.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field

from wavenet.config import Name, StrictConfig, load_toml
from wavenet.effects.training.effect_architecture import EffectArchitecture
from wavenet.effects.training.effect_pairs import SplitSettings
from wavenet.effects.training.train_effect import EffectTrainingSettings
from wavenet.errors import ConfigError
from wavenet.user_input.recipe_files import describe_unknown_recipe, find_recipe

EFFECT_RECIPES = Path(__file__).parent / "recipes"
DEFAULT_RECIPE = "capture"


class EffectRecipe(StrictConfig):
    """The settings of an effect and of its training.

    Attributes:
        kind: distinguishes it from other recipes.
        name: of the effect.
        architecture: of the network.
        knob_channels, knob_hidden: sizes of the network of the knobs, if there are some.
        training: its steps.
        data: the split of the recordings.
    """

    kind: Literal["effect"]
    name: Name
    architecture: EffectArchitecture = EffectArchitecture()
    knob_channels: int = Field(default=4, ge=1, le=64)
    knob_hidden: int = Field(default=16, ge=1, le=256)
    training: EffectTrainingSettings = EffectTrainingSettings()
    data: SplitSettings = SplitSettings()


def load_effect_recipe(name: str) -> EffectRecipe:
    """Read the file of a recipe of an effect, or a built-in one by its name.

    Raises:
        ConfigError: there is no such recipe, or a setting is out of its range.
    """
    path = find_recipe(name, EFFECT_RECIPES)
    if path is None:
        raise ConfigError(describe_unknown_recipe(name, EFFECT_RECIPES))
    return load_toml(EffectRecipe, path)
