"""Choose a folder for caches if the home folder is missing or cannot be written.

Several libraries (numba, matplotlib, huggingface_hub, Triton) store compiled code or settings in
the home folder, and some of them fail if they cannot. Output: environment variables that name a
private temporary folder instead. Called before such a library is imported: by the command line, the
studio and `engines.cpu.jit`. No large package is imported here.
"""

import os
import stat
import tempfile
from pathlib import Path

from audio_utils.atomic_files import is_writable

_CACHE = "XDG_CACHE_HOME"
_PREFIX = "wavenet-studio-"  # of temporary folders
_SUBFOLDERS = {
    "NUMBA_CACHE_DIR": "numba",
    "MPLCONFIGDIR": "matplotlib",
    "TRITON_CACHE_DIR": "triton",
}


def user_cache() -> Path | None:
    """Return the folder of the user's caches; None if the user has no home folder."""
    folder = os.environ.get(_CACHE) or os.path.expanduser("~/.cache")
    return Path(folder) if os.path.isabs(folder) else None


def use_writable_caches() -> None:
    """Set the caches of libraries to a private temporary folder if the user's cannot be written.

    Variables that the user has set are kept. If no folder can be written, nothing changes.
    """
    usual = user_cache()
    if usual is not None and is_writable(usual):
        return
    folder = private_temporary_folder()
    if folder is None:
        return
    token = None if usual is None else usual / "huggingface" / "token"
    if token is not None and "HF_HOME" not in os.environ and os.path.isfile(token):
        os.environ.setdefault("HF_TOKEN_PATH", str(token))
    os.environ[_CACHE] = str(folder)
    for name, subfolder in _SUBFOLDERS.items():
        os.environ.setdefault(name, str(folder / subfolder))


def is_private_temporary(folder: Path) -> bool:
    """Return whether a folder is one of `private_temporary_folder`."""
    return folder.parent == Path(tempfile.gettempdir()) and folder.name.startswith(_PREFIX)


def private_temporary_folder() -> Path | None:
    """Return a temporary folder that only this user can write, or None if there is none.

    It is the same for all processes of the user, so that code is compiled once.
    """
    try:
        user = os.getuid() if hasattr(os, "getuid") else 0
        folder = Path(tempfile.gettempdir()) / f"{_PREFIX}{user}"
        if not os.path.lexists(folder):
            folder.mkdir(mode=0o700, exist_ok=True)
        status = os.lstat(folder)
        # Another user may have created it, and code in it would run with the rights of this user.
        is_private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if is_private and status.st_uid == user and is_writable(folder):
            return folder
        return Path(tempfile.mkdtemp(prefix=_PREFIX))
    except OSError:
        return None
