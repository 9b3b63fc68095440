"""Compile functions with numba and cache the machine code.

A Python function enters, a compiled one leaves. numba keeps machine code on disk and compiles a
function again when its own file changes, but not when a function that it calls changes. The cache
folder is therefore named by a hash of all files that compiled code depends on: after any change,
no old machine code is used.
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
    """Return the folder of this version's machine code: in the package, or the user's cache."""
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

# numba's stubs do not cover these
intrinsic: Any = extending.intrinsic
_njit: Any = numba.njit
_config: Any = numba.config


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call, without the GIL, and cache the machine code.

    Reference counts are off: the caller owns all arrays, and two threads that count references to
    the same arrays would wait for each other at every step.
    """
    previous = _config.CACHE_DIR
    _config.CACHE_DIR = _FOLDER  # numba reads it when the function is wrapped, not later
    try:
        return _njit(cache=True, nogil=True, _nrt=False, no_cfunc_wrapper=True)(function)
    finally:
        _config.CACHE_DIR = previous


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its callers: a call would cost as much as a small product."""
    return _njit(
        nogil=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
