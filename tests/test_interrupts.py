"""SIGINT in a destructor, which Python only prints, is delivered again."""

import subprocess
import sys

import pytest

SCRIPT = """
import signal, sys, time
from wavenet import interrupts

class FailingDestructor:
    def __init__(self, error):
        self.error = error

    def __del__(self):
        if self.error:
            raise self.error
        signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
sys.unraisablehook = interrupts.redeliver_sigint
try:
    FailingDestructor({error})
    time.sleep({seconds})
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize(
    ("error", "seconds", "out", "err"),
    [
        ("None", 50, "interrupted", ""),
        ("ValueError('other')", 0.5, "not interrupted", "Exception ignored in"),
    ],
)
def test_sigint_in_a_destructor_is_delivered_again(error, seconds, out, err):
    script = SCRIPT.replace("{error}", error).replace("{seconds}", str(seconds))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == out, done.stderr
    assert done.stderr.startswith(err) and bool(done.stderr) == bool(err), done.stderr
