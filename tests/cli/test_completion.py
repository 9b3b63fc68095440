"""Completion of commands and options by the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "wavenet"]


def run_process(command, home, **variables):
    """Run a command with another home folder; return the result."""
    # The folders of the real user would come first.
    own = {name: value for name, value in os.environ.items() if not name.startswith("XDG_")}
    environment = own | {"HOME": str(home), "PYTHONPATH": str(ROOT)} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_is_installed_for_the_current_shell(tmp_path):
    line = " ".join([*COMMAND, "--install-completion", ";", "true"])
    done = run_process(["bash", "-c", line], tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    script = tmp_path / ".bash_completions" / "wavenet.sh"
    assert script.is_file()
    assert str(script) in (tmp_path / ".bashrc").read_text()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("wavenet gen", ["generate"]),
        ("wavenet generate --with", ["--with-prompt", "--without-prompt"]),
    ],
)
def test_the_script_completes_commands_and_options(tmp_path, words, expected):
    done = run_process(
        COMMAND,
        tmp_path,
        _WAVENET_COMPLETE="complete_bash",
        COMP_WORDS=words,
        COMP_CWORD=str(words.count(" ")),
    )
    assert (done.returncode, done.stdout.split()) == (0, expected)
