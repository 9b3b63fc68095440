"""Defaults of options from the settings file of the user.

Input: `config.toml` in the user's folder of settings, checked like a recipe. Output: the defaults
that typer uses for options that are not on the command line. Called by `main`.
"""

import os
from typing import Any

import typer

_ENGINE = ("engine", "device", "threads")
# The settings that each command uses. Commands that train or measure have fixed defaults.
USED_BY: dict[str, tuple[str, ...]] = {
    "generate": ("checkpoint", "out", "seed", *_ENGINE),
    "vocode": ("out", "seed", *_ENGINE),
    "batch": ("checkpoint", *_ENGINE),
    "score": ("checkpoint", "engine", "device"),
    "info": ("checkpoint",),
}


def read_defaults(context: typer.Context) -> dict[str, Any] | None:
    """Return the defaults of the invoked command, for `default_map` of the context.

    Raises:
        ConfigError: the file is invalid.
    """
    name = context.invoked_subcommand
    if name not in USED_BY:
        return None
    from wavenet.user_input.user_folders import settings_file

    path = settings_file()
    if path is None or not os.path.isfile(path):
        return None
    from wavenet.cli.settings_config import UserSettings
    from wavenet.config import load_toml

    settings = load_toml(UserSettings, path).model_dump(exclude_none=True)
    parameters = context.command.commands[name].params  # type: ignore[attr-defined]
    names = {option.removeprefix("--"): p.name for p in parameters for option in p.opts}
    return {name: {names[key]: settings[key] for key in USED_BY[name] if key in settings}}
