"""Find checkpoint folders by path or by name, for all commands and the studio.

Input: text of a user, such as `runs/a/checkpoint`, `checkpoints/digits` or `digits`. Output: a
folder, or the known names for an error. Called by `checkpoint.load`, which all commands use, and by
code that needs the folder before it is loaded. No large package is imported here.
"""

import os
from pathlib import Path

from wavenet.user_input.close_names import find_close_name
from wavenet.user_input.user_folders import checkpoints_folder

CONFIG = "config.json"
_PROJECT = Path(__file__).parents[1]
_FOLDER = "checkpoints"


def resolve_checkpoint(name: str | Path, base_folder: str | Path = "") -> Path:
    """Return the folder of a checkpoint.

    A path is relative to the working folder, then to `base_folder`, then to the project. A name
    without a folder is also looked up in the folders `checkpoints` of the working folder, of the
    project and of the user.

    Args:
        name: a path or a name; `~` is the home folder.
        base_folder: such as the folder of a manifest.
    Returns:
        The first folder that exists; if none does, the path itself.
    """
    given = Path(os.path.expanduser(name))
    places = [given, base_folder / given, _PROJECT / given]
    if len(given.parts) == 1:
        places += [folder / given for folder in _roots()]
        # A folder of recordings may have the name of a checkpoint.
        return next(filter(_is_checkpoint, places), given)
    # not pathlib, which raises for a name that is too long or a folder without permission
    return next(filter(os.path.isdir, places), given)


def default_root() -> Path:
    """Return the folder of checkpoints of the studio: the first of `_roots` that exists."""
    return next(filter(os.path.isdir, _roots()), _roots()[-1]).absolute()


def list_known() -> dict[str, Path]:
    """Return the checkpoint folders that can be named, by name and in this order."""
    folders = (path.parent for root in reversed(_roots()) for path in root.glob(f"*/{CONFIG}"))
    return dict(sorted({folder.name: folder for folder in folders}.items()))


def describe_known(name: str | Path) -> str:
    """Return the end of the message on a missing checkpoint: known names and the closest."""
    known = list(list_known())
    if not known:
        return ""
    close = find_close_name(Path(name).name, known)
    return f", or one of {', '.join(known)}" + (f"; did you mean {close}?" if close else "")


def is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run, which contains a checkpoint."""
    return not _is_checkpoint(folder) and _is_checkpoint(folder / "checkpoint")


def _roots() -> list[Path]:
    """Return the folders of named checkpoints: of the working folder, the project and the user."""
    own = checkpoints_folder()
    return [Path(_FOLDER), _PROJECT / _FOLDER, *([own] if own is not None else [])]


def _is_checkpoint(folder: Path) -> bool:
    return os.path.isfile(folder / CONFIG)
