"""Exclusive use of a folder by one process, by a lock that ends with that process.

Inside `lock_folder` no other process can lock the folder. The operating system maintains the lock.
The file `.lock` is only the object that is locked, and contains the id of the process that locked
it. After a process is killed, nothing has to be removed. Called by training, `batch` and `corpus`.

`filelock` provides the calls of the operating system. Its `FileLock` is not used: it does not
report which process has the lock, does not remove the file, accepts any existing file as the lock
file, and fails on file systems without locks.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from audio_utils.atomic_files import os_error_reason
from wavenet.errors import FolderError, FolderInUse

LOCK_NAME = ".lock"
# `lock_holder` locks briefly. A folder that stays locked for longer than this is in use.
_WAIT_SECONDS = 0.2
_POLL_SECONDS = 0.01
# Some network file systems have no locks. Work continues there without one.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_MAX_BYTES = 20  # of a lock file: digits of a process id, and a line end


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for this process inside the block; a missing folder is created.

    Raises:
        FolderInUse: another process has locked it; nothing in it was changed.
        FolderError: it cannot be created or written, or its `.lock` is not a lock file.
    """
    # not pathlib, which raises for a name that is too long
    path, is_new = folder / LOCK_NAME, not os.path.exists(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder, path)
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be written: {os_error_reason(error)}"
        ) from None
    try:
        yield
    finally:
        # removed while locked: a process that waits for this file detects that and creates another
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                path.unlink()
        with suppress(OSError):
            unlock_descriptor(descriptor)
        os.close(descriptor)
        if is_new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def lock_holder(folder: Path) -> int | None:
    """Return the id of the process that has locked a folder.

    Returns:
        None if the folder is not locked; 0 if an unknown process has locked it.
    """
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        if lock_descriptor(descriptor, blocking=False):
            unlock_descriptor(descriptor)
            return None
        return _read_process_id(descriptor) or 0
    except OSError:
        return None
    finally:
        os.close(descriptor)


def check_unlocked(folder: Path) -> None:
    """Check that no process has locked a folder, before long work for it starts.

    Raises:
        FolderInUse: a process has locked it.
    """
    holder = lock_holder(folder)
    if holder is not None:
        raise FolderInUse(_in_use_message(folder, holder))


def _acquire(folder: Path, path: Path) -> int:
    """Open, check and lock the lock file, write the process id, and return the descriptor."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        descriptor = _open_lock_file(folder, path)
        try:
            if _try_lock(descriptor):
                if os.fstat(descriptor).st_nlink:  # not removed by the previous holder
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
            elif time.monotonic() > deadline:
                raise FolderInUse(_in_use_message(folder, _read_process_id(descriptor) or 0))
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_POLL_SECONDS)


def _open_lock_file(folder: Path, path: Path) -> int:
    """Open or create the lock file; refuse any other file, because it would be overwritten."""
    refusal = FolderError(
        f"{path} is not a lock file of this program; move it away or choose another folder"
    )
    if path.is_symlink():
        raise refusal
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
    status = os.fstat(descriptor)
    if (
        not stat.S_ISREG(status.st_mode)
        or status.st_nlink > 1
        or (status.st_size and _read_process_id(descriptor) is None)
    ):
        os.close(descriptor)
        raise refusal
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return True
        raise


def _read_process_id(descriptor: int) -> int | None:
    """Return the process id in a lock file, or None if its content is not a process id."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, _MAX_BYTES + 1).strip()
    os.lseek(descriptor, 0, os.SEEK_SET)
    return int(text) if text.isdigit() and len(text) < _MAX_BYTES else None


def _in_use_message(folder: Path, holder: int) -> str:
    process = f" (process {holder})" if holder else ""
    return f"{folder} is in use by another process{process}; wait for it, or end it"
