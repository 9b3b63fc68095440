"""One writer to a folder: a lock that ends with the process that holds it.

A folder enters; inside `hold` no other process holds it. Called by training, and by whatever else
keeps a folder for longer than one file takes. The lock is of the system, not the file `.lock`: that
one only names the holder, so that a process which was killed leaves nothing to clear away.
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
# `is_held` holds the lock itself for a moment; who is told "in use" has waited longer than that.
_PATIENCE_SECONDS = 0.2
# Some network file systems have no locks. A run there goes on without one.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_LONGEST = 20  # digits of a process id, and a line end


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep a folder to this process; it is made where it is missing.

    Raises:
        FolderInUse: another process holds it; nothing in it was touched.
        FolderError: it cannot be made or written, or its `.lock` is something else.
    """
    path, made = folder / LOCK_NAME, not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _take(folder, path)
    except OSError as error:
        raise FolderError(
            f"the folder {folder} cannot be written: {os_error_reason(error)}"
        ) from None
    try:
        yield
    finally:
        # while it is held: who waits for this file sees that it is gone and makes another
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
                path.unlink()
        with suppress(OSError):
            unlock_descriptor(descriptor)
        os.close(descriptor)
        if made:
            with suppress(OSError):  # it holds something now
                folder.rmdir()


def is_held(folder: Path) -> int | None:
    """Give the process that holds a folder; None where nobody does, 0 where it did not say."""
    try:
        descriptor = os.open(folder / LOCK_NAME, os.O_RDONLY | _FLAGS)
    except OSError:
        return None
    try:
        if lock_descriptor(descriptor, blocking=False):
            unlock_descriptor(descriptor)
            return None
        return _holder(descriptor) or 0
    except OSError:
        return None
    finally:
        os.close(descriptor)


def refuse_held(folder: Path) -> None:
    """See that nobody holds a folder, before long work for it begins.

    Raises:
        FolderInUse: somebody does.
    """
    holder = is_held(folder)
    if holder is not None:
        raise FolderInUse(_describe(folder, holder))


def _take(folder: Path, path: Path) -> int:
    """Open, check and lock the file, and write into it who holds it."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while True:
        descriptor = _open(folder, path)
        try:
            if _locked(descriptor):
                if os.fstat(descriptor).st_nlink:
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, f"{os.getpid()}\n".encode())
                    return descriptor
            elif time.monotonic() > until:
                raise FolderInUse(_describe(folder, _holder(descriptor) or 0))
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(0.01)


def _open(folder: Path, path: Path) -> int:
    """Open the file that is locked, which must be one of ours: what it holds is written over."""
    refusal = FolderError(
        f"{path} is not a lock file of this program; move it away or choose another folder"
    )
    if path.is_symlink():
        raise refusal
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o666)
    found = os.fstat(descriptor)
    if (
        not stat.S_ISREG(found.st_mode)
        or found.st_nlink > 1
        or (found.st_size and _holder(descriptor) is None)
    ):
        os.close(descriptor)
        raise refusal
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=False)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return True
        raise


def _holder(descriptor: int) -> int | None:
    """Read the process id that a lock file holds, if that is all it holds."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    text = os.read(descriptor, _LONGEST + 1).strip()
    os.lseek(descriptor, 0, os.SEEK_SET)
    return int(text) if text.isdigit() and len(text) < _LONGEST else None


def _describe(folder: Path, holder: int) -> str:
    who = f" (process {holder})" if holder else ""
    return f"{folder} is in use by another process{who}; wait for it, or end it"
