"""The studio connects to no other machine, neither its page nor its process.

All browser tests share one studio, whose connections are logged (`studio_process.NETWORK_GUARD`).
"""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .studio_process import NETWORK_GUARD
from .test_browser_analyse import wait_for_end
from .test_browser_generate import generate, wait_for_status

pytestmark = pytest.mark.browser

# Name of each tab -> what is visible once it has loaded.
TABS = {
    "Analyse": "#example",
    "Watch sampling": '#step-viewer [data-state="ready"]',
    "Receptive field": "#field-plot svg",
    "Compare": '#comparison [data-state="ready"]',
    "Train": "#train-example",
    "Models": "[data-model]",
}


def test_process_connects_to_no_other_machine(page: Any, root: Path) -> None:
    """The fixture of the page checks the requests of the browser; this checks the process."""
    generate(page, seed=5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."
    for name, selector in TABS.items():
        page.get_by_role("tab", name=name).click()
        page.wait_for_selector(selector)
    page.get_by_role("tab", name="Analyse").click()
    page.click("#example")
    wait_for_end(page)
    page.wait_for_selector("#score-facts >> text=digits")
    connections = (root.parent / "connections.txt").read_text().splitlines()
    assert any(line.startswith("inside") for line in connections), "the guard was not active"
    assert [line for line in connections if line.startswith("outside")] == []


def test_guard_logs_and_refuses_external_connections(tmp_path: Path) -> None:
    """Negative control: without it, the test above could pass with a guard that does nothing."""
    code = NETWORK_GUARD + (
        "import socket, urllib.request\n"
        "for connect in (lambda: urllib.request.urlopen('http://example.org', timeout=5),\n"
        "            lambda: socket.create_connection(('192.0.2.1', 80), 1),\n"
        "            lambda: socket.socket(type=2).sendto(b'x', ('192.0.2.1', 9))):\n"
        "    try:\n"
        "        connect()\n"
        "    except OSError as error:\n"
        "        assert 'unreachable' in str(error), error\n"
        "    else:\n"
        "        raise SystemExit('not refused')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    connections = (tmp_path / "connections.txt").read_text().splitlines()
    assert sum(line.startswith("outside") for line in connections) >= 3
