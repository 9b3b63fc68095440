"""SIGINT (Ctrl-C) handling for commands with worker processes.

A terminal sends SIGINT to all processes of a command. `ignore_sigint` protects the processes that
are started inside it, so that only the parent process reacts. `redeliver_sigint` prevents the loss
of a SIGINT. Called by the command line and by everything that starts processes.
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
    """Ignore SIGINT inside the block; processes that are started there ignore it, too.

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
    """Send SIGINT again if it arrived in a destructor, where Python only prints the exception.

    To be installed as `sys.unraisablehook`; every other exception is printed as usual.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    # delayed, because exceptions inside this hook are lost
    timer = threading.Timer(REDELIVERY_SECONDS, _interrupt_main_thread)
    timer.daemon = True
    timer.start()


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # a real signal also ends a sleep
    else:
        _thread.interrupt_main()
