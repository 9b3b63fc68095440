"""Run work that may wait, such as pictures, in threads with a low priority.

Without it, the score of a clip, which needs a third of its length, delays the first sound of the
next clip. Called by the tab Generate.
"""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

THREADS = 2
NICENESS = 10  # a thread of normal priority then gets nine times as much of a core

Result = TypeVar("Result")


def run_with_low_priority(function: Callable[[], Result]) -> Result:
    """Run a function in another thread, wait for it, and return its result."""
    return _threads.submit(function).result()


def _lower_priority() -> None:
    """Lower the priority of this thread, and of those that it starts, if the system can."""
    if hasattr(os, "setpriority"):
        with suppress(OSError):  # only Linux has a priority per thread
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


_threads = ThreadPoolExecutor(THREADS, "pictures", initializer=_lower_priority)
