"""Put a checkpoint folder in place whole and checked, or not at all.

Files from anywhere enter a folder of ours; it becomes the target only after our reader has loaded
it. Callers: `hub` and `archive`.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from audio_utils.files import TEMPORARY_PREFIX, reason
from wavenet.checkpoint import (
    CARD,
    CONFIG,
    MAX_CONFIG_BYTES,
    MAX_HEADER_BYTES,
    WEIGHTS,
    load,
)
from wavenet.config import MAX_PARAMETERS
from wavenet.errors import CheckpointError, ConditionError
from wavenet.sharing.model_card import MAX_CARD_BYTES

# All that a checkpoint consists of, with the most bytes that each may have.
MAX_BYTES = {
    CONFIG: MAX_CONFIG_BYTES,
    WEIGHTS: 4 * MAX_PARAMETERS + MAX_HEADER_BYTES,
    CARD: MAX_CARD_BYTES,
}
REQUIRED = (CONFIG, WEIGHTS)


@contextlib.contextmanager
def staged(target: Path, origin: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when what was put there can be loaded.

    Args:
        target: the checkpoint folder to make; its parents are made as well.
        origin: what error messages call the checkpoint, whose path means nothing to anybody.
        overwrite: whether a checkpoint that is there may be replaced.
    Raises:
        ConditionError: something stands at the target, or it cannot be written.
        CheckpointError: what was put there is no checkpoint.
    """
    check_free(target, overwrite)
    hidden = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    # One level deeper than checkpoints lie, so that nobody lists it as one.
    folder = hidden / target.name
    try:
        with _written(target):
            folder.mkdir(parents=True)
        yield folder
        _check(folder, origin)
        with _written(target):
            _put(folder, target, hidden / f"{target.name}.old")
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def check_free(target: Path, overwrite: bool) -> None:
    """See that nothing stands in the way, or nothing but a checkpoint that may be replaced.

    Raises:
        ConditionError: something does.
    """
    try:
        if not os.path.lexists(target):
            return
        found = None if target.is_symlink() else {path.name for path in target.iterdir()}
    except NotADirectoryError:
        found = None
    except OSError as error:
        raise ConditionError(f"{target} cannot be read: {reason(error)}") from None
    if found is not None and not found:
        return
    if not overwrite:
        raise ConditionError(f"{target} exists already; choose another place or add --overwrite")
    # What is replaced is removed: a wrong --out must not cost a person more than a checkpoint.
    if found is None or not found <= set(MAX_BYTES):
        raise ConditionError(
            f"{target} holds more than a checkpoint; --overwrite replaces nothing else, "
            "so choose another place"
        )


def check_new(root: Path, name: str) -> None:
    """See that a folder of checkpoints has none of this name.

    Raises:
        ConditionError: it has.
    """
    # Also one that differs in its case: some file systems take the two for the same.
    if name.lower() in {path.name.lower() for path in root.glob("*")}:
        raise ConditionError(
            f"there is a checkpoint {name} already; rename or remove that one first"
        )


@contextlib.contextmanager
def _written(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConditionError(f"{target} cannot be written: {reason(error)}") from None


def _check(folder: Path, origin: str) -> None:
    try:
        load(folder)
    except CheckpointError as error:
        text = str(error).replace(f"{folder}{os.sep}", f"{origin}: ").replace(str(folder), origin)
        raise CheckpointError(text) from None


def _put(folder: Path, target: Path, old: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    try:
        if os.path.lexists(target):
            os.rename(target, old)
        os.rename(folder, target)
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
