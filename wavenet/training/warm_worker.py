"""A process that has done all imports and waits for a training run, so that runs start at once.

Input: the arguments of `wavenet train`. Output: a process that runs them. A short run spends most
of its time on imports, which the waiting process (`wavenet.cli.warm_worker_process`) has already
done. Called by the studio, which starts the process when a user opens the Train tab, and by
`run_process`, which assigns a run to it.
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

IDLE_SECONDS = 300.0  # the process holds several hundred megabytes of memory
NICENESS = 5  # lower priority than the studio's server and other work on the machine
MAX_LINE_BYTES = 65_536
WORKER_COMMAND = (sys.executable, "-m", "wavenet.cli.warm_worker_process")


class TrainCommand(StrictConfig):
    """The command for the waiting process, which reads it as one line of JSON.

    Attributes:
        arguments: of `wavenet train`, without these two words.
        log: absolute path of the file for the output of the run.
    """

    arguments: tuple[str, ...] = Field(min_length=1, max_length=100)
    log: str = Field(min_length=1)


class WarmWorker:
    """At most one waiting process, which ends with its owner or after a time without use.

    Args:
        idle_seconds: after this time without a call of `ensure_started`, the process ends.
    """

    def __init__(self, idle_seconds: float = IDLE_SECONDS) -> None:
        self._idle_seconds = idle_seconds
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._process_tag = ""
        self._timer: Timer | None = None

    def ensure_started(self) -> None:
        """Start the process if none is waiting; restart its idle time in any case."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._release()
                tag = f"warm-worker-{secrets.token_hex(16)}"
                # not fatal: without the process, a run starts more slowly
                with suppress(OSError):
                    self._process = spawn_detached((*WORKER_COMMAND, tag), subprocess.PIPE)
                    self._process_tag = tag
            if self._timer is not None:
                self._timer.cancel()
            self._timer = Timer(self._idle_seconds, self._expire)
            self._timer.daemon = True
            self._timer.start()

    def assign(self, command: TrainCommand, before_start: Callable[[int, str], None]) -> bool:
        """Run a command in the waiting process; return false if no process was waiting.

        Args:
            before_start: called before the process receives the command, with the process id and
                an argument of its command line that no other process has.
        """
        with self._lock:
            process, tag, self._process = self._process, self._process_tag, None
        if process is None or process.stdin is None:
            return False
        # closed in any case: without a command the process ends
        with suppress(BrokenPipeError), process.stdin as stdin:
            if process.poll() is None:
                before_start(process.pid, tag)
                stdin.write(command.model_dump_json().encode() + b"\n")
                return True
        return False

    def close(self) -> None:
        """End the process if it is still waiting."""
        with self._lock:
            self._release()

    def _expire(self) -> None:
        with self._lock:
            if self._timer is current_thread():  # not replaced at this moment
                self._release()

    def _release(self) -> None:
        """Close the process's stdin, which ends it."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        self._process = None


def spawn_detached(
    command: Sequence[str | Path], stdin: int, output: int = subprocess.DEVNULL
) -> subprocess.Popen[bytes]:
    """Start a process that outlives this one, with lower priority.

    Args:
        stdin, output: as in `subprocess.Popen`; output is for stdout and stderr.
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
    # an ended child stays in the process table until its parent waits for it
    Thread(target=process.wait, daemon=True).start()
    if hasattr(os, "setpriority"):
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, os.nice(0) + NICENESS)
    return process
