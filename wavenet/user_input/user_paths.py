"""Expand ~ in paths that a user writes.

Input: the text of a path from an option, a recipe or a text field, not expanded by a shell.
Output: a `Path`. Called by the command line, recipes and datasets.
"""

from pathlib import Path


def expand_home(path: str | Path) -> Path:
    """Return a path whose leading ~ or ~user is replaced by the home folder.

    An unknown user, or a machine without home folders, leaves the path as it is.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
