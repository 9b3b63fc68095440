"""Work in a thread that reports its progress, and that can be stopped at each report.

Input: a function that receives a callback for its reports. Output: the newest report, several times
per second. The work ends if its page is closed, if its user presses Stop, or if the page starts
other work. Called by the tabs Analyse, Compress and Train.
"""

from collections.abc import Callable, Iterator
from threading import Event, Thread
from typing import TypeVar

REPORT_SECONDS = 0.3  # between two reports
_END_SECONDS = 5.0  # that a stopped thread has until its next report

Report = TypeVar("Report")


class _Stopped(Exception):
    """Ends stopped work at its next report."""


def run_in_background(
    work: Callable[[Callable[[Report], None]], None],
    first: Report,
    is_wanted: Callable[[], bool],
    seconds: float = REPORT_SECONDS,
) -> Iterator[Report]:
    """Run work in a thread.

    Args:
        work: receives a function to call with each report.
        first: the report before any other.
        is_wanted: the work ends when this returns False.
        seconds: between two yields.
    Yields:
        The newest report, at least once; at last that of the complete work, unless it was stopped.
    Raises:
        Exception: whatever the work raises.
    """
    stopped, ended = Event(), Event()
    newest = [first]
    errors: list[Exception] = []

    def note(report: Report) -> None:
        if stopped.is_set():
            raise _Stopped
        newest[0] = report

    def run() -> None:
        try:
            work(note)
        except _Stopped:
            pass
        except Exception as error:
            errors.append(error)
        finally:
            ended.set()

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while not ended.wait(seconds):
            if not is_wanted():
                return
            yield newest[0]
        if errors:
            raise errors[0]
        yield newest[0]
    finally:  # also if the page was closed
        stopped.set()
        thread.join(_END_SECONDS)
