"""The output folder: seen to before anything is loaded, kept to one batch, swept.

Shards of one batch may write into it side by side, each under a lock and a journal of its own; a
batch that is not a shard has it to itself.
"""

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from audio_utils.atomic_files import TEMPORARY_PREFIX
from wavenet.batch.journal import journal_name
from wavenet.errors import ConditionError, FolderError
from wavenet.locks import hold, is_held, refuse_held

Shard = tuple[int, int]
WHOLE: Shard = (1, 1)
# as audio files are named until they are whole, and nothing else
PARTIAL = re.compile(re.escape(TEMPORARY_PREFIX) + r"[0-9a-f]{12}\.(wav|flac|ogg|mp3)")


def check_folder(folder: Path, manifest: Path, shard: Shard = WHOLE) -> None:
    """See that a batch can be written there; nothing is made.

    Raises:
        FolderInUse: another process writes into it.
        FolderError: it cannot be written.
        ConditionError: the manifest is the journal that would be written.
    """
    journal = folder / journal_name(shard)
    if os.path.exists(journal) and os.path.exists(manifest) and os.path.samefile(journal, manifest):
        raise ConditionError(
            f"{manifest} is what this batch would write; copy it or choose another --out-dir"
        )
    nearest = next(p for p in (folder, *folder.absolute().parents) if os.path.lexists(p))
    if not os.path.isdir(nearest) or not os.access(nearest, os.W_OK | os.X_OK):
        raise FolderError(f"the folder {folder} cannot be written; choose another --out-dir")
    refuse_held(_guarded(folder, shard))


def is_new(folder: Path) -> bool:
    """Say whether no batch was ever written there."""
    return next(folder.glob("results*.jsonl"), None) is None


@contextmanager
def hold_part(folder: Path, shard: Shard = WHOLE) -> Iterator[None]:
    """Keep the folder, or a shard of it, to this process, without what killed ones left.

    Raises:
        FolderInUse: another process holds it, or a part of it.
        FolderError: it cannot be written.
    """
    own = _guarded(folder, shard)
    if own != folder and own.is_symlink():
        raise FolderError(f"{own} is a link; remove it")
    with hold(own):
        others = [other for other in folder.glob(".shard-*") if other != own]
        # each holds its own first and looks then, so that two cannot miss each other
        for other in others if own == folder else [folder]:
            refuse_held(other)
        _sweep_alone(folder, others)
        try:
            yield
        finally:
            _sweep_alone(folder, others)  # a worker may have been killed
    if own != folder:
        with suppress(OSError):
            own.rmdir()


def _sweep_alone(folder: Path, others: Sequence[Path]) -> None:
    """Sweep unless another shard writes there."""
    if all(is_held(other) is None for other in others):
        sweep(folder)


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written."""
    for root, _, names in os.walk(folder):
        for name in filter(PARTIAL.fullmatch, names):
            with suppress(OSError):
                os.unlink(os.path.join(root, name))


def _guarded(folder: Path, shard: Shard) -> Path:
    part, parts = shard
    return folder if parts == 1 else folder / f".shard-{part}-of-{parts}"
