"""Write files so that they are whole or absent.

Enters: a target path. Leaves: a temporary path that becomes the target only when all went well.
Callers: audio_utils.io, audio_utils.plots, and whatever else writes a file (checkpoints, tables).
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

# A leading dot hides an orphan of a killed process; the fixed start lets a later sweep find it.
TEMPORARY_PREFIX = ".partial-"


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that replaces the target when the block ends without an error.

    The temporary file is new, empty, in the folder of the target and has its suffix. It is synced
    to disk before it takes the name of the target, so that a crash leaves the old file or the new
    one, never a part. After an error the target is as before and the temporary file is gone.

    Args:
        path: the file to make or replace; a symbolic link is followed, so that the link stays.
    Yields:
        The temporary path; write to it, close it, and leave the block.
    Raises:
        OSError: the folder is missing or closed to us, the target is no regular file, the disk is
            full; `reason` turns it into words.
    """
    target = Path(os.path.realpath(path))
    _check_target(target)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{target.suffix}")
    # Not tempfile.mkstemp: it would make the finished file private, whatever the umask says.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The new name itself is on disk only after its folder is; some file systems cannot do that.
    with contextlib.suppress(OSError):
        _sync(target.parent, os.O_RDONLY)


def reason(error: OSError) -> str:
    """Say in a few words why a file operation failed, without its path.

    Args:
        error: as raised by `atomic_file` or by the system.
    Returns:
        A clause that starts with a small letter and ends without a full stop.
    """
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space or choose another disk"
    text = error.strerror or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def _check_target(target: Path) -> None:
    """Refuse a target that os.replace would fail on late, or destroy (a device, a pipe)."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file inside it", str(target))
    if target.exists() and not target.is_file():
        text = "it is a device or a pipe; name a regular file"
        raise OSError(errno.EINVAL, text, str(target))
    if not target.parent.is_dir():
        text = f"the folder {target.parent} does not exist; make it first"
        raise FileNotFoundError(errno.ENOENT, text, str(target))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
