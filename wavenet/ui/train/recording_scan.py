"""Scans of recordings in threads: each reports its progress, and can be stopped at any time.

Input: a function that reads recordings. Output: its newest report, several times per second. Called
by `train_events`.
"""

from collections.abc import Callable, Iterator

from wavenet.training.dataset_report import DatasetReport
from wavenet.ui.background_work import REPORT_SECONDS, run_in_background

# Of files while the folder is searched, then the report on those that have been read.
Progress = int | DatasetReport
Scan = Callable[[Callable[[int], None]], Iterator[DatasetReport]]


def run_scan(
    scan: Scan, is_wanted: Callable[[], bool], seconds: float = REPORT_SECONDS
) -> Iterator[Progress]:
    """Run a scan in a thread.

    Args:
        scan: receives a function to call with the number of files found so far, and yields reports.
        is_wanted, seconds: as in `run_in_background`.
    Yields:
        The progress, at least once; at last the complete report, unless the scan was stopped.
    Raises:
        Exception: whatever the scan raises.
    """

    def work(note: Callable[[Progress], None]) -> None:
        for report in scan(note):
            note(report)

    first: Progress = 0
    yield from run_in_background(work, first, is_wanted, seconds)
