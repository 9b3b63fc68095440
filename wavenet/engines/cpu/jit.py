"""Compile functions with numba and cache the machine code.

Input: a Python function. Output: a compiled function. numba stores machine code on disk and
compiles a function again if its file changes, but not if a function that it calls changes. The
name of the cache folder is therefore a hash of all source files of the compiled code: after any
change, no old machine code is used. Called by the modules of this package.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import extending

from wavenet.engines import kernel_inputs
from wavenet.model import mixtures

_HERE = Path(__file__).parent
# compiled code contains constants of these files
_CONSTANTS = (Path(kernel_inputs.__file__), Path(mixtures.__file__))


def kernels_folder() -> Path:
    """Return the folder for machine code of this version, in the package or the user's cache."""
    digest = hashlib.sha256()
    for path in (*sorted(_HERE.glob("*.py")), *_CONSTANTS):
        digest.update(path.read_bytes())
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        base = Path(chosen)
    elif os.access(_HERE, os.W_OK):
        base = _HERE / "__pycache__"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wavenet-studio"
    return base / f"kernels-{digest.hexdigest()[:12]}"


_FOLDER = str(kernels_folder())

# numba has no types for these
intrinsic: Any = extending.intrinsic
_njit: Any = numba.njit
_config: Any = numba.config


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, without the GIL, and cache the machine code.

    Reference counting is off. The caller owns all arrays, and two threads that count references to
    the same arrays would wait for each other at every step.
    """
    previous = _config.CACHE_DIR
    _config.CACHE_DIR = _FOLDER  # numba reads it when it wraps the function
    try:
        return _njit(cache=True, nogil=True, _nrt=False, no_cfunc_wrapper=True)(function)
    finally:
        _config.CACHE_DIR = previous


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its callers, because a call costs as much as a small product."""
    return _njit(
        nogil=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
