"""`wavenet ui` checks its address, its port and its names before it starts, and opens the page."""

import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

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
    assert run(["ui", "--port", free_port(), "--allow-host", "https://a.org"]) == 2
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


class FakeStudio(SimpleNamespace):
    """A studio that is interrupted as soon as it runs."""

    @property
    def is_running(self) -> bool:
        raise KeyboardInterrupt

    def launch(self, **options: Any) -> None:
        self.options = options

    def close(self, verbose: bool) -> None:
        self.is_closed = not verbose


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> FakeStudio:
    """Replace the studio, its private folder and its signal handlers."""
    studio = FakeStudio()
    monkeypatch.setattr("wavenet.ui.studio_app.build_studio", lambda **_: studio)
    for name in ("use_private_folder", "end_on_termination"):
        monkeypatch.setattr(f"wavenet.ui.server.temporary_files.{name}", lambda: None)
    return studio


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("options", "display", "opened"),
    [([], ":0", True), (["--no-open"], ":0", False), ([], "", False)],
)
def test_the_page_is_opened_if_there_is_a_screen(
    launched: FakeStudio,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    display: str,
    opened: bool,
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    port = free_port()
    assert run(["ui", "--port", port, *options]) == 0
    assert launched.options["inbrowser"] is opened
    assert launched.options["quiet"] is launched.is_closed is True
    line = f"starting the studio at http://127.0.0.1:{port} (Ctrl-C stops it)\n"
    assert capsys.readouterr() == ("", line)


def test_an_address_for_other_machines_has_a_warning(
    launched: FakeStudio, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ui", "--no-open", "--port", free_port(), "--host", "0.0.0.0"]) == 0
    _, warning = capsys.readouterr().err.splitlines()
    assert warning.startswith("WARNING: other machines")


class FakeWebview(SimpleNamespace):
    """The package pywebview, whose window the user closes at once."""

    WebViewException = type("WebViewException", (Exception,), {})

    def __init__(self, error: str = "") -> None:
        super().__init__(settings={}, windows=[], started=[], error=error)

    def create_window(self, title: str, url: str, **options: Any) -> SimpleNamespace:
        self.windows.append((title, url))
        return SimpleNamespace(destroy=lambda: None)

    def start(self, **options: Any) -> None:
        if self.error:
            raise self.WebViewException(self.error)
        self.started.append(options)


@pytest.fixture
def screen(launched: FakeStudio, monkeypatch: pytest.MonkeyPatch) -> FakeStudio:
    """The fake studio on a machine with a screen; signal handlers are restored."""
    launched.local_url = "http://127.0.0.1:7860/"
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("wavenet.ui.window.signal.signal", lambda *_: None)
    return launched


def test_a_window_shows_the_studio_and_ends_it_when_it_is_closed(
    screen: FakeStudio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    webview = FakeWebview()
    monkeypatch.setitem(sys.modules, "webview", webview)
    assert run(["ui", "--window", "--port", free_port()]) == 0
    assert webview.windows == [("WaveNet Studio", screen.local_url)]
    (started,) = webview.started
    assert started["private_mode"] is False
    assert Path(started["icon"]).is_file()
    assert webview.settings["ALLOW_DOWNLOADS"] is True
    assert screen.options["inbrowser"] is False
    assert screen.is_closed


def test_without_the_package_or_a_screen_the_studio_does_not_start(
    screen: FakeStudio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "webview", None)
    assert run(["ui", "--window", "--port", free_port()]) == 2
    message = capsys.readouterr().err
    assert message.startswith("wavenet: a window needs the package pywebview, which is missing")
    assert message.count("\n") == 1 and "pip install 'pywebview" in message
    monkeypatch.setattr("wavenet.cli.ui_command.has_screen", lambda: False)
    assert run(["ui", "--window", "--port", free_port()]) == 2
    assert "needs a screen" in capsys.readouterr().err
    assert not hasattr(screen, "options")


def test_a_window_that_cannot_be_opened_ends_the_studio(
    screen: FakeStudio, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "webview", FakeWebview("QT cannot be loaded"))
    assert run(["ui", "--window", "--port", free_port()]) == 2
    assert "no window can be opened (QT cannot be loaded)" in capsys.readouterr().err
    assert screen.is_closed


def test_the_package_for_mcp_is_checked_before_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run(["ui", "--mcp", "--port", free_port()]) == 2
    error = capsys.readouterr().err
    assert "needs the package mcp" in error
    assert "starting" not in error
