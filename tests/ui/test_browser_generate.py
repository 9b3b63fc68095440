"""The Generate tab in a real browser.

`wavenet ui` runs in a child process. The audio output of the page is recorded, so that a lost,
changed or late chunk is detected.
"""

import re
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import RATE, fresh_visit, visit, wait_for_load
from .studio_process import TIMEOUT_MS

pytestmark = pytest.mark.browser
playwright_errors = pytest.importorskip("playwright.sync_api", reason="needs playwright")


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
        page.click("#sampling button")
    page.click("#engine input")
    page.click(f"[role=option]:has-text('{name}')")


def wait_for_clips(page: Any, count: int) -> None:
    """Wait until the history lists this number of clips."""
    page.wait_for_function(
        "count => document.querySelectorAll('#history li').length === count", arg=count
    )


def wait_for_pictures(page: Any) -> None:
    """Wait until the viewer shows the clip of the last job."""
    page.wait_for_selector('#results:not(.old) #viewer .viewer[data-state="shown"]')


def download(page: Any, n: int = 0) -> bytes:
    """Return the file of clip `n` of the history; 0 is the newest."""
    link = page.locator("#history a[download]").nth(n)
    # This client does not repeat a request on a kept connection that the server
    # closes at the same time; browsers do.
    return bytes(page.request.get(link.evaluate("link => link.href"), max_retries=2).body())


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
    wait_for_clips(page, 2)  # the first one was ready
    link = page.locator("#history a[download]").first
    assert link.get_attribute("download") == "digits_7_jackson_seed11.wav"
    saved, rate = soundfile.read(BytesIO(download(page)), dtype="int16")
    assert rate == RATE
    assert np.array_equal(saved, played)
    assert page.text_content('[data-key="lost"]') == "0"
    if page.text_content('[data-key="gaps"]') == "0":
        ends = [chunk["when"] + len(chunk["samples"]) / RATE for chunk in chunks]
        assert np.allclose([chunk["when"] for chunk in chunks[1:]], ends[:-1], atol=1e-6)
    wait_for_pictures(page)
    assert page.inner_text('#viewer [data-value="name"]') == "digits · 7 · jackson · seed 11"
    assert page.locator("#viewer figure").count() >= 4


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
    wait_for_clips(page, 3)
    assert ", partial" in page.inner_text("#history li >> nth=0")
    wait_for_pictures(page)
    assert page.inner_text('#viewer [data-value="name"]').endswith("(partial)")
    choose_engine(page, "auto")
    generate(page, seconds=0.5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."


@pytest.mark.slow
def test_a_stop_after_the_last_sample_ends_the_playback_of_a_complete_clip(page: Any) -> None:
    generate(page, seconds=10, seed=1)
    page.wait_for_function("level() > 0.01")
    page.wait_for_function("!document.querySelector('#generate').disabled")  # all is generated
    page.click("#stop")
    assert wait_for_status(page, "Finished") == "Finished: 10.00 s; playback stopped."


@pytest.mark.slow
def test_another_clip_silences_the_generated_one(page: Any) -> None:
    generate(page, seconds=30, seed=1)
    page.wait_for_function("level() > 0.01")
    wait_for_buffered(page, 9)
    page.click("#history li summary")
    page.click("#history li [data-action=play]")
    page.wait_for_function("level() === 0", timeout=8000)  # before the buffer would have ended
    wait_for_status(page, "Finished")


@pytest.mark.slow
def test_a_clip_that_is_played_after_the_generation_ends_the_job(page: Any) -> None:
    """Regression: its audio was dropped after the last chunk, and the job never ended."""
    clips = page.locator("#history li").count()
    generate(page, seconds=25, seed=1)
    page.wait_for_function("level() > 0.01")
    wait_for_clips(page, clips + 1)  # the end of the generation has arrived
    assert page.evaluate("level()") > 0, "the test must play the other clip before the end"
    page.click("#history li summary")
    page.click("#history li [data-action=play]")
    assert wait_for_status(page, "Finished") == "Finished: 25.00 s."


@pytest.mark.slow
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


def test_link_opens_the_page_with_the_same_settings(opener: Any, url: str) -> None:
    with fresh_visit(opener, url, "/?checkpoint=digits&variants=2") as page:
        page.click("#sampling button")
        page.wait_for_function("document.querySelector('#variants input')?.value === '2'")
        page.wait_for_selector("#generate:not([disabled])")
        generate(page, seconds=0.25, seed=7)
        assert wait_for_status(page, "Finished")
        wait_for_clips(page, 3)
        before = [download(page, n) for n in (0, 1)]
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
        wait_for_clips(page, 5)
        assert [download(page, n) for n in (0, 1)] == before


def test_invalid_prompt_shows_an_error(page: Any, tmp_path: Path) -> None:
    prompt = tmp_path / "notes.wav"
    prompt.write_text("not audio")
    page.click("text=Continue a recording")
    page.set_input_files("#prompt input[type=file]", prompt)
    page.wait_for_selector("#prompt a[download]", state="attached")  # uploaded
    generate(page)
    assert "notes.wav is not audio" in wait_for_status(page, "notes.wav")
    page.wait_for_selector("[data-testid=toast-body] >> text=notes.wav is not audio")


@pytest.mark.slow
def test_other_checkpoint_sets_labels_and_sample_rate(page: Any) -> None:
    page.click("#model input")
    page.click("[role=option]:has-text('notes')")
    page.wait_for_selector('[data-condition="instrument"]')
    assert not page.is_visible('[data-condition="speaker"]')
    generate(page)
    wait_for_status(page, "Finished")
    chunks = page.evaluate("scheduled")
    assert {chunk["rate"] for chunk in chunks} == {2 * RATE}
    assert sum(len(chunk["samples"]) for chunk in chunks) == 0.5 * 2 * RATE


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_stop_of_a_waiting_job_and_its_place(page: Any, browser: Any, url: str) -> None:
    with visit(browser, url) as other:
        choose_engine(page, "cached")
        generate(page, seconds=30)
        wait_for_speed(page)
        generate(other, seed=5)
        place = "Waiting: 1 job before you"
        assert re.fullmatch(rf"{place}(, about \d+ s)?\.", wait_for_status(other, place))
        other.click("#stop")
        wait_for_status(other, "Stopped.")
        assert "clips" not in other.text_content("#live-player .status")
        generate(other, seed=6)
        wait_for_status(other, place)
        page.click("#stop")
        assert wait_for_status(other, "Finished") == "Finished: 0.50 s."
        wait_for_clips(other, 2)


def test_old_results_never_look_current(page: Any) -> None:
    wait_for_pictures(page)
    name = page.inner_text('#viewer [data-value="name"]')
    generate(page, seed=21)
    dimmed = "#results.old, #viewer .viewer[data-state=old]"
    assert page.locator(dimmed).count(), "not dimmed at the click"
    wait_for_pictures(page)
    assert page.inner_text('#viewer [data-value="name"]') != name
    # After an error the pictures are still those of another clip.
    page.fill("#seconds input", "99")
    page.press("#seconds input", "Tab")
    page.click("#generate")
    page.wait_for_selector("[data-testid=toast-body] >> text=Length (s): expected a number from")
    wait_for_status(page, "Failed")
    assert "old" in page.get_attribute("#results", "class").split()
    opacity = "getComputedStyle(document.querySelector('#results')).opacity"
    page.wait_for_function(f"Number({opacity}) < 0.7")


@pytest.mark.slow
def test_a_ready_clip_is_shown_and_plays_at_a_press_of_space(page: Any) -> None:
    wait_for_pictures(page)
    assert page.locator("#history li").count() == 1
    assert page.evaluate("scheduled.length") == 0, "it plays without being asked"
    page.evaluate("document.activeElement.blur()")
    for _ in range(50):  # until the audio is loaded, a press does nothing
        page.keyboard.press(" ")
        with suppress(playwright_errors.TimeoutError):
            page.wait_for_function("window.level() > 0.01", timeout=400)
            break
    played, *_ = page.evaluate("scheduled")
    saved, _ = soundfile.read(BytesIO(download(page)), dtype="int16")
    assert np.abs(np.array(played["samples"]) - saved).max() <= 1


def test_keys_generate_and_list_the_shortcuts(page: Any) -> None:
    wait_for_pictures(page)
    page.fill("#seed input", "31")
    page.press("#seed input", "Enter")
    wait_for_status(page, "Finished")
    page.fill("#seconds input", "0.25")
    page.press("#seconds input", "Enter")
    assert wait_for_status(page, "Finished: 0.25 s.")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    page.wait_for_selector("#shortcuts-dialog[open] >> text=generate")
    assert page.locator("#shortcuts-dialog kbd").count() >= 8
    page.keyboard.press("Escape")
    page.wait_for_selector("#shortcuts-dialog", state="hidden")
    page.focus("#seed input")
    page.keyboard.press("?")
    assert not page.is_visible("#shortcuts-dialog"), "it opens while the user types"


@pytest.mark.slow
def test_an_empty_seed_is_any_and_a_fraction_is_refused(page: Any) -> None:
    wait_for_pictures(page)
    page.fill("#seed input", "")
    page.press("#seed input", "Tab")
    page.click("#generate")
    wait_for_status(page, "Finished")
    wait_for_clips(page, 2)
    page.fill("#seed input", "1.5")
    page.press("#seed input", "Tab")
    page.click("#generate")
    page.wait_for_selector("[data-testid=toast-body] >> text=expected a whole number, found 1.5")
    wait_for_status(page, "Failed")
    assert page.locator("#history li").count() == 2


@pytest.mark.slow
def test_a_number_is_said(page: Any) -> None:
    wait_for_pictures(page)
    page.fill("#number input, #number textarea", "1984")
    page.press("#number input, #number textarea", "Enter")
    wait_for_status(page, "Finished")
    wait_for_clips(page, 2)
    assert "1984" in page.inner_text("#history li >> nth=0")
    page.fill("#number input, #number textarea", "19x4")
    page.click("#say")
    sentence = "Number to say: expected 1 to 12 digits, found '19x4'."
    assert wait_for_status(page, "Number to say") == sentence


@pytest.mark.slow
def test_no_divider_begins_the_footer(page: Any) -> None:
    """Regression: on a phone Gradio hides the link before the divider, but not the divider."""
    for width, expected in {390: 1, 640: 1, 641: 3, 1280: 3}.items():
        page.set_viewport_size({"width": width, "height": 844})
        parts = page.locator("footer > *").evaluate_all(
            "list => list.filter((e) => e.checkVisibility()).map((e) => e.textContent.trim())"
        )
        assert parts == ["Use via API", "·", "Settings"][-expected:], width
