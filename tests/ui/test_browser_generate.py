"""The whole studio, driven through a real browser: `wavenet ui` in a child process, Chromium here.

What the page hands to the sound card is recorded, so that a chunk that is lost, altered or late is
seen.
"""

import re
import time
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import RATE
from .stage import PATIENCE

pytestmark = pytest.mark.browser


def wait_for_status(page: Any, start: str) -> str:
    page.wait_for_function(
        "start => document.querySelector('#live-player .status').textContent.startsWith(start)",
        arg=start,
    )
    return str(page.inner_text("#live-player .status"))


def generate(page: Any, **numbers: float) -> None:
    for name, value in numbers.items():
        page.fill(f"#{name} input", str(value))
        page.press(f"#{name} input", "Tab")
    page.evaluate("scheduled.length = 0")
    page.click("#generate")


def wait_for_ahead(page: Any, seconds: float) -> None:
    """Wait until so much lies ready that the page would go on sounding for longer than that."""
    page.wait_for_function(
        "wanted => parseFloat(document.querySelector('[data-key=ahead]').textContent) > wanted",
        arg=seconds,
    )


def ask_for_variants(page: Any, number: int) -> None:
    """While a page still opens, Gradio 6.31 may take back a number that was given so quickly."""
    field = "#variants input[type=number]"
    page.wait_for_selector("#generate:not([disabled])")
    page.wait_for_timeout(500)
    page.fill(field, str(number))
    page.press(field, "Tab")
    page.wait_for_timeout(500)
    assert page.input_value(field) == str(number)


def test_what_the_page_plays_is_the_saved_file_without_a_gap(page: Any) -> None:
    generate(page, seed=11)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."
    chunks = page.evaluate("scheduled")
    assert {chunk["rate"] for chunk in chunks} == {RATE}
    played = np.concatenate([chunk["samples"] for chunk in chunks])
    assert len(played) == 0.5 * RATE
    link = page.wait_for_selector("#result a[download]")
    assert link.get_attribute("download") == "digits_7_jackson_seed11.wav"
    answer = page.request.get(link.evaluate("link => link.href"))
    saved, rate = soundfile.read(BytesIO(answer.body()), dtype="int16")
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


def test_stop_silences_at_once_and_frees_the_model(page: Any) -> None:
    generate(page, seconds=30, seed=1)
    page.wait_for_function("level() > 0.01")
    wait_for_ahead(page, 9)
    page.click("#stop")
    assert wait_for_status(page, "Stopped")
    page.wait_for_function("level() === 0", timeout=8000)
    # An engine so slow that the clip would take minutes: it has to be given up.
    page.click("text=Sampling")
    page.click("#engine input")
    page.click("[role=option]:has-text('cached')")
    generate(page, seconds=30)
    page.wait_for_function("document.querySelector('[data-key=\"speed\"]').textContent !== '–'")
    page.click("#stop")
    wait_for_status(page, "Stopped")
    page.click("#engine input")
    page.click("[role=option]:has-text('auto')")
    generate(page, seconds=0.5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."


def test_a_late_answer_to_stop_leaves_the_next_run_alone(page: Any) -> None:
    """The page once ended the run after a stopped one, when the server took long to answer."""
    stop = re.compile("/run/predict|/cancel")

    def hold(route: Any) -> None:
        page.wait_for_timeout(500)
        route.continue_()

    page.route(stop, hold)
    generate(page, seconds=20)
    page.wait_for_function("level() > 0.01")
    with page.expect_request(stop):
        page.click("#stop")
    generate(page, seconds=20, seed=2)
    # The second run can be stopped as well, and leaves the model free.
    page.click("#stop")
    assert wait_for_status(page, "Stopped")
    generate(page, seconds=0.5)
    assert wait_for_status(page, "Finished") == "Finished: 0.50 s."


def test_a_link_opens_the_page_with_the_same_settings(page: Any) -> None:
    page.click("text=Sampling")
    ask_for_variants(page, 2)
    generate(page, seconds=0.25, seed=7)
    assert wait_for_status(page, "Finished")
    files = [page.wait_for_selector(f"#{name} a[download]") for name in ("result", "result-2")]
    before = [page.request.get(file.evaluate("link => link.href")).body() for file in files]
    assert before[0] != before[1]
    page.click("text=The same again")
    assert "--seed 7 --count 2" in page.input_value("#command textarea")
    with page.expect_navigation():  # the page that is left has the same values
        page.click("#link a")
    page.wait_for_function("document.querySelector('#seconds input')?.value === '0.25'")
    page.wait_for_function("document.querySelector('#seed input')?.value === '7'")
    page.wait_for_function("document.querySelector('#generate')?.disabled === false")
    page.click("#generate")
    assert wait_for_status(page, "Finished")
    file = page.wait_for_selector("#result-2 a[download]")
    assert page.request.get(file.evaluate("link => link.href")).body() == before[1]


def test_a_text_file_as_prompt_shows_the_sentence(page: Any, tmp_path: Path) -> None:
    prompt = tmp_path / "notes.wav"
    prompt.write_text("this is no sound")
    page.click("text=Continue a recording")
    page.set_input_files("#prompt input[type=file]", prompt)
    page.wait_for_selector("#prompt a[download]", state="attached")  # it is there
    generate(page)
    assert "notes.wav is not audio" in wait_for_status(page, "notes.wav")
    page.wait_for_selector("[data-testid=toast-body] >> text=notes.wav is not audio")


def test_another_checkpoint_brings_its_labels_and_its_rate(page: Any) -> None:
    page.click("#checkpoint input")
    page.click("[role=option]:has-text('notes')")
    page.wait_for_selector("text=Instrument")
    assert not page.is_visible("label:has-text('Speaker')")
    generate(page, seconds=0.25)
    wait_for_status(page, "Finished")
    chunks = page.evaluate("scheduled")
    assert {chunk["rate"] for chunk in chunks} == {2 * RATE}
    assert sum(len(chunk["samples"]) for chunk in chunks) == 0.25 * 2 * RATE


def lit(page: Any) -> int:
    """Count the nodes of the cone that are drawn as points."""
    return int(page.get_attribute("#field-picture .lit", "d").count("M"))


def test_the_cone_follows_pointer_and_keys_and_can_be_pinned(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    picture = page.wait_for_selector("#field-picture svg")
    # Kernel 2, dilations 1 to 8: one output, 2, 4 and 8 nodes, 16 inputs.
    assert lit(page) == 1 + 2 + 4 + 8 + 16
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 1.5 * 46)
    assert lit(page) == 1 + 2 + 4 + 8
    page.mouse.down()
    page.mouse.up()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 2.5 * 46)
    assert "pinned" in page.inner_text("#field-picture p >> nth=0")
    assert lit(page) == 1 + 2 + 4 + 8
    picture.focus()
    before = int(picture.get_attribute("aria-valuenow"))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert int(picture.get_attribute("aria-valuenow")) == before - 1
    assert lit(page) == 1 + 2 + 4


