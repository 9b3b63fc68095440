"""The studio dies while its sound is heard: the page says so, plays what it has, and comes back."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import RATE, save_checkpoint, visit
from .stage import COMMAND, PATIENCE, ROOT, answers, free_port
from .test_browser import wait_for_ahead

pytestmark = pytest.mark.browser
DILATIONS = tuple(2**n for n in range(9)) * 2
GONE = "The studio does not answer any more; start it again."


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[int], subprocess.Popen[bytes]]]:
    """A starter of studios on a port of one's choice; those that a test leaves are ended.

    Their model is so large that it takes seconds for half a minute, in which a studio can die.
    """
    begun = []
    labels = {"digit": ("7", "8"), "speaker": ("jackson",)}
    shape = {"residual_channels": 48, "gate_channels": 48, "skip_channels": 128}
    save_checkpoint(tmp_path / "checkpoints", "digits", RATE, labels, **shape, dilations=DILATIONS)

    def serve(port: int) -> subprocess.Popen[bytes]:
        server = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "ui", "--port", str(port)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        begun.append(server)
        deadline = time.monotonic() + PATIENCE / 1000
        while not answers(f"http://127.0.0.1:{port}"):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        return server

    yield serve
    for server in begun:
        server.kill()
        server.wait(10)


def status(page: Any) -> str:
    return str(page.inner_text("#live-player .status"))


def wait_for_status(page: Any, start: str) -> None:
    page.wait_for_function(
        "start => document.querySelector('#live-player .status').textContent.startsWith(start)",
        arg=start,
    )


def test_a_studio_that_dies_is_told_and_one_that_is_back_is_used(
    browser: Any, start: Callable[[int], subprocess.Popen[bytes]]
) -> None:
    port = free_port()
    server = start(port)
    with visit(browser, f"http://127.0.0.1:{port}") as page:
        page.click("#generate")
        wait_for_status(page, "Finished")
        page.fill("#seconds input", "30")  # enough to be ahead on a slow machine too
        page.press("#seconds input", "Tab")
        page.click("#generate")
        wait_for_ahead(page, 8)
        server.kill()
        wait_for_status(page, GONE)
        assert page.get_attribute("#live-player .status", "aria-live") == "polite"
        assert page.evaluate("level()") > 0.01, "what was there is not played"
        assert page.is_enabled("#generate")
        page.wait_for_function("level() === 0")
        assert status(page) == GONE, "another word hides it once all is played"
        page.click("#generate")
        page.wait_for_timeout(1500)
        assert status(page) == GONE
        assert page.is_enabled("#generate")
        with page.expect_navigation():  # Gradio's own, as soon as somebody answers
            start(port)
        page.wait_for_function("document.querySelector('#generate')?.disabled === false")
        page.click("#generate")
        wait_for_status(page, "Finished: 0.50 s.")


def test_a_server_that_is_busy_is_waited_for(url: str, browser: Any) -> None:
    with visit(browser, url) as page:
        asked = []
        page.on("request", lambda r: asked.append(r.url) if r.url.endswith("app_id") else None)
        # No word for longer than the page waits, as while an engine is compiled.
        page.route("**/queue/join*", lambda route: (time.sleep(3.5), route.continue_()))
        page.click("#generate")
        wait_for_status(page, "Finished: 0.50 s.")
        assert asked, "the page did not ask whether the server is there"
