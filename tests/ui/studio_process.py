"""A studio in its own process, and a browser that tests it.

Input: a working folder. Output: the address of a studio, the path of a browser with its flags, and
a script that records audio. Called by the fixtures of the tests, `benchmarks/studio.py` and
`scripts/screenshots.py`.
"""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Long, because other tests may use the cores or the disk: tests check results, not durations.
TIMEOUT_MS = 120_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Records every scheduled buffer, and measures the current output level.
RECORDER_JS = """
window.scheduled = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when, ...rest) {
  const samples = Array.from(this.buffer.getChannelData(0), (x) => Math.round(x * 32768));
  window.scheduled.push({ when, rate: this.buffer.sampleRate, samples, at: performance.now() });
  return start.call(this, when, ...rest);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (!(target instanceof AudioDestinationNode)) return connect.call(this, target, ...rest);
  if (!target.meter) {
    target.meter = target.context.createAnalyser();
    connect.call(target.meter, target);
  }
  window.meter = target.meter;
  return connect.call(this, target.meter);
};
window.level = () => {
  if (!window.meter) return 0;
  const samples = new Float32Array(window.meter.fftSize);
  window.meter.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
};
document.addEventListener('click', () => { window.clicked = performance.now(); }, true);
"""
# Python calls an audit hook before every connection and name look-up of any module. This one logs
# them to connections.txt and refuses those to other machines.
NETWORK_GUARD = """
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
        # a socket that is already connected passes no address
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None
    elif event in ("socket.gethostbyname", "socket.gethostbyaddr"):
        host = arguments[0]
    else:
        return
    with open("connections.txt", "a") as file:
        file.write(f"{'outside' if is_outside(host) else 'inside'} {event} {host}\\n")
    if is_outside(host):
        raise OSError(101, "Network is unreachable")

sys.addaudithook(guard)
"""
COMMAND = "from wavenet.cli.main import main; main()"


def find_browser() -> str | None:
    """Return the path of an installed browser, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def studio_process(folder: Path, command: str = COMMAND, **variables: str) -> Iterator[str]:
    """Serve the studio as `wavenet ui` does, and stop it at the end.

    Args:
        folder: the working folder, with `checkpoints`; `studio.log` is written there.
        command: Python code that reads the arguments of `wavenet`.
        variables: added to the environment of this process.
    Yields:
        The address, once it responds.
    Raises:
        RuntimeError: the studio does not start; the message contains its log.
    """
    port = free_port()
    log = folder / "studio.log"
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", command, "ui", "--no-open", "--port", str(port)],
            cwd=folder,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + TIMEOUT_MS / 1000
        while not responds(address):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the studio did not start:\n{log.read_text()}")
            time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(TIMEOUT_MS / 1000)


def responds(address: str) -> bool:
    """Return whether a server responds at an address."""
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False
