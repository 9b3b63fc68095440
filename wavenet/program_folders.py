"""The folder of the program's own files: a project folder, or an installed package.

An installed package contains the shipped checkpoints; in a project they are beside the package.
Files of a user are never written into an installed package. Called by the search for checkpoints
and by the cache of compiled code. No package is imported here.
"""

from pathlib import Path

CHECKPOINTS = "checkpoints"
_PACKAGE = Path(__file__).parent


def is_installed() -> bool:
    """Return whether this is an installed package, and not a project folder."""
    return (_PACKAGE / CHECKPOINTS).is_dir()


def program_folder() -> Path:
    """Return the folder that contains the shipped checkpoints in its folder `checkpoints`."""
    return _PACKAGE if is_installed() else _PACKAGE.parent
