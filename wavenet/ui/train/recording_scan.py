"""Scans of recordings in threads: each reports its progress, and can be stopped at any time.

Input: a function that reads recordings. Output: its newest report, several times per second. A scan
ends if its page is closed, if its user presses Stop, or if the page starts another one. Called by
`train_events`.
"""

from collections.abc import Callable, Iterator
from threading import Event, Thread

from wavenet.training.dataset_report import DatasetReport

REPORT_SECONDS = 0.3  # between two reports
# Of files while the folder is searched, then the report on those that have been read.
Progress = int | DatasetReport
Scan = Callable[[Callable[[int], None]], Iterator[DatasetReport]]
_END_SECONDS = 5.0  # that a stopped thread has for its current file


class _Stopped(Exception):
    """Ends the search for files in the thread of a stopped scan."""


def run_scan(
    scan: Scan, is_wanted: Callable[[], bool], seconds: float = REPORT_SECONDS
) -> Iterator[Progress]:
    """Run a scan in a thread.

    Args:
        scan: receives a function to call with the number of files found so far, and yields reports.
        is_wanted: the scan ends when this returns False.
        seconds: between two yields.
    Yields:
        The progress, at least once; at last the complete report, unless the scan was stopped.
    Raises:
        Exception: whatever the scan raises.
    """
    stopped, ended = Event(), Event()
    newest: list[Progress] = [0]
    errors: list[Exception] = []

    def note(progress: Progress) -> None:
        if stopped.is_set():
            raise _Stopped
        newest[0] = progress

    def work() -> None:
        try:
            for report in scan(note):
                note(report)
        except _Stopped:
            pass
        except Exception as error:
            errors.append(error)
        finally:
            ended.set()

    thread = Thread(target=work, daemon=True)
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
