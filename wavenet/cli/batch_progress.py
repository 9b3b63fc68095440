"""The progress of a batch on stderr, its counts at the end, and its reaction to Ctrl-C.

Input: the amount of generated audio and the finished clips. Output: a progress bar, or one line per
interval. Called by `batch_command` and `effects_batch_command`.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Protocol

from wavenet.terminal import print_above_bar

if TYPE_CHECKING:
    from wavenet.batch.clip_writer import Record

LINE_SECONDS = 10.0  # between two lines of progress if stderr is not a terminal
_STOPPING = "finishing the active clips; press Ctrl-C again to stop at once"
_STOPPED = "stopped; the same command resumes"


def join_counts(written: str, already_done: int, failed: int, remaining: int) -> str:
    """Return the sentence at the end of a batch: what was written, and the counts above 0."""
    counts = (
        (already_done, "already done"),
        (failed, "failed"),
        (remaining, "remaining: the same command resumes"),
    )
    return ", ".join([written, *(f"{count:,} {text}" for count, text in counts if count > 0)])


class ShownTask(Protocol):
    """What the bar shows of a clip, of any kind of batch."""

    @property
    def identity(self) -> str:
        """The id."""

    @property
    def seconds(self) -> float:
        """Length."""


class BatchProgressBar:
    """Clips, seconds of audio, speed and remaining time; a `batch.run.BatchProgress`.

    Also for a batch of effects. On a terminal a bar, otherwise a line every `LINE_SECONDS`.

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
        self._shows_bar = self._console.is_terminal and not quiet
        self._shows_lines = not self._console.is_terminal and not quiet
        columns = (
            BarColumn(),
            TextColumn("{task.fields[finished]:,} of {task.fields[clips]:,} clips"),
            TextColumn("{task.fields[generated]:,.1f} s  {task.fields[speed]:,.1f} x real time"),
            TimeRemainingColumn(),
        )
        self._bar = Progress(
            *columns, console=self._console, disable=not self._shows_bar, transient=True
        )
        self._task = self._bar.add_task(
            "", total=seconds, generated=0.0, speed=0.0, finished=0, clips=clips
        )
        self._clips, self._seconds = clips, seconds
        self._finished, self.generated_seconds = 0, 0.0
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> "BatchProgressBar":
        """Show the bar."""
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Clear the bar."""
        self._bar.stop()

    def advance(self, amount: float) -> None:
        """Count generated audio.

        Args:
            amount: in seconds; negative if it is generated again.
        """
        self.generated_seconds += amount
        now = time.monotonic()
        speed = self.generated_seconds / max(now - self._start, 1e-9)
        generated = self.generated_seconds
        self._bar.update(self._task, completed=generated, generated=generated, speed=speed)
        if self._shows_lines and now - self._last_line > LINE_SECONDS:
            self._last_line = now
            self.message(
                f"{self._finished:,} of {self._clips:,} clips, {speed:,.1f} times real time"
            )

    def message(self, text: str) -> None:
        """Print a message above the bar."""
        print_above_bar(self._console, text)

    def skip_clip(self, task: ShownTask) -> None:
        """Count a clip that an earlier call finished."""
        self._finished += 1
        self._seconds -= task.seconds
        self._bar.update(self._task, finished=self._finished, total=self._seconds)

    def finish_clip(self, task: ShownTask, record: "Record") -> None:
        """Count a clip; print the error if it failed."""
        self._finished += 1
        self._bar.update(self._task, finished=self._finished)
        if record["error"] is not None:
            self.message(f"{task.identity}: {record['error']}")


@contextmanager
def set_event_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first SIGINT sets; the second raises KeyboardInterrupt."""
    stop = threading.Event()
    messages = [_STOPPING, _STOPPED]

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        is_second = stop.is_set()
        stop.set()
        # Each message is written once, and without `print`, whose buffer may be in use.
        if messages:
            with suppress(OSError):
                os.write(2, f"{messages.pop(0)}\n".encode())
        if is_second:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        # After a stop the command is ending: another SIGINT would print a traceback.
        signal.signal(signal.SIGINT, signal.SIG_IGN if stop.is_set() else before)
