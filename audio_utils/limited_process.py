"""Run a program with limits of its CPU time, memory, written bytes and open files.

Input: a command. Output: the command that runs this file in a new Python process, which sets the
limits of itself and is then replaced by the program; 126 is its exit code if that fails. Called by
`audio_utils.ffmpeg`. `preexec_fn` of `subprocess` is unsafe in a process with threads. Windows has
no such limits.
"""

import importlib.util
import os
import signal
import sys
from collections.abc import Sequence

CANNOT_START = 126  # exit code, as in shells
CAN_LIMIT = importlib.util.find_spec("resource") is not None
MAX_MEMORY = 1 << 30
MAX_OPEN_FILES = 32


def limit_command(command: Sequence[str], cpu_seconds: int, written_bytes: int) -> list[str]:
    """Return a command that runs another one with limits; on Windows the same command.

    Args:
        command: path of a program, and its arguments.
        cpu_seconds: of all its threads.
        written_bytes: of each file.
    """
    if not CAN_LIMIT:
        return list(command)
    # -I and -S: only the standard library, whose modules no variable or folder can replace.
    start = [sys.executable, "-I", "-S", __file__]
    return [*start, str(cpu_seconds), str(written_bytes), *command]


def _set_limits(cpu_seconds: int, written_bytes: int) -> None:
    import resource

    limits = {
        resource.RLIMIT_CPU: cpu_seconds,
        resource.RLIMIT_FSIZE: written_bytes,
        resource.RLIMIT_NOFILE: MAX_OPEN_FILES,
        resource.RLIMIT_CORE: 0,
    }
    if sys.platform != "darwin":  # macOS refuses a limit below the memory that it reserves
        limits[resource.RLIMIT_AS] = MAX_MEMORY
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        largest = sys.maxsize if hard == resource.RLIM_INFINITY else hard
        # The soft limit of the CPU time sends SIGXCPU, the hard one SIGKILL without a reason.
        resource.setrlimit(kind, (min(value, largest), min(value + 1, largest)))
    # Python ignores these signals, and a program inherits that.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


if __name__ == "__main__":
    try:
        _set_limits(int(sys.argv[1]), int(sys.argv[2]))
        os.execv(sys.argv[3], sys.argv[3:])
    except (OSError, ValueError) as error:
        os.write(2, f"{getattr(error, 'strerror', None) or error}\n".encode())
        sys.exit(CANNOT_START)
