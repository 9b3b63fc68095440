"""Who hears Ctrl-C: callers that start processes of their own decide alone what it means.

And a command hears each: one that Python can raise nowhere comes once more.
"""

import _thread
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Disregard Ctrl-C, as do the processes that are started meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def redeliver_sigint(unraisable: "sys.UnraisableHookArgs") -> None:
    """Have a Ctrl-C come again that came in a destructor, where Python prints it and goes on.

    A `sys.unraisablehook`; whatever else comes there is printed as ever.
    """
    if unraisable.exc_type is not KeyboardInterrupt:
        sys.__unraisablehook__(unraisable)
        return
    # later, for what is raised in here would be lost as well
    again = threading.Timer(0.01, _press)
    again.daemon = True
    again.start()


def _press() -> None:
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # as from a terminal: a sleep ends by it
    else:
        _thread.interrupt_main()
