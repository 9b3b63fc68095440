"""The studio asks nobody but itself: neither its page nor its process, and it works cut off.

Python tells an audit hook of every connection and every question for an address before it is made,
by whatever module; the hook writes down those that would leave the machine, and refuses them.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .stage import COMMAND, studio
from .test_browser import generate, wait_for_status
from .test_browser_analyse import wait_for_pictures

pytestmark = pytest.mark.browser

GUARD = """
import ipaddress, os, sys

def is_outside(host):
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)

def guard(event, arguments):
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        # of a socket that is connected already there is no address
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    with open("asked.txt", "a") as file:
        file.write(f"{'outside' if is_outside(host) else 'inside'} {event} {host}\\n")
    if is_outside(host):
        raise OSError(101, "Network is unreachable")

sys.addaudithook(guard)
"""
TABS = ("Analyse", "Watch it think", "Receptive field", "Models", "Generate")
# What some machines set to keep programs offline: here the studio has to keep so by itself.
KEPT_OFFLINE = ("HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "DO_NOT_TRACK")


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """The studio in a process whose connections are watched, and refused where they lead out."""
    with pytest.MonkeyPatch.context() as patch:
        for name in KEPT_OFFLINE:
            patch.delenv(name, raising=False)
        with studio(root.parent, GUARD + COMMAND, OMP_NUM_THREADS="1") as address:
            yield address


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
