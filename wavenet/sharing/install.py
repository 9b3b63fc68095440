"""Install a checkpoint folder: completely and checked, or not at all.

Input: files from any source, which the caller writes into a staging folder. Output: the target
folder, which the staging folder becomes only after it has been loaded as a checkpoint. Called by
`hub`, `zip_archive`, `speech.voice_archive` and the studio.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from audio_utils.atomic_files import TEMPORARY_PREFIX, os_error_reason
from wavenet.checkpoint import (
    CALIBRATION,
    CARD,
    CONFIG,
    MAX_CALIBRATION_BYTES,
    MAX_CONFIG_BYTES,
    load,
)
from wavenet.checkpoint_folders import list_in_studio
from wavenet.errors import CheckpointError, ConditionError
from wavenet.model.model_config import MAX_PARAMETERS
from wavenet.sharing.card_reader import MAX_CARD_BYTES
from wavenet.weights_file import MAX_HEADER_BYTES, WEIGHTS

# The files of a checkpoint, with the maximum size of each.
MAX_BYTES = {
    CONFIG: MAX_CONFIG_BYTES,
    WEIGHTS: 4 * MAX_PARAMETERS + MAX_HEADER_BYTES,
    CARD: MAX_CARD_BYTES,
    CALIBRATION: MAX_CALIBRATION_BYTES,
}
REQUIRED = (CONFIG, WEIGHTS)
ADDED = ".added"  # an empty file in a checkpoint folder that the studio has added


@contextlib.contextmanager
def staging_folder(
    target: Path, origin: str, overwrite: bool = False, load_model: Callable[[Path], object] = load
) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` after the block, if it loads as a checkpoint.

    Args:
        target: the checkpoint folder to create, with its parents.
        origin: name of the checkpoint in error messages, instead of the temporary path.
        overwrite: whether an existing checkpoint may be replaced.
        load_model: reads the folder, and raises `CheckpointError` if it is no model.
    Raises:
        ConditionError: the target exists, or it cannot be written.
        CheckpointError: the files in the folder are not a checkpoint.
    """
    check_target(target, overwrite)
    hidden = target.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    # One level deeper than checkpoint folders, so that it is not listed as a checkpoint.
    folder = hidden / target.name
    try:
        with _write_errors(target):
            folder.mkdir(parents=True)
        yield folder
        _check_loads(folder, origin, load_model)
        with _write_errors(target):
            _move_into_place(folder, target, hidden / f"{target.name}.old", overwrite)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def check_target(target: Path, overwrite: bool) -> None:
    """Check that the target does not exist, is empty, or is a checkpoint that may be replaced.

    Raises:
        ConditionError: otherwise, or if the target cannot be read.
    """
    try:
        if not os.path.lexists(target):
            return
        names = None if target.is_symlink() else {path.name for path in target.iterdir()}
    except NotADirectoryError:
        names = None
    except OSError as error:
        raise ConditionError(f"cannot read {target}: {os_error_reason(error)}") from None
    if names is not None and not names:
        return
    if not overwrite:
        raise ConditionError(f"{target} exists already; choose another folder or add --overwrite")
    # The old folder is deleted, so a mistyped --out must not delete more than a checkpoint.
    if names is None or not names <= {*MAX_BYTES, ADDED}:
        raise ConditionError(
            f"{target} contains more than a checkpoint, and --overwrite replaces only checkpoints; "
            "choose another folder"
        )


def check_name_is_free(root: Path, name: str) -> None:
    """Check that a folder of checkpoints has no entry of this name, nor the program itself.

    Raises:
        ConditionError: the name is in use.
    """
    # Case is ignored, because some file systems ignore it.
    taken = [*list_in_studio(root), *(path.name for path in root.glob("*"))]
    if name.lower() in map(str.lower, taken):
        raise ConditionError(f"a checkpoint {name} exists already; rename or remove it first")


@contextlib.contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConditionError(f"cannot write {target}: {os_error_reason(error)}") from None


def _check_loads(folder: Path, origin: str, load_model: Callable[[Path], object]) -> None:
    try:
        load_model(folder)
    except CheckpointError as error:
        text = str(error).replace(f"{folder}{os.sep}", f"{origin}: ").replace(str(folder), origin)
        raise CheckpointError(text) from None


def _move_into_place(folder: Path, target: Path, old: Path, overwrite: bool) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb+") as file:
            os.fsync(file.fileno())
    try:
        if overwrite and os.path.lexists(target):
            os.rename(target, old)
        os.rename(folder, target)  # replaces an empty folder; fails for all others
    except OSError:
        if old.exists():
            os.rename(old, target)
        raise
