"""The Generate tab and the cone of the Receptive field tab in a real browser.

`wavenet ui` runs in a child process. The audio output of the page is recorded, so that a lost,
changed or late chunk is detected.
"""

import re
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import RATE, wait_for_load
from .studio_process import TIMEOUT_MS

pytestmark = pytest.mark.browser


def wait_for_status(page: Any, start: str) -> str:
    """Wait until the status of the player starts with a text; return the status."""
    page.wait_for_function(
        "start => document.querySelector('#live-player .status').textContent.startsWith(start)",
        arg=start,
    )
    return str(page.inner_text("#live-player .status"))


def generate(page: Any, **numbers: float) -> None:
    """Fill number fields and press Generate."""
    for name, value in numbers.items():
        page.fill(f"#{name} input", str(value))
        page.press(f"#{name} input", "Tab")
    page.evaluate("scheduled.length = 0")
    page.click("#generate")


def wait_for_buffered(page: Any, seconds: float) -> None:
    """Wait until the page has buffered more audio than this."""
    page.wait_for_function(
        "wanted => parseFloat(document.querySelector('[data-key=buffered]').textContent) > wanted",
        arg=seconds,
    )


def wait_for_speed(page: Any) -> None:
    """Wait until the model has generated a chunk."""
    page.wait_for_function("document.querySelector('[data-key=speed]').textContent !== '–'")


def choose_engine(page: Any, name: str) -> None:
    if not page.is_visible("#engine input"):
        page.click('text="Sampling"')
    page.click("#engine input")
    page.click(f"[role=option]:has-text('{name}')")


def download(page: Any, selector: str) -> bytes:
    """Return the file behind the download link of an audio component."""
    link = page.wait_for_selector(f"{selector} a[download]")
    return bytes(page.request.get(link.evaluate("link => link.href")).body())


def hold_requests(page: Any, pattern: Any) -> list[Any]:
    """Hold matching requests; return the list of held ones, for `release_requests`."""
    held: list[Any] = []
    # A lambda, because playwright sets an attribute on its handlers.
    page.route(pattern, lambda route: held.append(route))
    return held


def release_requests(page: Any, pattern: Any, held: list[Any]) -> None:
    """Send the held requests, and no longer hold others."""
    for route in held:
        route.continue_()
    page.unroute(pattern)


def test_page_plays_the_saved_file_without_gaps(page: Any) -> None:
    generate(page, seed=11)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."
    chunks = page.evaluate("scheduled")
    assert {chunk["rate"] for chunk in chunks} == {RATE}
    played = np.concatenate([chunk["samples"] for chunk in chunks])
    assert len(played) == 0.5 * RATE
    link = page.wait_for_selector("#result a[download]")
    assert link.get_attribute("download") == "digits_7_jackson_seed11.wav"
    saved, rate = soundfile.read(BytesIO(download(page, "#result")), dtype="int16")
    assert rate == RATE
    assert np.array_equal(saved, played)
    assert page.inner_text('[data-key="lost"]') == "0"
    if page.inner_text('[data-key="gaps"]') == "0":
        ends = [chunk["when"] + len(chunk["samples"]) / RATE for chunk in chunks]
        assert np.allclose([chunk["when"] for chunk in chunks[1:]], ends[:-1], atol=1e-6)
    assert page.input_value("#used-seed input") == "11"
    for name in ("waveform", "mel", "mfcc"):
        page.wait_for_function(
            f"document.querySelector('#{name} img')?.naturalWidth > 400", polling=100
        )


