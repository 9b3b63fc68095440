"""SIGINT (Ctrl-C) handling for commands with worker processes.

A terminal sends SIGINT to all processes of a command. Processes that start others call
`ignore_sigint`, so that only the first process decides what it means. The command line installs
`redeliver_sigint`, so that no SIGINT is lost.
"""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

REDELIVERY_SECONDS = 0.01


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Ignore SIGINT inside the block; processes started there ignore it, too.

    Outside the main thread, where Python cannot set signal handlers, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def redeliver_sigint(unraisable: "sys.UnraisableHookArgs") -> None:
    """Send SIGINT again if it came in a destructor, where Python only prints the exception.

    For `sys.unraisablehook`; every other exception is printed as usual.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    # a moment later: what is raised inside this hook is lost as well
    timer = threading.Timer(REDELIVERY_SECONDS, _interrupt_main_thread)
    timer.daemon = True
    timer.start()


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # a real signal also ends a sleep
    else:
        _thread.interrupt_main()
