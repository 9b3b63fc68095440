"""`app.py` checks its variables, its port and its folder, and reports one sentence."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def start(**variables: str) -> subprocess.CompletedProcess[str]:
    """Run `app.py`, which is expected to fail before it starts a server."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    command = [sys.executable, str(ROOT / "app.py")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_a_port_in_use_is_an_error_of_one_sentence() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        done = start(GRADIO_SERVER_PORT=str(port))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"wavenet: the port {port} is in use; stop the program there, or choose another "
        "GRADIO_SERVER_PORT\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("GRADIO_SERVER_PORT", "abc", "must be a whole number, found 'abc'"),
        ("GRADIO_SERVER_PORT", "-1", "must be 1 to 65535, found -1"),
        ("GRADIO_SERVER_PORT", "70000", "must be 1 to 65535, found 70000"),
        ("GRADIO_NUM_PORTS", "0", "must be 1 to 65535, found 0"),
        ("GRADIO_DEBUG", "yes", "must be a whole number, found 'yes'"),
    ],
)
def test_a_variable_that_is_no_valid_number_is_an_error(name: str, value: str, reason: str) -> None:
    done = start(**{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"wavenet: the variable {name} {reason}\n"


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = start(GRADIO_TEMP_DIR=str(tmp_path / "file" / "below"))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("wavenet: no folder for temporary files can be created")
