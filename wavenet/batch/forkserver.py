"""The fork server of local workers, a process with all libraries loaded that is copied per worker.

Loading PyTorch takes a second or two, so `start_forkserver` starts it while the caller still checks
the rows. Imports nothing heavy. Called by the command and by `local_workers`.
"""

import multiprocessing
import sys
from typing import Any

from wavenet.interrupts import ignore_sigint

# on other systems loaded libraries do not work in forked processes
_CAN_FORK = sys.platform == "linux"
_PRELOADED = [
    "wavenet.batch.local_workers",
    "wavenet.engines.cpu.cpu_engine",
    "wavenet.generation.generate",
]

# type checkers know no Process of a context
WORKER_CONTEXT: Any = multiprocessing.get_context("forkserver" if _CAN_FORK else "spawn")


def start_forkserver() -> None:
    """Start the fork server unless it runs; it ends with this process.

    It ignores SIGINT, and so do the workers: this process decides what Ctrl-C means.
    """
    if not _CAN_FORK:
        return
    from multiprocessing import forkserver

    with ignore_sigint():
        forkserver.set_forkserver_preload(_PRELOADED)
        forkserver.ensure_running()
