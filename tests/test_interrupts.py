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

signal.signal(signal.SIGINT, signal.default_int_handler)  # in a background shell it is ignored
sys.unraisablehook = interrupts.once_more
try:
    Late({fault})
    time.sleep({seconds})
    print("lost")
except KeyboardInterrupt:
    print("heard")
"""


@pytest.mark.parametrize(
    ("check", "seconds", "out", "err"),
    [("None", 50, "heard", ""), ("ValueError('other')", 0.5, "lost", "Exception ignored in")],
)
def test_ctrl_c_in_a_destructor_is_heard_a_moment_later(fault, seconds, out, err):
    script = SCRIPT.replace("{fault}", fault).replace("{seconds}", str(seconds))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == out, done.stderr
    assert done.stderr.startswith(err) and bool(done.stderr) == bool(err), done.stderr
