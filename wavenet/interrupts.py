"""SIGINT (Ctrl-C) handling for long work and for commands with worker processes.

`stop_on_interrupt` turns SIGINT into a request to stop. A terminal sends SIGINT to all processes of
a command: `ignore_sigint` protects the processes that are started inside it, so that only the
parent process reacts. `redeliver_sigint` prevents the loss of a SIGINT. Called by the command line,
by `wavenet.train` and by everything that starts processes.
"""

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from wavenet.terminal import print_message

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


@contextmanager
def stop_on_interrupt(
    report: Callable[[str], None] = print_message, is_distributed: bool = False
) -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether Ctrl-C was pressed; a second Ctrl-C ends at once.

    Outside the main thread, where Python cannot set signal handlers, nothing changes.

    Args:
        report: prints a message.
        is_distributed: whether this is one of several processes. When one process has ended,
            torchrun sends SIGTERM to the others. That is treated as a request to stop; the next
            communication with the others shows whether they have ended.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    requested = False

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal requested
        if requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested = True
        if number == signal.SIGINT:
            report("stopping after this step; Ctrl-C again to end at once")

    previous = signal.signal(signal.SIGINT, on_signal)
    if is_distributed:
        # Not restored: torchrun's SIGTERM may arrive while the error is being printed.
        signal.signal(signal.SIGTERM, on_signal)
    try:
        yield lambda: requested
    finally:
        signal.signal(signal.SIGINT, previous)


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
