"""`python -m wavenet.cli.standby WORD`: loads what training takes, then runs what it is told to.

One line enters on stdin, a `training.standby.Order`; from then on this process is the run, as if it
had been started by that command. Where stdin ends without a line, nobody needs it any more: the
studio is gone, or waited long enough. WORD does nothing but tell this process from others.
"""

import os
import select
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import typer

from wavenet.cli.main import run
from wavenet.errors import ConfigError, WaveNetError


def main() -> None:
    """Load, wait, run."""
    try:
        code = rehearse() or wait(sys.stdin.buffer)
    except WaveNetError as error:
        typer.echo(f"wavenet: {error}", err=True)
        code = 2
    except KeyboardInterrupt:
        # the run was to be paused before it was read
        code = 130
    sys.exit(code)


def rehearse() -> int:
    """Train a step in a folder that is thrown away, and so load whatever a run loads on its way.

    Returns:
        The exit code of the command; not 0 where it was interrupted, too.
    """
    import torch

    from audio_utils import io
    from wavenet.devices import choose_device

    if choose_device().type != "cpu":
        # a GPU's memory is not to be kept for somebody who only looks at the tab
        for name in ("data", "loop", "report"):
            import_module(f"wavenet.training.{name}")
        return 0
    with tempfile.TemporaryDirectory() as place:
        for name in ("a_1", "a_2", "b_1"):
            io.write(Path(place) / f"{name}.wav", torch.zeros(800), 8000)
        words = ["train", "tiny", f"--data={place}", "--pattern={name}_{take}", "--label=name"]
        code = run([*words, "--steps=1", f"--out={place}/first"])
        # what makes clips is needed later than what trains, and may have to be compiled
        if code or is_awaited():
            return code
        return run([*words, "--steps=1", f"--out={place}/second", "--listen=0.05"])


def is_awaited() -> bool:
    """Tell whether there is something to be read on stdin already."""
    if sys.platform == "win32":
        return False
    return bool(select.select([sys.stdin], [], [], 0)[0])


def wait(lines: BinaryIO) -> int:
    """Wait for a line and run what it says; gives the exit code.

    Raises:
        ConfigError: the line is no order.
    """
    from wavenet.config import parse_config
    from wavenet.training.standby import LONGEST_LINE, Order

    line = lines.readline(LONGEST_LINE + 1)
    if not line:
        return 0
    if not line.endswith(b"\n"):
        raise ConfigError(f"expected a line of up to {LONGEST_LINE:,} bytes that says what to run")
    order = parse_config(Order, line, "the line that says what to run")
    speak_into(order.log)
    return run(["train", *order.arguments])


def speak_into(log: str) -> None:
    """Let stdout and stderr of this process be a file from now on, and stdin be empty.

    Raises:
        ConfigError: the file cannot be written.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        words = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        nothing = os.open(os.devnull, os.O_RDONLY)
    except (OSError, ValueError) as error:
        raise ConfigError(f"the log {log} cannot be written: {error}") from None
    for number, target in ((nothing, 0), (words, 1), (words, 2)):
        os.dup2(number, target)
    os.close(nothing)
    os.close(words)


if __name__ == "__main__":
    main()
