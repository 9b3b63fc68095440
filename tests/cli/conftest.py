"""Fixtures of the command-line tests: run a command in this process, a checkpoint, a tone."""

import pytest
import soundfile

from tests.conftest import RATE, sine
from wavenet.cli.main import run


@pytest.fixture
def run_command(capsys):
    """Return a function that runs a command and returns exit code, stdout and stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def tiny(make_checkpoint):
    """Return the folder of a tiny checkpoint with the label digit, a to c."""
    return make_checkpoint().folder


@pytest.fixture
def tone(tmp_path):
    """Write 0.3 s of a sine and return the path."""
    path = tmp_path / "a_tone_0.wav"
    soundfile.write(path, sine(0.3).numpy(), RATE)
    return path


def assert_refused(result, *words, code=2):
    """Assert that a command printed only one error message, with these words."""
    exit_code, out, err = result
    assert (exit_code, out) == (code, "")
    assert err.count("\n") == 1, err
    assert err.startswith("wavenet: ")
    for word in words:
        assert word in err
