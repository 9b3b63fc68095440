"""The private folder of temporary files of one studio: uploads, results, unfinished files.

Gradio deletes only files that it has received completely, and only while it runs. Here everything
in the folder is deleted: old files by a timer, all files at the end, and the folder of a killed
studio at the next start. Input: the system's temporary folder, or GRADIO_TEMP_DIR. Output: a folder
that only this user can read. Called by `app.py`, `wavenet ui` and `studio_app`.
"""

import atexit
import os
import shutil
import signal
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from audio_utils.atomic_files import os_error_reason
from wavenet.errors import FolderError
from wavenet.folder_lock import lock_folder, lock_holder

FOLDER_PREFIX = "wavenet-ui-"
SWEEP_SECONDS = 60.0  # between two sweeps
FILE_SECONDS = 1800.0  # age at which a file is deleted
# Age at which an upload that receives nothing is deleted.
UNFINISHED_SECONDS = 300.0
MAX_STORED_BYTES = 4 * 10**9
RESERVE_BYTES = 2 * 10**8  # of the disk, for other programs
# Younger folders may belong to a studio that has not locked its folder yet.
_NEW_SECONDS = 5.0


def use_private_folder() -> Path:
    """Create a private folder for this process, used by Gradio and `tempfile` from now on.

    Folders of studios that no longer run are deleted. Call this before gradio is imported, because
    it stores the path of its folder.

    Returns:
        The folder of uploads and results.
    Raises:
        FolderError: no folder can be created.
    """
    try:
        parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir()).absolute()
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX, dir=parent))  # mode 0700
    except OSError as error:
        raise FolderError(
            f"no folder for temporary files can be created: {os_error_reason(error)}; set the "
            "variable TMPDIR to a folder that can be written"
        ) from None
    lock = ExitStack()
    lock.enter_context(lock_folder(folder))
    atexit.register(_remove, folder, lock, os.getpid())
    if lock_holder(folder) is not None:  # otherwise this file system has no locks
        delete_abandoned_folders(parent)
    files, work = folder / "files", folder / "work"
    files.mkdir()
    work.mkdir()
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    tempfile.tempdir = str(work)
    return files


def end_on_termination() -> None:
    """Make SIGTERM and SIGHUP end this process like Ctrl-C, which removes the private folder.

    A signal that is ignored, as under nohup, stays ignored.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def is_private(folder: Path) -> bool:
    """Return whether a folder is one of `use_private_folder`, in which all files may be deleted."""
    return folder.parent.name.startswith(FOLDER_PREFIX)


def delete_abandoned_folders(parent: Path) -> None:
    """Delete the folders that killed studios of this user have left."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        with suppress(OSError):
            status = folder.lstat()
            is_own = not hasattr(os, "getuid") or status.st_uid == os.getuid()
            is_new = time.time() - status.st_mtime < _NEW_SECONDS
            if is_own and not is_new and lock_holder(folder) is None:
                shutil.rmtree(folder)  # it refuses a symbolic link


def delete_old_files(folder: Path, kept: set[str]) -> None:
    """Delete old files, and the empty folders that remain.

    Args:
        folder: of uploads and results. Gradio writes unfinished files directly into it, and moves
            each finished file into a folder of its own.
        kept: paths that are never deleted.
    """
    now = time.time()
    for root, folders, names in os.walk(folder, topdown=False):
        limit = UNFINISHED_SECONDS if Path(root) == folder else FILE_SECONDS
        for path in (Path(root, name) for name in names):
            with suppress(OSError):
                # Not the modification time, which copies keep from their originals.
                if str(path) not in kept and now - path.lstat().st_ctime > limit:
                    path.unlink()
        for path in (Path(root, name) for name in folders):
            with suppress(OSError):  # it is not empty
                if now - path.lstat().st_ctime > FILE_SECONDS:
                    path.rmdir()


def free_bytes(folder: Path) -> int:
    """Return how many bytes may still be stored in the folder of uploads and results."""
    stored = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                stored += os.lstat(os.path.join(root, name)).st_size
    return min(MAX_STORED_BYTES - stored, shutil.disk_usage(folder).free - RESERVE_BYTES)


def _remove(folder: Path, lock: ExitStack, process_id: int) -> None:
    if os.getpid() == process_id:  # not in a forked process
        for content in (folder / "files", folder / "work"):
            shutil.rmtree(content, ignore_errors=True)
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)
