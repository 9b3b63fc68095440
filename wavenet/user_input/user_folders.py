"""Folders of this user for settings and checkpoints, in the usual place of the system.

Output: paths, which need not exist. Called by the search for checkpoints and by the command line.
"""

from collections.abc import Callable
from pathlib import Path

import platformdirs

_NAME = "wavenet-studio"


def settings_file() -> Path | None:
    """Return the file of the user's settings; None if the user has no home folder."""
    folder = _find(platformdirs.user_config_path)
    return folder and folder / "config.toml"


def checkpoints_folder() -> Path | None:
    """Return the folder of the user's checkpoints; None if the user has no home folder."""
    folder = _find(platformdirs.user_data_path)
    return folder and folder / "checkpoints"


def window_folder() -> Path | None:
    """Return the folder in which a window keeps the page's settings; None without a home folder."""
    folder = _find(platformdirs.user_data_path)
    return folder and folder / "window"


def _find(user_path: Callable[..., Path]) -> Path | None:
    try:
        folder = user_path(_NAME, appauthor=False)
    except RuntimeError:  # platformdirs 4.14; earlier versions return a relative path
        return None
    return folder if folder.is_absolute() else None
