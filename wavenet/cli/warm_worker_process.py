"""`python -m wavenet.cli.warm_worker_process TAG`: import the training code, then run a training.

Input: one line on stdin, a `training.warm_worker.TrainCommand`; this process then runs the training
as if it had been started with that command. If stdin is closed without a line, the process ends:
the studio has ended, or no run was started for some time. TAG only identifies the process. Called
by `training.warm_worker`.
"""

import os
import select
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from wavenet.cli.main import run
from wavenet.errors import ConfigError, WaveNetError
from wavenet.terminal import print_message
from wavenet.training.thread_choice import use_passive_waits


def main() -> None:
    """Import the code, wait for a command, and run it."""
    use_passive_waits()
    try:
        code = load_training_code() or run_next_command(sys.stdin.buffer)
    except WaveNetError as error:
        print_message(f"wavenet: {error}")
        code = 2
    except KeyboardInterrupt:
        # The run was paused before the command was read.
        code = 130
    sys.exit(code)


def load_training_code() -> int:
    """Import the code that a run needs.

    Without a GPU, also train for one step, twice, in a temporary folder: the second time with the
    generation of a clip.

    Returns:
        The exit code of these trainings, 0 without one; also not 0 if a training was interrupted.
    """
    import torch

    from audio_utils import io
    from wavenet.devices import choose_device

    if choose_device().type != "cpu":
        # Import only: a training would occupy GPU memory before a run is started.
        for name in ("dataset", "loop", "progress_report"):
            import_module(f"wavenet.training.{name}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        for name in ("a_1", "a_2", "b_1"):
            io.write(Path(folder) / f"{name}.wav", torch.zeros(800), 8000)
        arguments = ["train", "tiny", f"--data={folder}", "--pattern={name}_{take}", "--label=name"]
        code = run([*arguments, "--steps=1", f"--out={folder}/first"])
        # Then generation, which a run needs later and which may have to be compiled.
        if code or has_input():
            return code
        return run([*arguments, "--steps=1", f"--out={folder}/second", "--sample-seconds=0.05"])


def has_input() -> bool:
    """Return whether stdin has data to read."""
    if sys.platform == "win32":
        return False
    return bool(select.select([sys.stdin], [], [], 0)[0])


def run_next_command(stdin: BinaryIO) -> int:
    """Wait for a line and run its command; return the exit code, 0 if there is no line.

    Raises:
        ConfigError: the line is not a `TrainCommand`.
    """
    from wavenet.config import parse_config
    from wavenet.training.warm_worker import MAX_LINE_BYTES, TrainCommand

    line = stdin.readline(MAX_LINE_BYTES + 1)
    if not line:
        return 0
    if not line.endswith(b"\n"):
        raise ConfigError(f"expected a command in one line of at most {MAX_LINE_BYTES:,} bytes")
    command = parse_config(TrainCommand, line, "the command on stdin")
    redirect_output(command.log)
    return run(["train", *command.arguments])


def redirect_output(log: str) -> None:
    """Redirect stdout and stderr of this process to a file, and close stdin.

    Raises:
        ConfigError: the file cannot be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        empty = os.open(os.devnull, os.O_RDONLY)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the log {log} cannot be written: {error}") from None
    for number, target in ((empty, 0), (output, 1), (output, 2)):
        os.dup2(number, target)
    os.close(empty)
    os.close(output)


if __name__ == "__main__":
    main()
