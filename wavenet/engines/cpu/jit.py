"""Compile functions with numba and cache the machine code.

Input: a Python function. Output: a compiled function. numba stores machine code on disk and
compiles a function again if its file changes, but not if a function that it calls changes. The
name of the cache folder is therefore a hash of all source files of the compiled code: after any
change, no old machine code is used. Called by the modules of this package and of
`wavenet.effects`.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from numba import extending

from audio_utils.atomic_files import is_writable
from wavenet.cache_folders import use_writable_caches, user_cache
from wavenet.engines import kernel_inputs
from wavenet.model import mixtures
from wavenet.program_folders import is_installed

_HERE = Path(__file__).parent
# compiled code contains constants of these files
_CONSTANTS = (Path(kernel_inputs.__file__), Path(mixtures.__file__))


def kernels_folder(sources: Sequence[Path] = ()) -> Path:
    """Return the folder for machine code of this version, in the project or the user's cache.

    Args:
        sources: files of the compiled code beside those of this package.
    """
    digest = hashlib.sha256()
    for path in (*sorted(_HERE.glob("*.py")), *_CONSTANTS, *sources):
        digest.update(path.read_bytes())
    chosen, cache = os.environ.get("NUMBA_CACHE_DIR"), user_cache()
    if chosen:
        base = Path(chosen)
    elif cache is None or (os.access(_HERE, os.W_OK) and not is_installed()):
        base = _HERE / "__pycache__"
    else:
        base = cache / "wavenet-studio"
    return base / f"kernels-{digest.hexdigest()[:12]}"


use_writable_caches()
_FOLDER = str(kernels_folder())
_IS_CACHED = is_writable(Path(_FOLDER))
if not _IS_CACHED:
    logging.getLogger(__name__).warning(
        "the engine cpu is compiled again by every process, because %s cannot be written; set "
        "NUMBA_CACHE_DIR to a folder that can be written",
        _FOLDER,
    )

OPTIMISATION = 1  # level of LLVM, 0 to 3

# numba has no types for these
intrinsic: Any = extending.intrinsic
_njit: Any = numba.njit
_config: Any = numba.config


def target_features() -> dict[str, bool]:
    """Return the instruction sets for which numba compiles: those of this machine, or as set.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES select fewer.
    """
    text = _config.CPU_FEATURES
    if _config.CPU_NAME is None and text is None:
        return dict(llvm.get_host_cpu_features())
    parts = [part.strip() for part in (text or "").split(",") if part.strip()]
    return {part[1:]: part[0] == "+" for part in parts}


def compiled(function: Callable[..., Any], sources: Sequence[Path] = ()) -> Any:
    """Compile a function on its first call, without the GIL, and cache the machine code.

    Reference counting is off. The caller owns all arrays, and two threads that count references to
    the same arrays would wait for each other at every step.

    Args:
        function: of Python.
        sources: files of its code, if they are of another package.
    """
    previous = _config.CACHE_DIR
    # numba reads it when it wraps the function
    _config.CACHE_DIR = str(kernels_folder(sources)) if sources else _FOLDER
    try:
        dispatcher = _njit(cache=_IS_CACHED, nogil=True, _nrt=False, no_cfunc_wrapper=True)(
            function
        )
    finally:
        _config.CACHE_DIR = previous
    _ignore_failed_writes(dispatcher._cache)
    _optimise_little(dispatcher)
    return dispatcher


def _optimise_little(dispatcher: Any) -> None:
    """Compile with fewer passes of LLVM: the inner loops are vector instructions already.

    All passes need 19 s instead of 14 s for the int8 loop, and the code is not faster.
    """
    compile_with_passes = dispatcher.compile

    def compile_with_few_passes(signature: Any) -> Any:
        previous = _config.OPT
        _config.OPT = type(previous)(OPTIMISATION)
        try:
            return compile_with_passes(signature)
        finally:
            _config.OPT = previous

    dispatcher.compile = compile_with_few_passes


def _ignore_failed_writes(cache: Any) -> None:
    """Return a compiled function although its machine code cannot be stored on a full disk."""
    save = cache.save_overload

    def save_if_possible(signature: Any, data: Any) -> None:
        with suppress(OSError):
            save(signature, data)

    cache.save_overload = save_if_possible


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its callers, because a call costs as much as a small product."""
    return _njit(
        nogil=True, _nrt=False, forceinline=True, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )(function)
