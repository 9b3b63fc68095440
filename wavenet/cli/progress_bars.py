"""Progress bars and status messages on stderr.

Counts of finished work enter; text on stderr leaves. Bars and spinners are shown only if stderr is
a terminal. Called by the commands.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LINE_SECONDS = 10.0  # between two lines of progress if stderr is not a terminal


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
    """Show a text with a spinner while the block runs."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


class BatchProgress:
    """Progress of a batch: clips, seconds of audio, speed and remaining time.

    On a terminal this is a bar, otherwise a line every `LINE_SECONDS`.

    Attributes:
        generated_seconds: seconds of audio generated so far.

    Args:
        clips: number of clips to generate.
        seconds: their total length.
        quiet: print only failures.
    """

    def __init__(self, clips: int, seconds: float, quiet: bool):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._console = Console(stderr=True)
        self._live = self._console.is_terminal and not quiet
        self._lines = not self._console.is_terminal and not quiet
        columns = (
            BarColumn(),
            TextColumn("{task.fields[finished]:,} of {task.fields[clips]:,} clips"),
            TextColumn("{task.fields[generated]:,.1f} s  {task.fields[speed]:,.1f} x real time"),
            TimeRemainingColumn(),
        )
        self._progress = Progress(
            *columns, console=self._console, disable=not self._live, transient=True
        )
        self._task = self._progress.add_task(
            "", total=seconds, generated=0.0, speed=0.0, finished=0, clips=clips
        )
        self._clips, self._seconds = clips, seconds
        self._finished, self.generated_seconds = 0, 0.0
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> "BatchProgress":
        """Start showing progress."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop and clear the bar."""
        self._progress.stop()

    def add_audio(self, seconds: float) -> None:
        """Count generated audio; negative seconds mean that it will be generated again."""
        self.generated_seconds += seconds
        now = time.monotonic()
        speed = self.generated_seconds / max(now - self._start, 1e-9)
        self._progress.update(
            self._task,
            completed=self.generated_seconds,
            generated=self.generated_seconds,
            speed=speed,
        )
        if self._lines and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self.print_message(
                f"{self._finished:,} of {self._clips:,} clips, {speed:,.1f} times real time"
            )

    def skip_clip(self, seconds: float) -> None:
        """Count a clip that an earlier run finished; seconds is its length."""
        self._finished += 1
        self._seconds -= seconds
        self._progress.update(self._task, finished=self._finished, total=self._seconds)

    def finish_clip(self, identity: str, error: str | None) -> None:
        """Count a finished clip; print the error of one that failed."""
        self._finished += 1
        self._progress.update(self._task, finished=self._finished)
        if error is not None:
            self.print_message(f"{identity}: {error}")

    def print_message(self, text: str) -> None:
        """Print a message above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)
