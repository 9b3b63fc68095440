"""Progress on stderr; nothing at all when stderr is no terminal."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 10.0  # between lines where there is no bar


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


class BatchProgress:
    """Clips, seconds of audio, speed and time left: a bar on a terminal, a line now and then else.

    Attributes:
        made: seconds of audio.

    Args:
        clips: to be made; seconds: what they last together.
        quiet: show nothing but failures.
    """

    def __init__(self, clips: int, seconds: float, quiet: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._lines = not self._console.is_terminal and not quiet
        columns = (
            BarColumn(),
            TextColumn("{task.fields[ended]:,} of {task.fields[clips]:,} clips"),
            TextColumn("{task.fields[made]:,.1f} s  {task.fields[speed]:,.1f} x real time"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=self._console, disable=not self._live, transient=True
        )
        self._task = self._progress.add_task(
            "", total=seconds, made=0.0, speed=0.0, ended=0, clips=clips
        )
        self._clips, self._seconds = clips, seconds
        self._ended, self.made = 0, 0.0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> "BatchProgress":
        """Begin to show."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the line."""
        self._progress.stop()

    def report(self, seconds: float) -> None:
        """Count audio that was made; below 0 where some is made again."""
        self.made += seconds
        now = time.monotonic()
        speed = self.made / max(now - self._began, 1e-9)
        self._progress.update(self._task, completed=self.made, made=self.made, speed=speed)
        if self._lines and now - self._told > LINE_SECONDS:
            self._told = now
            self.say(f"{self._ended:,} of {self._clips:,} clips, {speed:,.1f} times real time")

    def pass_over(self, seconds: float) -> None:
        """Count a clip that was done before."""
        self._ended += 1
        self._seconds -= seconds
        self._progress.update(self._task, ended=self._ended, total=self._seconds)

    def show(self, identity: str, error: str | None) -> None:
        """Count a clip that ended; tell of one that failed."""
        self._ended += 1
        self._progress.update(self._task, ended=self._ended)
        if error is not None:
            self.say(f"{identity}: {error}")

    def say(self, sentence: str) -> None:
        """Print a sentence above the bar."""
        self._console.print(sentence, highlight=False, soft_wrap=True, markup=False)
