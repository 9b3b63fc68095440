"""The studio is killed during playback: the page reports it, plays its buffer, and recovers."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import RATE, save_checkpoint, visit, wait_for_load
from .studio_process import COMMAND, ROOT, TIMEOUT_MS, free_port, responds
from .test_browser_generate import (
    hold_requests,
    release_requests,
    wait_for_buffered,
    wait_for_status,
)
from .test_train_tab import make_run

pytestmark = pytest.mark.browser
DILATIONS = tuple(2**n for n in range(9)) * 2
NO_RESPONSE = "The studio does not respond. Restart it."


@pytest.fixture
def start_studio(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """Return a function that starts a studio on a port; all are killed at the end.

    Their model needs seconds for half a minute of audio, in which a studio can die, but is much
    faster than real time even on a busy machine.
    """
    servers = []
    labels = {"digit": ("7", "8"), "speaker": ("jackson",)}
    shape = {"residual_channels": 32, "gate_channels": 32, "skip_channels": 128}
    save_checkpoint(tmp_path / "checkpoints", "digits", RATE, labels, **shape, dilations=DILATIONS)

    def start(port: int) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "ui", "--no-open", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        servers.append(server)
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not responds(f"http://127.0.0.1:{port}"):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        return server

    yield start
    for server in servers:
        server.kill()
        server.wait(10)


def status(page: Any) -> str:
    return str(page.inner_text("#live-player .status"))


@pytest.mark.slow
def test_page_reports_a_killed_studio_and_uses_a_restarted_one(
    browser: Any, start_studio: Callable[[int], subprocess.Popen[bytes]]
) -> None:
    port = free_port()
    server = start_studio(port)
    with visit(browser, f"http://127.0.0.1:{port}") as page:
        page.click("#generate")
        wait_for_status(page, "Finished")
        page.fill("#seconds input", "30")  # enough for some buffered audio, also on a slow machine
        page.press("#seconds input", "Tab")
        page.click("#generate")
        wait_for_buffered(page, 6)  # longer than the check of the server
        server.kill()
        wait_for_status(page, NO_RESPONSE)
        assert page.get_attribute("#live-player .status", "aria-live") == "polite"
        page.wait_for_function("level() > 0.01")  # plays the buffered audio
        assert page.is_enabled("#generate")
        page.wait_for_function("level() === 0")
        assert status(page) == NO_RESPONSE, "another message replaced it at the end of the audio"
        # Without a server, Gradio either ignores the press, or starts a job that reports the same
        # error.
        page.click("#generate")
        wait_for_status(page, NO_RESPONSE)
        page.wait_for_function("document.querySelector('#generate').disabled === false")
        with page.expect_navigation():  # Gradio reloads once a server responds
            start_studio(port)
        # The settings survive the reload.
        page.wait_for_function("document.querySelector('#seconds input')?.value === '30'")
        page.fill("#seconds input", "0.5")
        page.press("#seconds input", "Tab")
        page.click("#generate")
        wait_for_status(page, "Finished: 0.50 s.")


@pytest.mark.slow  # as the test before, for a page that was not used
def test_an_idle_page_reports_a_killed_studio_and_lists_the_runs_of_a_new_one(
    browser: Any, start_studio: Callable[[int], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """A press was ignored while the status said "Finished"; the runs were missing."""
    port = free_port()
    server = start_studio(port)
    with visit(browser, f"http://127.0.0.1:{port}") as page:
        page.click("#generate")
        wait_for_status(page, "Finished")
        server.kill()
        server.wait(10)
        page.click("#generate")
        wait_for_status(page, NO_RESPONSE)
        make_run(tmp_path / "runs", "earlier")
        with page.expect_navigation():  # Gradio reloads, because it has seen the lost connection
            server = start_studio(port)
        wait_for_load(page)
        page.get_by_role("tab", name="Train").click()
        page.wait_for_function("document.querySelector('#train-run input')?.value === 'earlier'")
        server.kill()
        server.wait(10)
        start_studio(port)
        with page.expect_navigation():  # at the first press of a tab, also if Gradio saw nothing
            page.get_by_role("tab", name="Models").click()


def test_page_waits_for_a_busy_server(url: str, browser: Any) -> None:
    """A server may be silent for a long time, for example while it compiles an engine."""
    with visit(browser, url) as page:
        start = "**/queue/join*"
        held = hold_requests(page, start)
        with page.expect_response("**/app_id") as answer:  # the page checks the server
            page.click("#generate")
        assert answer.value.ok
        assert status(page) == "Preparing …"
        release_requests(page, start, held)
        wait_for_status(page, "Finished: 0.50 s.")
