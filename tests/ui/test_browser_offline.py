"""The studio asks nobody but itself: neither its page nor its process, and it works cut off.

All tests of the browser share one studio, whose connections are watched (`stage.GUARD`).
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .stage import GUARD
from .test_browser import generate, wait_for_status
from .test_browser_analyse import wait_for_pictures

pytestmark = pytest.mark.browser

TABS = ("Analyse", "Watch it think", "Receptive field", "Models", "Generate")


def test_a_session_asks_no_other_machine(page: Any, root: Path) -> None:
    """The fixture of the page looks at what the browser asks for; here it is the process."""
    generate(page, seed=5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."
    for name in TABS:
        page.get_by_role("tab", name=name).click()
        page.wait_for_timeout(300)
    page.get_by_role("tab", name="Analyse").click()
    page.click("#example")
    wait_for_pictures(page)
    page.wait_for_selector("#score-facts >> text=digits")
    asked = (root.parent / "asked.txt").read_text().splitlines()
    assert any(line.startswith("inside") for line in asked), "the guard was not there"
    assert [line for line in asked if line.startswith("outside")] == []


def test_the_guard_sees_and_refuses_what_would_leave_the_machine(tmp_path: Path) -> None:
    """Without this, the test above could pass for want of a guard that works."""
    code = GUARD + (
        "import socket, urllib.request\n"
        "for ask in (lambda: urllib.request.urlopen('http://example.org', timeout=5),\n"
        "            lambda: socket.create_connection(('192.0.2.1', 80), 1),\n"
        "            lambda: socket.socket(type=2).sendto(b'x', ('192.0.2.1', 9))):\n"
        "    try:\n"
        "        ask()\n"
        "    except OSError as error:\n"
        "        assert 'unreachable' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('it was let out')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert sum(line.startswith("outside") for line in asked) >= 3
