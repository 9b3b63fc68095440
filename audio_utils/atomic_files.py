"""Write files atomically: a file is complete or absent.

Input: a target path. Output: a temporary path, which is renamed to the target after success.
Called by everything that writes a file: audio, plots, checkpoints, tables.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

# The temporary file of a killed process is not removed: the leading dot hides it, and a later
# clean-up finds it by the fixed prefix.
TEMPORARY_PREFIX = ".partial-"


@contextlib.contextmanager
def atomic_file(path: str | Path, replace: bool = True) -> Iterator[Path]:
    """Yield a temporary path that becomes the target if the block ends without an error.

    The temporary file is new and empty. It is in the folder of the target and has the same suffix.
    It is synced to disk before it is renamed, so that a crash leaves the old file or the new one,
    never a partial one. After an error the target is unchanged and the temporary file is removed.

    Args:
        path: the file to create or replace; a symbolic link is followed and stays a link.
        replace: whether an existing file may be replaced; otherwise, of two processes that write
            the same file at the same time, only the first succeeds.
    Yields:
        The temporary path; write to it, close it, and leave the block.
    Raises:
        FileExistsError: the file exists and must not be replaced.
        OSError: the folder is missing or not writable, the target is not a regular file, or the
            disk is full; `os_error_reason` returns the text for a message.
    """
    target = Path(os.path.realpath(path))
    _check_target(target, replace)
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{target.suffix}")
    # Not tempfile.mkstemp: the finished file would be private, regardless of the umask.
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)
        if replace:
            os.replace(temporary, target)
        else:
            _move_to_new(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    # The new name is on disk only after a sync of the folder; some file systems do not support it.
    with contextlib.suppress(OSError):
        _sync(target.parent, os.O_RDONLY)


def is_writable(folder: Path) -> bool:
    """Return whether a folder can be written, or created."""
    try:
        nearest = find_existing_folder(folder)
    except OSError:  # the path is too long
        return False
    return os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK)


def find_existing_folder(folder: Path) -> Path:
    """Return the folder itself, or the nearest folder above it that exists."""
    folder = Path(os.path.abspath(folder))
    for place in (folder, *folder.parents):
        try:
            os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        return place
    return folder


def os_error_reason(error: OSError) -> str:
    """Return why a file operation failed, without the path.

    Args:
        error: raised by `atomic_file` or by the system.
    Returns:
        A clause that starts with a lower-case letter and has no full stop.
    """
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space or choose another disk"
    text = error.strerror or str(error) or type(error).__name__
    return text[0].lower() + text[1:]


def _move_to_new(temporary: Path, target: Path) -> None:
    """Rename a file unless the new name exists; no process can create this name meanwhile."""
    try:
        try:
            os.link(temporary, target)
        except FileExistsError:
            raise
        except OSError:
            # On a file system without hard links, an empty file reserves the name.
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            os.replace(temporary, target)
        else:
            temporary.unlink()
    except FileExistsError:
        raise _exists_error(target) from None


def _exists_error(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "it exists already; choose another name", str(target))


def _check_target(target: Path, replace: bool) -> None:
    """Raise OSError for a target that os.replace cannot write (a folder) or would destroy (a pipe).

    The error comes before any work: os.replace itself runs only after the file is written.
    """
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file inside it", str(target))
    if target.exists() and not target.is_file():
        text = "it is a device or a pipe; name a regular file"
        raise OSError(errno.EINVAL, text, str(target))
    if not replace and target.exists():
        raise _exists_error(target)
    if not target.parent.is_dir():
        text = f"the folder {target.parent} does not exist; create it first"
        raise FileNotFoundError(errno.ENOENT, text, str(target))


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
