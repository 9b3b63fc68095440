"""The output folder of a batch: checks before anything is loaded, its lock, partial files.

Processes of several shards may write into one folder at the same time, each with its own lock and
journal; a batch of a whole manifest locks the folder. Called by the command and by `run`.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from audio_utils.atomic_files import TEMPORARY_PREFIX, is_writable, os_error_reason
from wavenet.batch.journal import journal_name
from wavenet.batch.manifest import WHOLE_MANIFEST, ManifestShard
from wavenet.errors import ConditionError, FolderError
from wavenet.folder_lock import check_unlocked, lock_folder, lock_holder

# matches only the names of audio files while they are written
PARTIAL_FILE = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}\.(wav|flac|ogg|mp3)")


def check_output_folder(
    folder: Path, manifest: Path, shard: ManifestShard = WHOLE_MANIFEST
) -> None:
    """Check that a batch can be written to a folder; create nothing.

    Raises:
        FolderInUse: another process writes to it.
        FolderError: it is not writable, or its name is too long.
        ConditionError: the manifest is the journal that the batch would write.
    """
    journal = folder / journal_name(shard)
    try:
        os.lstat(journal)
    except (FileNotFoundError, NotADirectoryError):
        pass  # checked below
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be used: {os_error_reason(error)}; choose another "
            "--out-dir"
        ) from None
    if os.path.exists(journal) and os.path.exists(manifest) and os.path.samefile(journal, manifest):
        raise ConditionError(
            f"{manifest} is the journal of this batch; copy it or choose another --out-dir"
        )
    if not is_writable(folder):
        raise FolderError(f"the folder {folder} cannot be written; choose another --out-dir")
    check_unlocked(_locked_folder(folder, shard))


def has_journal(folder: Path) -> bool:
    """Return whether the folder has a journal of a batch or of one of its shards."""
    return next(folder.glob("results*.jsonl"), None) is not None


@contextmanager
def lock_output_folder(folder: Path, shard: ManifestShard = WHOLE_MANIFEST) -> Iterator[None]:
    """Lock a folder, or a shard in it; remove partial files of killed processes.

    Raises:
        FolderInUse: another process has locked the folder, or one of its shards.
        FolderError: the folder cannot be written.
    """
    own = _locked_folder(folder, shard)
    if own != folder and own.is_symlink():
        raise FolderError(f"{own} is a link; remove it")
    with lock_folder(own):
        others = [other for other in folder.glob(".shard-*") if other != own]
        # first lock, then check the other locks: two processes cannot both find the folder free
        for other in others if own == folder else [folder]:
            check_unlocked(other)
        _remove_partial_files_if_alone(folder, others)
        try:
            yield
        finally:
            _remove_partial_files_if_alone(folder, others)  # a worker may have been killed
    if own != folder:
        with suppress(OSError):
            own.rmdir()


def _remove_partial_files_if_alone(folder: Path, others: Sequence[Path]) -> None:
    if all(lock_holder(other) is None for other in others):
        remove_partial_files(folder)


def remove_partial_files(folder: Path) -> None:
    """Remove incomplete files of killed processes."""
    for root, _, names in os.walk(folder):
        for name in filter(PARTIAL_FILE.fullmatch, names):
            with suppress(OSError):
                os.unlink(os.path.join(root, name))


def _locked_folder(folder: Path, shard: ManifestShard) -> Path:
    """Return the folder that a batch locks: the output folder, or one for its shard."""
    if shard == WHOLE_MANIFEST:
        return folder
    return folder / f".shard-{shard.number}-of-{shard.count}"
