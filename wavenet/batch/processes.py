"""Where workers come from: one process loads what all of them need, and each begins as its copy.

To load PyTorch takes a second or two, so `prepare` begins with it while the caller still looks at
what there is to do. Called by `cli` and `crew`; it imports nothing heavy itself.
"""

import multiprocessing
import sys
from typing import Any

from wavenet.interrupts import deaf

_COPIES = sys.platform == "linux"  # elsewhere libraries do not bear to be copied when loaded
_LOADED = ["wavenet.batch.crew", "wavenet.engines.cpu.cpu_engine", "wavenet.generation.generate"]

# a context, of which type checkers know no Process
PROCESSES: Any = multiprocessing.get_context("forkserver" if _COPIES else "spawn")


def prepare() -> None:
    """Begin to load, in a process that ends with this one; there is only ever one.

    Neither it nor its copies hear Ctrl-C: whoever asked for them decides what that means.
    """
    if not _COPIES:
        return
    from multiprocessing import forkserver

    with deaf():
        forkserver.set_forkserver_preload(_LOADED)
        forkserver.ensure_running()
