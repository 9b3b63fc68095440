"""Expand ~ in paths that a user writes, and write ~ in messages.

Input: the text of a path from an option, a recipe or a text field, not expanded by a shell.
Output: a `Path`. Called by the command line, recipes and datasets.
"""

import os
import re
from pathlib import Path


def expand_home(path: str | Path) -> Path:
    """Return a path whose leading ~ or ~user is replaced by the home folder.

    An unknown user, or a machine without home folders, leaves the path as it is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def shorten_home(text: str) -> str:
    """Return a text with ~ in place of the home folder, wherever it is the beginning of a path."""
    home = os.path.expanduser("~").rstrip(os.sep)
    if not os.path.isabs(home):  # none, or the root folder
        return text
    return re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", text)
