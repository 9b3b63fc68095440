"""A process that waits for a training run with everything loaded, so that the run begins at once.

The arguments of `wavenet train` enter; the process that runs them begins with that. A short run
spends most of its time on imports, which such a process has behind it: `wavenet.cli.standby` runs
in it. The studio starts it when somebody opens the Train tab, and `child` hands it a run.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread, Timer, current_thread

from pydantic import Field

from wavenet.config import StrictConfig

IDLE_SECONDS = 300.0  # it keeps some hundred megabytes of memory
NICENESS = 5  # so that the page, and whatever else a person does, comes first
LONGEST_LINE = 65_536  # bytes
PROGRAM = (sys.executable, "-m", "wavenet.cli.standby")


class Order(StrictConfig):
    """The line that the process reads: what it is to run.

    Attributes:
        arguments: of `wavenet train`, without these two words.
        log: absolute path of the file that takes what the run says.
    """

    arguments: tuple[str, ...] = Field(min_length=1, max_length=100)
    log: str = Field(min_length=1)


class Standby:
    """At most one process that waits. It ends with whoever made this, or when nobody needs it.

    Args:
        seconds: after which nobody does.
    """

    def __init__(self, seconds: float = IDLE_SECONDS) -> None:
        self._seconds = seconds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._word = ""
        self._timer: Timer | None = None

    def prepare(self) -> None:
        """Start the process where none waits. Its time begins anew in any case."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._forget()
                word = f"standby-{secrets.token_hex(16)}"
                # without it a run begins as it would have: later
                with suppress(OSError):
                    self._process, self._word = launch((*PROGRAM, word), subprocess.PIPE), word
            if self._timer is not None:
                self._timer.cancel()
            self._timer = Timer(self._seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def give(self, order: Order, note: Callable[[int, str], None]) -> bool:
        """Have the process run something; tell whether there was one that could.

        Args:
            note: called before, with its id and with the word of its command line that no other
                process has.
        """
        with self._lock:
            process, word, self._process = self._process, self._word, None
        if process is None or process.stdin is None:
            return False
        # closed whatever happens: without an order the process ends
        with suppress(BrokenPipeError), process.stdin as line:
            if process.poll() is None:
                note(process.pid, word)
                line.write(order.model_dump_json().encode() + b"\n")
                return True
        return False

    def close(self) -> None:
        """Let the process end where it waits for a run still."""
        with self._lock:
            self._forget()

    def _expire(self) -> None:
        with self._lock:
            if self._timer is current_thread():  # or it was needed again, at this moment
                self._forget()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._process = None


def launch(
    command: Sequence[str | Path], stdin: int, output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, and gives way to whatever else a person does.

    Args:
        stdin, output: as `subprocess` takes them; the output is that of both streams.
    Raises:
        OSError: it cannot be started.
    """
    process = subprocess.Popen(
        command,
        bufsize=0,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    # Waits for the end, for as long as we live: an ended child that nobody waits for stays listed.
    Thread(target=process.wait, daemon=True).start()
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + NICENESS)
    return process
