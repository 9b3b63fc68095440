"""How the CPU engine's functions are compiled, and where the result is kept.

A Python function enters, a compiled one leaves. The machine code is kept on disk by numba, which
compiles anew when the file of a function changes, but not when a function that it calls does. So
all these files together name the folder: change one, and nothing old is ever run.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba import extending

_HERE = Path(__file__).parent


def kernels_folder() -> Path:
    """Name the folder of the machine code of this version: in the package, or the user's cache."""
    digest = hashlib.sha256()
    for path in sorted(_HERE.glob("*.py")):
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


# neither package is typed as far as these go
intrinsic: Any = extending.intrinsic
_njit: Any = numba.njit
_config: Any = numba.config


def compiled(function: Callable[..., Any]) -> Any:
    """Compile on the first call, without the interpreter's lock, and keep the machine code.

    References are not counted: the arrays live in the caller, and two threads that count the same
    ones would wait for each other at every step.
    """
    before = _config.CACHE_DIR
    _config.CACHE_DIR = _FOLDER  # read when the function is wrapped, not later
    try:
        return _njit(cache=True, nogil=True, _nrt=False, no_cfunc_wrapper=True)(function)
    finally:
        _config.CACHE_DIR = before


def inlined(function: Callable[..., Any]) -> Any:
    """Compile into its callers: a call costs as much as a small product."""
    return _njit(
        nogil=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
