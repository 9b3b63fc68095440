"""How soon is the studio heard after a press of Generate, and how soon is it quiet after Stop?

    python benchmarks/studio.py [--clicks 10] [--seconds 3]

The studio runs in a process of its own with the project's checkpoints, and Chromium presses its
buttons on the same machine; it needs the tools of `make test`. Figures, of as many clicks each:
- first sound: from the click to the first sample other than 0 that is on its way to the sound card;
- gaps: times that the player ran dry before the end of a clip; lost: chunks that never came;
- silence: from the click on Stop, while the model works, to the last sample other than 0;
- worker free: from that click until the model begins with what waited for it.
The first press after the page is open is not counted: it warms up. The last line is one JSON
document.
"""

import argparse
import json
import secrets
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.ui.stage import FLAGS, RECORDER, find_browser, studio
from wavenet.bench.machine import describe_machine

# Looks every few milliseconds whether there is sound. The window is one block of the sound card.
LISTENER = """
window.heard = { first: null, last: null };
setInterval(() => {
  if (window.meter) window.meter.fftSize = 128;
  if (level() === 0) return;
  heard.last = performance.now();
  heard.first ??= heard.last;
}, 4);
"""
STATUS = "text => document.querySelector('#live-player .status').textContent.startsWith(text)"
QUIET_MS = 500  # nothing more is to be heard for so long after Stop
LONG_SECONDS = 30  # the longest clip: the model is at work when Stop comes


def listen(page: Any) -> None:
    """Let a page that is not open yet be heard."""
    page.add_init_script(RECORDER)
    page.add_init_script(LISTENER)


def press(page: Any, seconds: float, seed: int) -> None:
    """Press Generate for a clip."""
    for name, value in (("seconds", seconds), ("seed", seed)):
        page.fill(f"#{name} input", str(value))
        page.press(f"#{name} input", "Tab")
    page.evaluate("heard.first = heard.last = null")
    page.click("#generate")


def measure_start(page: Any, seconds: float, seed: int) -> dict[str, float]:
    """Hear a clip to its end.

    Returns:
        seconds to the first sound; gaps; lost chunks.
    """
    press(page, seconds, seed)
    page.wait_for_function(STATUS, arg="Finished", timeout=60_000)
    first = page.evaluate("heard.first - clicked") / 1000
    gaps, lost = (float(page.inner_text(f'[data-key="{key}"]')) for key in ("gaps", "lost"))
    return {"first_sound_s": first, "gaps": gaps, "lost": lost}


def measure_stop(page: Any, url: str, seed: int) -> dict[str, float]:
    """Stop a long clip while it is made and heard, with somebody waiting for the model.

    Returns:
        seconds from the click to silence, and to the moment at which the model is free.
    """
    press(page, LONG_SECONDS, seed)
    page.wait_for_function("heard.first !== null")
    turn = Turn(url)
    page.wait_for_function("heard.last > performance.now() - 10", polling=4)  # not in a pause
    page.click("#stop")
    page.wait_for_timeout(QUIET_MS)
    clicked, last, origin = page.evaluate("[clicked, heard.last, performance.timeOrigin]")
    free = turn.wait() - (origin + clicked) / 1000
    return {"silence_s": max(0.0, (last - clicked) / 1000), "worker_free_s": free}


class Turn:
    """A place in the queue for the model; `wait` tells when it was its turn."""

    def __init__(self, url: str) -> None:
        self._address = f"{url}/gradio_api/queue"
        self._session = secrets.token_hex(8)
        info = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]["/generate"]
        values = [p.get("parameter_default") for p in info["parameters"]]
        listed = httpx.get(f"{url}/config").json()["dependencies"]
        number = next(d["id"] for d in listed if d["api_name"] == "generate")
        wish = {"data": values, "fn_index": number, "session_hash": self._session}
        httpx.post(f"{self._address}/join", json=wish).raise_for_status()
        self._begun = 0.0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        data = {"session_hash": self._session}
        with httpx.stream("GET", f"{self._address}/data", params=data, timeout=120) as answer:
            for line in answer.iter_lines():
                if '"process_starts"' in line:
                    self._begun = time.time()

    def wait(self) -> float:
        """Give the time, in seconds of the clock."""
        self._thread.join()
        return self._begun


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    path = find_browser()
    if path is None:
        raise SystemExit("this needs Chromium or Chrome; none is installed")
    from playwright.sync_api import sync_playwright

    machine = describe_machine()
    with (
        tempfile.TemporaryDirectory() as folder,
        studio(Path(folder)) as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page()
        listen(page)
        page.goto(url)
        page.wait_for_selector("#generate:not([disabled])")
        page.wait_for_selector("text=Preparing the engine", state="detached", timeout=120_000)
        measure_start(page, arguments.seconds, 0)
        clicks = range(1, arguments.clicks + 1)
        starts = [measure_start(page, arguments.seconds, seed) for seed in clicks]
        stops = [measure_stop(page, url, seed) for seed in clicks]
        browser.close()
    results = {name: [row[name] for row in rows] for rows in (starts, stops) for name in rows[0]}
    print(f"{'':16} {'median':>8} {'lowest':>8} {'highest':>8}")
    for name, values in results.items():
        print(f"{name:16} {statistics.median(values):8.3f} {min(values):8.3f} {max(values):8.3f}")
    medians = {name: round(statistics.median(values), 4) for name, values in results.items()}
    record = {
        "benchmark": "studio",
        "machine": machine,
        "clicks": arguments.clicks,
        "seconds": arguments.seconds,
        **medians,
        "gaps_in_all": sum(results["gaps"]),
        "all": results,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
