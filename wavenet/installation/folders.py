"""The folders that the program writes, and the variables of the environment that it reads.

Output: facts by name; for each problem one sentence, which says what to do. Called by `wavenet
doctor`.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from audio_utils.atomic_files import find_existing_folder, is_writable
from wavenet.cache_folders import is_private_temporary, user_cache
from wavenet.checkpoint_folders import default_root
from wavenet.devices import DEVICE_VARIABLE
from wavenet.installation.packages import can_import
from wavenet.user_input.close_names import find_close_name
from wavenet.user_input.user_folders import settings_file

_PREFIX = "WAVENET_"
OWN_VARIABLES = (
    DEVICE_VARIABLE,
    *(f"{_PREFIX}{name}" for name in ("ALLOW_HOSTS", "ALLOW_IMPORT", "FFMPEG", "MCP", "TRAIN")),
)
OTHER_VARIABLES = (
    *("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", "GRADIO_TEMP_DIR", "TMPDIR"),
    *("NUMBA_CACHE_DIR", "NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "TRITON_CACHE_DIR"),
    *("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR", "HF_HOME"),
    *("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"),
)
MIN_FREE_BYTES = 2 * 10**8


def describe_folders() -> dict[str, dict[str, Any]]:
    """Return the folders that the program writes, by purpose.

    Returns:
        `path`, `writable` and `free_gb`; a path is None without a home folder.
    """
    settings, cache = settings_file(), user_cache()
    places = {
        "settings": settings and settings.parent,
        "checkpoints": default_root(),
        "caches": cache and cache / "wavenet-studio",
        "compiled code": _kernels_folder(),
        "temporary files": _temporary_folder(),
    }
    return {name: _describe_folder(path) for name, path in places.items()}


def _kernels_folder() -> Path | None:
    if not can_import("numba", "torch"):
        return None
    from wavenet.engines.cpu.jit import kernels_folder

    return kernels_folder()


def _temporary_folder() -> Path | None:
    try:
        return Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    except OSError:
        return None


def _describe_folder(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"path": None, "writable": False, "free_gb": None}
    try:
        free = round(shutil.disk_usage(find_existing_folder(path)).free / 1e9, 1)
    except OSError:
        free = None
    return {"path": str(path), "writable": is_writable(path), "free_gb": free}


def check_folders() -> list[str]:
    """Return the problems of folders that cannot be written or have little space."""
    remedies = {
        "settings": "set XDG_CONFIG_HOME to a folder that can be written",
        "checkpoints": "start the studio in a folder that has a folder checkpoints",
        "caches": "set XDG_CACHE_HOME to a folder that can be written",
        "compiled code": "set NUMBA_CACHE_DIR to a folder that can be written",
        "temporary files": "set TMPDIR to a folder that can be written",
    }
    problems, cache = [], user_cache()
    if cache is not None and is_private_temporary(cache):
        problems.append(
            "the folder of caches cannot be written, so compiled code is kept in a temporary "
            f"folder; make ~/.cache writable, or {remedies['caches']}"
        )
    for name, folder in describe_folders().items():
        if folder["path"] is not None and not folder["writable"]:
            problems.append(
                f"the folder of {name}, {folder['path']}, cannot be written; {remedies[name]}"
            )
        elif folder["free_gb"] is not None and folder["free_gb"] * 1e9 < MIN_FREE_BYTES:
            problems.append(
                f"the disk of {folder['path']} ({name}) has {folder['free_gb']} GB left; free some "
                f"space, or {remedies[name]}"
            )
    return problems


def describe_variables() -> dict[str, str]:
    """Return the variables of the environment that change what the program does."""
    own = sorted(name for name in os.environ if name.startswith(_PREFIX))
    names = (*own, *(name for name in OTHER_VARIABLES if name in os.environ))
    return {name: os.environ[name] for name in names}


def check_variables() -> list[str]:
    """Return a problem for each variable that looks like one of the project, but is none."""
    problems = []
    for name in describe_variables():
        if name.startswith(_PREFIX) and name not in OWN_VARIABLES:
            close = find_close_name(name, OWN_VARIABLES)
            advice = f"rename it to {close}" if close else "unset it"
            problems.append(f"the variable {name} is not one of this program; {advice}")
    return problems
