"""Progress bars and status messages on stderr.

Input: amounts of finished work. Output: text on stderr; bars and spinners are shown only if stderr
is a terminal. Called by the commands.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from wavenet.cli.options import print_message


class ProgressBar:
    """A bar with the remaining time; a `wavenet.progress.Progress`.

    Args:
        unit: of the amounts, in the plural.
        total: of all amounts.
    """

    def __init__(self, unit: str, total: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
            TimeRemainingColumn(),
        )
        hidden = not console.is_terminal
        self._bar = Progress(*columns, console=console, disable=hidden, transient=True)
        self._task = self._bar.add_task(unit, total=total)

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

    def message(self, text: str) -> None:
        """Print a message above the bar."""
        print_message(text)


@contextmanager
def status_spinner(text: str) -> Iterator[None]:
    """Show a text with a spinner while the `with` block runs."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
