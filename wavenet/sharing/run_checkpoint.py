"""Add the checkpoint of a training run to a folder of checkpoints, under the name of the run.

A checkpoint that is not from this run, or that was changed, is never replaced. Input: the folder of
a run, and the folder of checkpoints. Output: a new folder. Called by the studio.
"""

import filecmp
import hashlib
import shutil
from pathlib import Path

from wavenet.checkpoint_folders import list_in_studio
from wavenet.errors import ConditionError
from wavenet.sharing.install import MAX_BYTES, REQUIRED, staging_folder
from wavenet.sharing.local_models import mark_added
from wavenet.weights_file import WEIGHTS

DIGEST_FILE = "published.txt"  # in the folder of a run: digest of the copied checkpoint


def copy_run_checkpoint(folder: Path, root: Path, replace_removed: bool = True) -> bool:
    """Copy the checkpoint of a run, under the run's name, to a folder of checkpoints.

    Args:
        folder: folder of the run.
        root: folder of checkpoint folders.
        replace_removed: whether to copy a checkpoint again if it was copied before and has not
            changed since; a user may have removed the copy.
    Returns:
        Whether the checkpoint was copied.
    Raises:
        ConditionError: the run has no checkpoint, or another checkpoint has the name of the run.
        CheckpointError: the checkpoint cannot be loaded.
    """
    source, target, record = folder / "checkpoint", root / folder.name, folder / DIGEST_FILE
    if not all((source / name).is_file() for name in REQUIRED):
        raise ConditionError(f"the run {folder.name} has no checkpoint yet; wait for a validation")
    copied_digest = record.read_text(encoding="utf-8") if record.is_file() else ""
    if checkpoint_digest(source) == copied_digest and not replace_removed:
        return False
    existing = list_in_studio(root).get(folder.name, target)
    if existing.exists() and checkpoint_digest(existing) != copied_digest:
        raise ConditionError(
            f"the checkpoint {folder.name} exists and is not from this run, or was changed; move "
            "the existing folder, or copy the checkpoint of the run under another name"
        )
    with staging_folder(target, f"the run {folder.name}", overwrite=True) as staging:
        for name in filter(lambda name: (source / name).is_file(), MAX_BYTES):
            shutil.copyfile(source / name, staging / name)
        mark_added(staging)
        record.write_text(checkpoint_digest(staging), encoding="utf-8")
    return True


def listed_name(folder: Path, root: Path) -> str | None:
    """Return the name of the checkpoint of a run in the list of the studio; None: it is not there.

    A checkpoint that was renamed has the weights of the run, but another config.
    """
    record, weights = folder / DIGEST_FILE, folder / "checkpoint" / WEIGHTS
    if not (record.is_file() and weights.is_file()):
        return None
    files = {name: path / WEIGHTS for name, path in list_in_studio(root).items()}
    found = [n for n, file in files.items() if file.is_file() and filecmp.cmp(file, weights)]
    return min(found, key=lambda name: name != folder.name, default=None)


def checkpoint_digest(folder: Path) -> str:
    """Compute the SHA-256 hash of a checkpoint from the hashes of its files."""
    digest = hashlib.sha256()
    for name in MAX_BYTES:
        if (folder / name).is_file():
            digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
