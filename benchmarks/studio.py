"""Measure the latency of the studio: from Generate to the first sound, from Stop to silence.

    python benchmarks/studio.py [--clicks 10] [--seconds 3]

The studio runs in its own process with the checkpoints of the project, and Chromium clicks its
buttons on the same machine; this needs the packages of `make test`. Figures, each the
median of --clicks clicks:
- first sound: from the click to the first nonzero sample that is sent to the sound card;
- gaps: how often the player ran out of samples before the end of a clip; lost: chunks that did not
  arrive;
- silence: from a click on Stop, during generation, to the last nonzero sample; 0 if it was played
  within the 4 ms between two checks;
- next clip: from that click until the clip of the next request, of 0.01 s, is complete.
The first click after opening the page is the warm-up and is not counted. The last line is one JSON
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
from tests.ui.studio_process import FLAGS, RECORDER_JS, find_browser, studio_process
from wavenet.bench.machine import describe_machine

# Checks every few milliseconds for sound. The window is one block of the sound card.
LISTENER = """
window.soundTimes = { first: null, last: null };
setInterval(() => {
  if (window.meter) window.meter.fftSize = 128;
  if (level() === 0) return;
  soundTimes.last = performance.now();
  soundTimes.first ??= soundTimes.last;
}, 4);
"""
STATUS = "text => document.querySelector('#live-player .status').textContent.startsWith(text)"
QUIET_MS = 500  # required silence after Stop
LONG_SECONDS = 30  # the longest clip, so that generation is not finished at the click on Stop


def record_sound(page: Any) -> None:
    """Record when a page, not opened yet, plays sound."""
    page.add_init_script(RECORDER_JS)
    page.add_init_script(LISTENER)


def click_generate(page: Any, seconds: float, seed: int) -> None:
    """Click Generate for a clip."""
    for name, value in (("seconds", seconds), ("seed", seed)):
        page.fill(f"#{name} input", str(value))
        page.press(f"#{name} input", "Tab")
    page.evaluate("soundTimes.first = soundTimes.last = null")
    page.click("#generate")


def measure_start(page: Any, seconds: float, seed: int) -> dict[str, float]:
    """Play a clip to its end.

    Returns:
        Seconds to the first sound; gaps; lost chunks.
    """
    click_generate(page, seconds, seed)
    page.wait_for_function(STATUS, arg="Finished", timeout=60_000)
    first = page.evaluate("soundTimes.first - clicked") / 1000
    gaps, lost = (float(page.text_content(f'[data-key="{key}"]')) for key in ("gaps", "lost"))
    return {"first_sound_s": first, "gaps": gaps, "lost": lost}


def measure_stop(page: Any, url: str, seed: int) -> dict[str, float]:
    """Stop a long clip while it is generated and played, with another request in the queue.

    Returns:
        Seconds from the click to silence, and until the clip of the next request is complete.
    """
    click_generate(page, LONG_SECONDS, seed)
    page.wait_for_function("soundTimes.first !== null")
    request = QueuedRequest(url)
    # Not during a pause.
    page.wait_for_function("soundTimes.last > performance.now() - 10", polling=4)
    page.click("#stop")
    page.wait_for_timeout(QUIET_MS)
    clicked, last, origin = page.evaluate("[clicked, soundTimes.last, performance.timeOrigin]")
    free = request.wait() - (origin + clicked) / 1000
    return {"silence_s": max(0.0, (last - clicked) / 1000), "next_clip_s": free}


class QueuedRequest:
    """A request that waits for its turn; `wait` returns the time of its completion."""

    def __init__(self, url: str) -> None:
        self._address = f"{url}/gradio_api/queue"
        self._session = secrets.token_hex(8)
        info = httpx.get(f"{url}/gradio_api/info").json()["named_endpoints"]["/generate"]
        chosen = {"seconds": 0.01, "conditions": {"digit": "1"}}
        values = [
            chosen.get(p["parameter_name"], p.get("parameter_default")) for p in info["parameters"]
        ]
        listed = httpx.get(f"{url}/config").json()["dependencies"]
        number = next(d["id"] for d in listed if d["api_name"] == "generate")
        request = {"data": values, "fn_index": number, "session_hash": self._session}
        httpx.post(f"{self._address}/join", json=request).raise_for_status()
        self._end = 0.0
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()

    def _follow(self) -> None:
        data = {"session_hash": self._session}
        with httpx.stream("GET", f"{self._address}/data", params=data, timeout=120) as answer:
            for line in answer.iter_lines():
                if '"process_completed"' in line:
                    assert '"success":true' in line.replace(" ", ""), line
                    self._end = time.time()

    def wait(self) -> float:
        """Wait for the completion and return its time, in seconds since the epoch."""
        self._thread.join()
        return self._end


def main() -> None:
    """Measure and print all figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clicks", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3)
    arguments = parser.parse_args()
    path = find_browser()
    if path is None:
        raise SystemExit("Chromium or Chrome is not installed; install one of them")
    from playwright.sync_api import sync_playwright

    machine = describe_machine()
    with (
        tempfile.TemporaryDirectory() as folder,
        studio_process(Path(folder)) as url,
        sync_playwright() as driver,
    ):
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        page = browser.new_page()
        record_sound(page)
        page.goto(url)
        page.wait_for_selector("#generate:not([disabled])")
        # The engine is compiled, and the first clip is ready.
        page.wait_for_selector('#viewer .viewer[data-state="shown"]', timeout=120_000)
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
