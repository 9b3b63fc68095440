"""Progress bars and status messages on stderr.

Input: amounts of finished work. Output: text on stderr; bars and spinners are shown only if stderr
is a terminal. Called by the commands.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(unit: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show a progress bar with the remaining time; yield a function that advances it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as progress:
        task = progress.add_task(unit, total=total)
        yield lambda done: progress.advance(task, done)


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