def test_the_book_example_is_drawn_and_counted(page: Any) -> None:
    page.get_by_role("tab", name="Receptive field").click()
    page.click("#preset input")
    page.click("[role=option]:has-text('The book example')")
    page.wait_for_selector("text=2,047 samples")
    assert "127.9 ms" in page.inner_text("#field-facts")
    page.wait_for_function(
        "document.querySelector('#field-picture p').textContent.includes('over 2,047 samples')"
    )
    page.fill("#dilations input, #dilations textarea", "1, 2, x")
    page.wait_for_selector("#field-facts [role=alert]")


def test_what_is_said_is_said_of_the_checkpoint_that_was_chosen_last(
    url: str, browser: Any
) -> None:
    """And not of the first, whose engine is still being prepared then."""
    sheet, held, told = browser.new_page(), [], []
    sheet.set_default_timeout(PATIENCE)

    def hold(route: Any) -> None:
        number = route.request.post_data_json["fn_index"]
        if told == [number - 1] and not held:
            held.append(route)
        elif told:
            route.continue_()
        else:
            answer = route.fetch()
            if "Preparing" in answer.text():
                told.append(number)
            route.fulfill(response=answer)

    sheet.route("**/run/predict*", hold)
    sheet.goto(url)
    about = "document.querySelector('.about')?.textContent"
    sheet.wait_for_function(f"{about}?.includes('Preparing')")
    while not held:
        sheet.wait_for_timeout(100)
    sheet.click("#checkpoint input")
    sheet.click("[role=option]:has-text('notes')")
    sheet.wait_for_function(f"{about}?.includes('16,000 Hz')")
    with sheet.expect_response("**/run/predict*"):
        held[0].continue_()
    sheet.wait_for_timeout(1000)
    assert "16,000 Hz" in sheet.evaluate(about)
    assert "Preparing" not in sheet.evaluate(about)
    sheet.unroute_all(behavior="ignoreErrors")
    sheet.close()


def test_a_press_at_the_first_moment_works_on_a_slow_machine(url: str, browser: Any) -> None:
    """On a new machine the page was once slower than the hand: the press came to nothing."""
    sheet = browser.new_page()
    sheet.set_default_timeout(PATIENCE)

    def late(route: Any) -> None:
        time.sleep(0.5)
        route.continue_()

    sheet.route(lambda address: "/run/" in address or "/queue/join" in address, late)
    sheet.goto(url)
    sheet.click("#generate")  # as soon as the page lets it be clicked
    assert wait_for_status(sheet, "Finished") == "Finished: 0.50 s."
    sheet.close()
