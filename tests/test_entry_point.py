"""Ctrl-C during the imports of a command is one line and exit code 130, not a traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# When this prints, Python's own start is over, in which no code of the project runs.
RUN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
{before}
from wavenet.__main__ import main
print("started", flush=True)
main()
"""
# Sends the signal when a module is looked for, so that its import is interrupted.
INTERRUPT_IMPORT = """
class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
"""


def start(before: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a command in a process that prints "started" before the imports of `main`."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN.replace("{before}", before), *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("name", ["wavenet.interrupts", "wavenet.cli.main", "typer", "torch"])
def test_an_interrupted_import_is_one_line(name: str, tmp_path: Path) -> None:
    before = INTERRUPT_IMPORT.replace("{name!r}", repr(name))
    child = start(before, "generate", "--seconds", "9", "--out", str(tmp_path / "clip.wav"))
    _, err = child.communicate(timeout=120)
    assert (child.returncode, err) == (130, "wavenet: interrupted\n")


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.1, 0.2, 0.5])
def test_ctrl_c_soon_after_the_start_is_one_line(seconds: float, tmp_path: Path) -> None:
    out = tmp_path / "clip.wav"
    child = start("", "generate", "--seconds", "60", "--out", str(out))
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    time.sleep(seconds)
    child.send_signal(signal.SIGINT)
    rest, err = child.communicate(timeout=120)
    # Python ends itself by the signal if it interrupted `exec`, which dataclasses use; in a shell
    # both are 130.
    assert child.returncode in (130, -signal.SIGINT)
    assert rest == ""
    assert err == "wavenet: interrupted\n"
    assert not out.exists()
