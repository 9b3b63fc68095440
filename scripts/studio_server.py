"""Run a studio in its own process, for the checks of the Space and of the wheel.

Input: a command that serves the studio. Output: its page. Called by `space.py` and `wheel.py`.
"""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

START_SECONDS = 170


@contextmanager
def running_server(
    command: Sequence[str], folder: Path, environment: dict[str, str], log: Path, url: str
) -> Iterator[bytes]:
    """Start a studio, and stop it after the block; after an error, print its log.

    Args:
        command: serves the studio at `url`.
        folder: the working folder.
        environment: all variables of the process.
        log: file for its output.
        url: the address that the command uses.
    Yields:
        The page, once it is served.
    Raises:
        SystemExit: it is not served.
    """
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output
        )
    try:
        yield _wait_for_page(server, url)
    except BaseException:
        print(f"--- {log}\n{log.read_text()}", file=sys.stderr)
        raise
    finally:
        server.terminate()
        server.wait(60)


def _wait_for_page(server: "subprocess.Popen[bytes]", url: str) -> bytes:
    start = time.monotonic()
    while True:
        if server.poll() is not None or time.monotonic() - start > START_SECONDS:
            raise SystemExit(f"the studio did not start (exit code {server.poll()})")
        try:
            page = urllib.request.urlopen(url, timeout=5).read()
            print(f"page: {len(page):,} bytes after {time.monotonic() - start:.1f} s")
            return page
        except OSError:
            time.sleep(0.5)
