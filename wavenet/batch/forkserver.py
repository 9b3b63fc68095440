"""The fork server: a process with all libraries loaded; each local worker is forked from it.

It needs a second or two to load PyTorch. `start_forkserver` therefore starts it while the caller
still checks the rows. This module imports nothing large. Called by the command and by
`local_workers`.
"""

import multiprocessing
import sys
from typing import Any

from wavenet.interrupts import ignore_sigint

# elsewhere, loaded libraries do not work in forked processes
_CAN_FORK = sys.platform == "linux"
_PRELOADED = [
    "wavenet.batch.local_workers",
    "wavenet.engines.cpu.cpu_engine",
    "wavenet.generation.generate",
]

# type checkers do not know `context.Process`
WORKER_CONTEXT: Any = multiprocessing.get_context("forkserver" if _CAN_FORK else "spawn")


def start_forkserver() -> None:
    """Start the fork server unless it is running; it ends with this process.

    The fork server and the workers ignore SIGINT: only this process reacts to Ctrl-C.
    """
    if not _CAN_FORK:
        return
    from multiprocessing import forkserver

    with ignore_sigint():
        forkserver.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
