"""Progress on stderr; nothing at all when stderr is no terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def bar(unit: str, total: int) -> Iterator[Callable[[float], None]]:
    """Show a bar with the time left; gives a function that moves it on."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + unit),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as it:
        task = it.add_task(unit, total=total)
        yield lambda done: it.advance(task, done)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say what is being waited for, while it lasts."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield
