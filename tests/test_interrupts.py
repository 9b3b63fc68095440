"""Ctrl-C where Python can raise nothing: it is printed and lost, unless it comes once more."""

import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys, time
from wavenet import interrupts

class Late:
    def __init__(self, fault):
        self.fault = fault

    def __del__(self):
        if self.fault:
            raise self.fault
        signal.raise_signal(signal.SIGINT)

sys.unraisablehook = interrupts.once_more
try:
    Late({fault})
    time.sleep(3)
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize(
    ("fault", "out", "err"),
    [("None", "heard", ""), ("ValueError('other')", "lost", "Exception ignored in")],
)
def test_ctrl_c_in_a_destructor_is_heard_a_moment_later(fault, out, err):
    command = [sys.executable, "-c", SCRIPT.replace("{fault}", fault)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == out, done.stderr
    assert done.stderr.startswith(err) and bool(done.stderr) == bool(err), done.stderr
