"""`wavenet ui` checks its address, its port and its names before it starts."""

import os
import socket

import pytest

from wavenet.cli.main import run
from wavenet.errors import ConfigError
from wavenet.ui.server.server_port import check_address, read_port


def test_port_in_use_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        assert run(["ui", "--port", str(port)]) == 2
        assert f"the port {port} is in use" in capsys.readouterr().err
    check_address("127.0.0.1", port)
    check_address("::1", port)
    check_address("[::1]", port)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "a" * 300])
def test_address_of_another_machine_is_an_error(
    address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ui", "--host", address]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wavenet: the studio cannot listen on")
    assert error.count("\n") == 1


def test_invalid_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    assert run(["ui", "--port", port, "--allow-host", "https://a.org"]) == 2
    assert capsys.readouterr().err.startswith("wavenet: 'https://a.org' is not a name of a server")


def test_the_variable_for_the_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_NAME", "192.0.2.1")
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        from wavenet.cli.ui_command import ui

        ui()


def test_variables_of_gradio_must_be_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "abc")
    assert run(["ui"]) == 2
    expected = "wavenet: the variable GRADIO_SERVER_PORT must be a whole number, found 'abc'\n"
    assert capsys.readouterr().err == expected
    monkeypatch.setenv("GRADIO_SERVER_PORT", " 7861.0 ")
    assert read_port() == 7861
    assert os.environ["GRADIO_SERVER_PORT"] == "7861"  # as gradio reads it
    monkeypatch.setenv("GRADIO_SERVER_PORT", "")
    assert read_port() is None
    assert "GRADIO_SERVER_PORT" not in os.environ
