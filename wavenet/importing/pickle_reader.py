"""PyTorch files of others: tensors leave, and no code runs.

Such a file is a pickle, a program for a small machine that can be told to call any function. Only
torch's restricted reader (`weights_only`) is used here: it knows how to build tensors and plain
containers, and refuses every other name that a file mentions. The few classes that files of a
layout do mention, such as those of a whole pickled module, are given a `Husk`, which keeps what the
file puts into it and does nothing. Even so a file must be trusted by the caller: a reader can have
faults.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wavenet.errors import CheckpointError, ConfigError

MAX_BYTES = 2 << 30  # weights of the largest model that is built, with an optimiser's two copies
MAX_DEPTH = 8  # modules within modules; the layouts have two


class Husk:
    """Stands for an object of somebody else's class: it keeps its state and does nothing."""

    __slots__ = ("state",)

    def __init__(self, *arguments: object):
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        """Keep what the file says that the object holds."""
        self.state = state


def read(path: Path, trusted: bool, classes: Sequence[str] = ()) -> Any:
    """Read a PyTorch file as data.

    Args:
        path: written by `torch.save`.
        trusted: whether the caller vouches for where the file came from.
        classes: full names of classes that a `Husk` stands for.
    Returns:
        Tensors, numbers, strings, husks, in lists and dicts: whatever the file holds, unchecked.
    Raises:
        ConfigError: not trusted.
        CheckpointError: no such file, too large, damaged, or it mentions another name than tensors
            and `classes`.
    """
    if not trusted:
        raise ConfigError(
            f"{path} is a pickle, a format that can carry a program; only its tensors would be "
            "read and nothing in it run (weights_only), but say with --trusted that you trust "
            "its origin"
        )
    _check_size(path)
    allowed: list[Any] = [(Husk, name) for name in classes]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols and old storage classes
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can end in nearly any error of torch, the zip reader or Python.
    except Exception as error:
        raise CheckpointError(f"{path} {_why(error)}") from None


def _check_size(path: Path) -> None:
    """Refuse what is no file or too large, also when a zip would unpack to it."""
    try:
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}; give a file written by torch.save")
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(part.file_size for part in archive.infolist()))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} has {size:,} bytes; at most {MAX_BYTES:,} are read")


def _why(error: Exception) -> str:
    text = str(error)
    named = re.search(r"GLOBAL ([\w.<>]{1,100})", text)
    if named:
        return (
            f"mentions {named[1]}, which is neither a tensor nor of this layout; nothing of it was "
            "run, and it is not read"
        )
    if "persistent_load" in text:
        return (
            "is a whole module in the layout of PyTorch before 1.6, which cannot be read safely; "
            "where it was made, save its state_dict() instead"
        )
    if "weights_only" in text:  # torch's own words advise to read it unsafely
        return "cannot be read as a PyTorch file: it is damaged or was not written by torch.save"
    words = "".join(c if c.isprintable() else " " for c in text).strip()[:200]
    return f"cannot be read as a PyTorch file: {words or type(error).__name__}"


def is_module(found: object) -> bool:
    """Say whether a file held a whole module, not a dict of tensors."""
    return isinstance(found, Husk)


def attribute(husk: Husk, name: str) -> object:
    """Give an attribute of the object that a husk stands for; None if it has none."""
    return husk.state.get(name) if isinstance(husk.state, dict) else None


def state_dict(module: Husk, source: str) -> dict[str, object]:
    """Gather the parameters of a pickled module and of all modules within it, by dotted name.

    Raises:
        CheckpointError: it has not the structure of a module.
    """
    found: dict[str, object] = {}
    _gather(module, "", found, source, 0)
    return found


def _gather(module: Husk, prefix: str, found: dict[str, object], source: str, depth: int) -> None:
    parameters, children = attribute(module, "_parameters"), attribute(module, "_modules")
    # the depth also ends a module that holds itself
    sound = isinstance(parameters, Mapping) and isinstance(children, Mapping) and depth < MAX_DEPTH
    if not sound:
        raise CheckpointError(f"{source}: {prefix[:100] or 'it'} has not the structure of a module")
    assert isinstance(parameters, Mapping) and isinstance(children, Mapping)
    found.update({f"{prefix}{name}": p for name, p in parameters.items() if p is not None})
    for name, child in children.items():
        if isinstance(child, Husk):
            _gather(child, f"{prefix}{name}.", found, source, depth + 1)
