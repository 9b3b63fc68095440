"""What the tests of the commands share: a command run in this process, a checkpoint, a sound."""

import pytest
import soundfile

from tests.conftest import RATE, sine
from wavenet.cli.main import run


@pytest.fixture
def wavenet(capsys):
    """Run a command: exit code, stdout, stderr."""

    def call(*arguments):
        code = run([str(a) for a in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def tiny(make_checkpoint):
    return make_checkpoint().folder


@pytest.fixture
def tone(tmp_path):
    path = tmp_path / "a_tone_0.wav"
    soundfile.write(path, sine(0.3).numpy(), RATE)
    return path


def refused(result, *words, code=2):
    """Check that a command ended with one plain sentence."""
    got, out, err = result
    assert (got, out) == (code, "")
    assert err.count("\n") == 1, err
    assert err.startswith("wavenet: ")
    for word in words:
        assert word in err
