"""Read PyTorch files of other programs without running code.

Input: a path. Output: tensors and plain Python objects. Called by the importers.

A PyTorch file is a pickle: a program for a small virtual machine that can call any function. Only
the restricted reader of torch (`weights_only`) is used here: it builds tensors and plain
containers, and refuses every other name in the file. The few classes that occur in the files of a
layout, such as those of a pickled module, are replaced by `OpaqueObject`, which stores the state
from the file and does nothing. The caller must nevertheless trust the file, because a reader can
have bugs.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from wavenet.errors import CheckpointError, ConfigError

MAX_BYTES = 2 << 30  # weights of the largest model, and the two moments of Adam
MAX_DEPTH = 8  # nesting of modules; the layouts have two levels


class OpaqueObject:
    """Placeholder for an object of an allowed class: it stores its state and does nothing."""

    __slots__ = ("state",)

    def __init__(self, *arguments: object):
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        """Store the state that the file contains for this object."""
        self.state = state


def read_pickle(path: Path, trusted: bool, classes: Sequence[str] = ()) -> Any:
    """Read a PyTorch file as data.

    Args:
        path: a file written by `torch.save`.
        trusted: whether the user trusts the origin of the file.
        classes: full names of classes that are replaced by `OpaqueObject`.
    Returns:
        The content of the file, unchecked: tensors, numbers, strings and opaque objects, in lists
        and dicts.
    Raises:
        ConfigError: the file is not trusted.
        CheckpointError: there is no such file, it is too large or damaged, or it refers to a name
            other than tensors and `classes`.
    """
    if not trusted:
        raise ConfigError(
            f"{path} is a pickle, which can contain a program; add --trusted if you trust its "
            "origin (only its tensors are read, no code is run)"
        )
    _check_size(path)
    replaced: list[Any] = [(OpaqueObject, name) for name in classes]
    try:
        with torch.serialization.safe_globals(replaced), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about protocols and old storage classes
            return torch.load(path, map_location="cpu", weights_only=True)
    # A damaged file can raise almost any error of torch, the zip reader or Python.
    except Exception as error:
        raise CheckpointError(f"{path} {_explain(error)}") from None


def _check_size(path: Path) -> None:
    """Check that a path is a file and that it is not too large, also when unzipped."""
    try:
        if not path.is_file():
            raise CheckpointError(f"there is no file {path}; expected a file written by torch.save")
        size = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = max(size, sum(part.file_size for part in archive.infolist()))
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    if size > MAX_BYTES:
        raise CheckpointError(f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}")


def _explain(error: Exception) -> str:
    text = str(error)
    mentioned = re.search(r"GLOBAL ([\w.<>]{1,100})", text)
    if mentioned:
        return (
            f"refers to {mentioned[1]}, which is not allowed in this file format; the file was not "
            "read, and none of its code was run"
        )
    if "persistent_load" in text:
        return (
            "is a whole module in the format of PyTorch before 1.6, which cannot be read safely; "
            "save its state_dict() instead, with the program that wrote it"
        )
    if "weights_only" in text:  # torch's own message advises to read the file unsafely
        return "cannot be read as a PyTorch file: it is damaged or was not written by torch.save"
    words = "".join(c if c.isprintable() else " " for c in text).strip()[:200]
    # the byte at which the reader stopped, or an error of the reader itself
    if not re.search("[A-Za-z]", words) or "index out of range" in words:
        words = "it is damaged or was not written by torch.save"
    return f"cannot be read as a PyTorch file: {words}"


def is_module(content: object) -> bool:
    """Return whether a file contained a whole module instead of a dict of tensors."""
    return isinstance(content, OpaqueObject)


def get_attribute(module: OpaqueObject, name: str) -> object:
    """Return an attribute of the object that was replaced; None if it has none of this name."""
    return module.state.get(name) if isinstance(module.state, dict) else None


def collect_state_dict(module: OpaqueObject, source: str) -> dict[str, object]:
    """Collect the parameters of a pickled module and of all modules inside it, by dotted name.

    Raises:
        CheckpointError: it does not have the structure of a module.
    """
    parameters: dict[str, object] = {}
    _collect(module, "", parameters, source, 0)
    return parameters


def _collect(
    module: OpaqueObject, prefix: str, result: dict[str, object], source: str, depth: int
) -> None:
    parameters = get_attribute(module, "_parameters")
    children = get_attribute(module, "_modules")
    # The limit of the depth also stops at a module that contains itself.
    if not (
        isinstance(parameters, Mapping) and isinstance(children, Mapping) and depth < MAX_DEPTH
    ):
        raise CheckpointError(
            f"{source}: {prefix[:100] or 'it'} does not have the structure of a module"
        )
    result.update({f"{prefix}{name}": p for name, p in parameters.items() if p is not None})
    for name, child in children.items():
        if isinstance(child, OpaqueObject):
            _collect(child, f"{prefix}{name}.", result, source, depth + 1)
