"""Rename and delete the checkpoints that the studio has added to its folder of checkpoints.

Checkpoints that are part of the program, or that a user has copied there, are never changed. Input:
the folder of checkpoints, and names of any origin. Output: changed folders. Called by the studio.
"""

import json
import os
import re
import secrets
import shutil
from pathlib import Path
from typing import Any

from audio_utils.atomic_files import TEMPORARY_PREFIX, atomic_file, os_error_reason
from wavenet.checkpoint import CONFIG, MAX_CONFIG_BYTES, load_config
from wavenet.checkpoint_folders import VOCODER, is_voice, list_in_studio
from wavenet.errors import CheckpointError, ConditionError
from wavenet.folder_lock import check_unlocked, lock_folder
from wavenet.sharing.install import ADDED, MAX_BYTES, check_name_is_free
from wavenet.weights_file import read_bytes

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def mark_added(folder: Path) -> None:
    """Note that a checkpoint was added by the studio, so that it may be renamed and deleted."""
    (folder / ADDED).touch()


def is_added(root: Path, folder: Path) -> bool:
    """Return whether the studio has added a checkpoint to its folder of checkpoints."""
    return folder.parent == root and (folder / ADDED).is_file() and not folder.is_symlink()


def check_model_name(root: Path, name: str | None) -> str:
    """Return the name of a new checkpoint, without spaces around it.

    Raises:
        ConditionError: the name is missing, invalid or in use.
    """
    text = (name or "").strip()
    if not _NAME.fullmatch(text):
        raise ConditionError(
            "a name begins with a letter or _ and has at most 64 characters: letters, digits, "
            f"- and _; found {text[:80]!r}"
        )
    check_name_is_free(root, text)
    return text


def rename_model(root: Path, name: str, new_name: str | None) -> str:
    """Rename a checkpoint, also in its config, and return the new name.

    Raises:
        ConditionError: the checkpoint was not added by the studio, or the new name is unusable.
        FolderInUse: another process is changing the folder or the checkpoint.
        FolderError: the folder cannot be written.
    """
    with lock_folder(root):
        folder = _changeable(root, name)
        target = root / check_model_name(root, new_name)
        load_config(folder)  # of a voice, that of its vocoder
        config = _read_config(folder) | {"name": target.name}
        try:
            with atomic_file(folder / CONFIG) as temporary:
                temporary.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            os.rename(folder, target)
        except OSError as error:
            raise ConditionError(f"cannot rename {name}: {os_error_reason(error)}") from None
    return target.name


def delete_model(root: Path, name: str) -> None:
    """Delete a checkpoint.

    Raises:
        ConditionError: it was not added by the studio, or it contains other files.
        FolderInUse: another process is changing the folder or the checkpoint.
        FolderError: the folder cannot be written.
    """
    with lock_folder(root):
        folder = _changeable(root, name)
        others = _other_files(folder)
        if others:
            raise ConditionError(
                f"the folder of {name} contains {min(others)}, which is not part of a checkpoint; "
                "move it away, or delete the folder yourself"
            )
        # A folder that is being deleted must not be listed.
        hidden = root / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
        try:
            hidden.mkdir()
            os.rename(folder, hidden / name)
        except OSError as error:
            raise ConditionError(f"cannot delete {name}: {os_error_reason(error)}") from None
        finally:
            shutil.rmtree(hidden, ignore_errors=True)


def _read_config(folder: Path) -> dict[str, Any]:
    """Return the config of a checkpoint or of a voice as it is in the file."""
    try:
        config = json.loads(read_bytes(folder / CONFIG, MAX_CONFIG_BYTES))
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder.name}: {CONFIG} is not a JSON object")
    return config


def _other_files(folder: Path) -> set[str]:
    """Return the names in the folder of a model that are not part of it."""
    names = {path.name for path in folder.iterdir()} - {*MAX_BYTES, ADDED}
    if VOCODER in names and is_voice(folder):
        names.remove(VOCODER)
        inside = {path.name for path in (folder / VOCODER).iterdir()} - {*MAX_BYTES}
        names |= {f"{VOCODER}/{name}" for name in inside}
    return names


def _changeable(root: Path, name: str) -> Path:
    """Return the folder of a checkpoint that may be renamed and deleted."""
    folder = list_in_studio(root).get(name)
    if folder is None:
        raise ConditionError(f"there is no model {name[:100]!r}; reload the page")
    if not is_added(root, folder):
        raise ConditionError(
            f"{name} was not trained or imported in this studio, so it stays; change its folder "
            "yourself"
        )
    check_unlocked(folder)
    return folder
