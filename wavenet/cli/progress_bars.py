"""Progress bars and status messages on stderr.

Input: amounts of finished work. Output: text on stderr: a bar or a spinner on a terminal, otherwise
a line every `LINE_SECONDS`. Called by the commands.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from wavenet.cli.options import print_message

LINE_SECONDS = 30.0  # between two lines if stderr is not a terminal


class ProgressBar:
    """A bar with the remaining time; a `wavenet.progress.Progress`.

    Args:
        unit: of the amounts, in the plural.
        total: of all amounts.
        quiet: show no progress.
    """

    def __init__(self, unit: str, total: int, quiet: bool = False):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
            TimeRemainingColumn(),
        )
        self._shows_lines = not console.is_terminal and not quiet
        hidden = quiet or not console.is_terminal
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True)
        self._task = self._bar.add_task(unit, total=total)
        self._unit, self._total, self._done = unit, total, 0.0
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the bar."""
        self._bar.stop()

    def advance(self, amount: float) -> None:
        """Count finished work."""
        self._bar.advance(self._task, amount)
        self._done += amount
        now = time.monotonic()
        if self._shows_lines and now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self.message(f"{self._done:,.0f} of {self._total:,.0f} {self._unit}")

    def message(self, text: str) -> None:
        """Print a message above the bar."""
        print_message(text)


@contextmanager
def status_spinner(text: str, quiet: bool = False) -> Iterator[None]:
    """Show a text with a spinner while the `with` block runs; without a terminal, lines."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield
    elif console.is_terminal:
        with console.status(text):
            yield
    else:
        with _print_lines(text):
            yield


@contextmanager
def _print_lines(text: str) -> Iterator[None]:
    """Print a text with the elapsed time every `LINE_SECONDS` while the `with` block runs."""
    ended, start = threading.Event(), time.monotonic()

    def print_until_end() -> None:
        while not ended.wait(LINE_SECONDS):
            print_message(f"{text}: {time.monotonic() - start:,.0f} s so far")

    thread = threading.Thread(target=print_until_end, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
