"""Find the TOML file of a recipe by its path, or by its name among built-in recipes.

Input: text of a user. Output: a path, or the message if there is none. Called by the readers of
recipes.
"""

import os
from pathlib import Path

from wavenet.user_input.close_names import find_close_name, find_equal_name
from wavenet.user_input.user_paths import expand_home


def find_recipe(name: str, built_in: Path) -> Path | None:
    """Return the file of a recipe: a path, or a name in a folder of recipes; None if none exists.

    Args:
        name: of a user.
        built_in: the folder.
    """
    # not pathlib, which raises for a name that is too long or contains NUL
    paths = (expand_home(name), built_in / f"{name}.toml")
    return next(filter(os.path.isfile, paths), None)


def describe_unknown_recipe(name: str, *folders: Path) -> str:
    """Return the message for a name that is no recipe: the known names and the closest."""
    known = sorted(path.stem for folder in folders for path in folder.glob("*.toml"))
    close = find_equal_name(name, known) or find_close_name(name, known)
    question = f"; did you mean {close}?" if close else ""
    return (
        f"{name} is not a recipe file; expected a .toml file or one of {', '.join(known)}{question}"
    )