def test_stop_silences_the_page_and_frees_the_model(page: Any) -> None:
    generate(page, seconds=30, seed=1)
    page.wait_for_function("level() > 0.01")
    wait_for_buffered(page, 9)
    page.click("#stop")
    assert wait_for_status(page, "Stopped")
    # Before the buffer would have ended.
    page.wait_for_function("level() === 0", timeout=8000)
    # With this slow engine the clip would take minutes, so the server has to stop too.
    choose_engine(page, "cached")
    generate(page, seconds=30)
    wait_for_speed(page)
    page.click("#stop")
    wait_for_status(page, "Stopped")
    choose_engine(page, "auto")
    generate(page, seconds=0.5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."


def test_late_stop_request_does_not_end_the_next_run(page: Any) -> None:
    """Regression: if the server answered late, the page ended the run after the stopped one."""
    stop = re.compile("/run/predict|/cancel")
    # else a request of the loading page is held, and the button is never enabled
    wait_for_load(page)
    page.wait_for_selector("#generate:not([disabled])")
    held = hold_requests(page, stop)
    generate(page, seconds=20)
    page.wait_for_function("level() > 0.01")
    with page.expect_request(stop):
        page.click("#stop")
    generate(page, seconds=20, seed=2)
    release_requests(page, stop, held)
    # The second run plays, can be stopped as well, and frees the model.
    page.wait_for_function("level() > 0.01")
    page.click("#stop")
    assert wait_for_status(page, "Stopped")
    generate(page, seconds=0.5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."


def test_link_opens_the_page_with_the_same_settings(page: Any, url: str) -> None:
    page.goto(f"{url}/?checkpoint=digits&variants=2")
    page.click('text="Sampling"')
    page.wait_for_function("document.querySelector('#variants input')?.value === '2'")
    page.wait_for_selector("#generate:not([disabled])")
    generate(page, seconds=0.25, seed=7)
    assert wait_for_status(page, "Finished")
    before = [download(page, selector) for selector in ("#result", "#result-2")]
    assert before[0] != before[1]
    page.click("text=Reproduce this clip")
    assert "--seed 7 --count 2" in page.input_value("#command textarea")
    with page.expect_navigation():  # the page before has the same values
        page.click("#link a")
    page.wait_for_function("document.querySelector('#seconds input')?.value === '0.25'")
    page.wait_for_function("document.querySelector('#seed input')?.value === '7'")
    page.wait_for_function("document.querySelector('#generate')?.disabled === false")
    page.click("#generate")
    assert wait_for_status(page, "Finished")
    assert download(page, "#result-2") == before[1]


def test_invalid_prompt_shows_an_error(page: Any, tmp_path: Path) -> None:
    prompt = tmp_path / "notes.wav"
    prompt.write_text("not audio")
    page.click("text=Continue a recording")
    page.set_input_files("#prompt input[type=file]", prompt)
    page.wait_for_selector("#prompt a[download]", state="attached")  # uploaded
    generate(page)
    assert "notes.wav is not audio" in wait_for_status(page, "notes.wav")
    page.wait_for_selector("[data-testid=toast-body] >> text=notes.wav is not audio")


def test_other_checkpoint_sets_labels_and_sample_rate(page: Any) -> None:
    page.click("#checkpoint input")
    page.click("[role=option]:has-text('notes')")
    page.wait_for_selector("text=Instrument")
    assert not page.is_visible("label:has-text('Speaker')")
    generate(page)
    wait_for_status(page, "Finished")
    chunks = page.evaluate("scheduled")
    assert {chunk["rate"] for chunk in chunks} == {2 * RATE}
    assert sum(len(chunk["samples"]) for chunk in chunks) == 0.5 * 2 * RATE


def cone_nodes(page: Any) -> int:
    """Count the highlighted nodes that are drawn as dots."""
    return int(page.get_attribute("#field-plot .cone", "d").count("M"))


def test_cone_follows_pointer_and_keys_and_can_be_pinned(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    plot = page.wait_for_selector("#field-plot svg")
    # Kernel 2, dilations 1 to 8: one output, 2, 4 and 8 nodes, 16 inputs.
    assert cone_nodes(page) == 1 + 2 + 4 + 8 + 16
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 1.5 * 46)
    assert cone_nodes(page) == 1 + 2 + 4 + 8
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 2.5 * 46)
    assert "pinned" in page.inner_text("#field-plot p >> nth=0")
    assert cone_nodes(page) == 1 + 2 + 4 + 8
    plot.focus()
    before = int(plot.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert int(plot.get_attribute("aria-valuenow")) == before - 1
    assert cone_nodes(page) == 1 + 2 + 4


def test_textbook_network_is_plotted_and_counted(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    page.click("#preset input")
    page.click("[role=option]:has-text('Textbook')")
    page.wait_for_selector("text=2,047 samples")
    assert "127.9 ms" in page.inner_text("#field-facts")
    page.wait_for_function(
        "document.querySelector('#field-plot p').textContent.includes('on 2,047 samples')"
    )
    page.fill("#dilations input, #dilations textarea", "1, 2, x")
    page.wait_for_selector("#field-facts [role=alert]")


def test_description_after_preparing_is_that_of_the_last_choice(url: str, browser: Any) -> None:
    """Regression: the page described the first checkpoint when its engine was ready."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    held: list[Any] = []
    announced: list[int] = []  # the event that shows "Preparing"; the next one prepares the engine

    def intercept(route: Any) -> None:
        number = route.request.post_data_json["fn_index"]
        if announced == [number - 1] and not held:
            held.append(route)
        elif announced:
            route.continue_()
        else:
            response = route.fetch()
            if "Preparing" in response.text():
                announced.append(number)
            route.fulfill(response=response)

    page.route("**/run/predict*", intercept)
    page.goto(url)
    about = "document.querySelector('.about')?.textContent"
    page.wait_for_function(f"{about}?.includes('Preparing')")
    while not held:
        page.wait_for_timeout(50)  # handles events
    page.click("#checkpoint input")
    page.click("[role=option]:has-text('notes')")
    page.wait_for_function(f"{about}?.includes('16,000 Hz')")

    def is_description(response: Any) -> bool:
        body = response.request.post_data_json or {}
        return "/run/predict" in response.url and body.get("fn_index") == announced[0] + 2

    with page.expect_response(is_description) as described:
        held[0].continue_()
    assert described.value.request.post_data_json["data"] == ["notes"]
    text = described.value.text()
    assert "16,000 Hz" in text and "Preparing" not in text
    page.unroute_all(behavior="ignoreErrors")
    page.close()


def test_press_right_after_loading_works_on_a_slow_connection(url: str, browser: Any) -> None:
    """Regression: a press before the page was complete did nothing."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)

    def delay(route: Any) -> None:
        time.sleep(0.5)  # the latency of a slow connection
        route.continue_()

    page.route(lambda address: "/run/" in address or "/queue/join" in address, delay)
    page.goto(url)
    page.click("#generate")  # as soon as it is enabled
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."
    page.close()
