"""The history of clips and the kept settings in a real browser: reload, actions, comparison."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import wait_for_load
from .test_browser_generate import (
    download,
    generate,
    wait_for_clips,
    wait_for_pictures,
    wait_for_status,
)

pytestmark = pytest.mark.browser
# Records the volumes at which the history plays clips; headless Chromium has no sound card.
PLAYS_JS = """
window.plays = [];
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
  window.plays.push({ src: this.src, volume: this.volume });
  return play.call(this);
};
"""


def press(page: Any, action: str, n: int = 0) -> None:
    """Press a button of clip `n`; 0 is the newest. Those of the menu need not be visible."""
    page.locator("#history li").nth(n).locator(f'[data-action="{action}"]').dispatch_event("click")


def titles(page: Any) -> list[str]:
    return list(page.locator("#history li strong").all_inner_texts())


def wait_for_kept(page: Any) -> None:
    """Wait until the browser's storage, which is encrypted, has not changed for a second."""
    page.wait_for_function(
        """() => {
          const text = localStorage.getItem('wavenet-settings') ?? '';
          if (window.keptText !== text) window.keptSince = performance.now();
          window.keptText = text;
          return text && performance.now() - window.keptSince > 1000;
        }"""
    )


def test_a_reload_keeps_settings_tab_and_clips(page: Any) -> None:
    generate(page, seconds=0.25, seed=41)
    wait_for_status(page, "Finished")
    wait_for_clips(page, 2)
    before = titles(page)
    page.click('[data-condition="digit"] label:has-text("3")')
    page.click("#model input")
    page.click("[role=option]:has-text('notes')")
    page.wait_for_selector('[data-condition="instrument"]')
    page.click('[data-condition="instrument"] label:has-text("horn")')
    page.fill("#seconds input", "0.75")
    page.fill("#seed input", "42")
    page.press("#seed input", "Tab")
    page.get_by_role("tab", name="Receptive field").click()
    page.wait_for_function("localStorage.getItem('wavenet-tab') === 'Receptive field'")
    wait_for_kept(page)
    page.reload()
    page.wait_for_selector(
        '[data-condition="instrument"] input:checked[value="horn"]', state="attached"
    )
    page.wait_for_function("document.querySelector('#model input').value === 'notes'")
    page.wait_for_selector('[role=tab][aria-selected=true]:has-text("Receptive field")')
    page.get_by_role("tab", name="Generate").click()
    page.wait_for_function("document.querySelector('#seconds input')?.value === '0.75'")
    assert page.input_value("#seed input") == "42"
    wait_for_clips(page, 2)
    assert titles(page) == before
    assert len(download(page)) > 1000


@pytest.mark.slow
def test_an_action_starts_its_job_in_a_tab_that_opens_slowly(page: Any) -> None:
    page.click("#history li summary")
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 8})
    page.click("#history li [data-action=analyse]")
    page.wait_for_selector("#analysis-viewer .viewer[data-state=shown]")


def test_another_visitor_sees_no_clips_of_this_one(page: Any, browser: Any, url: str) -> None:
    generate(page, seed=43)
    wait_for_clips(page, 2)
    other = browser.new_page()
    other.goto(url)
    wait_for_load(other)
    wait_for_clips(other, 1)
    assert not any("seed 43" in title for title in titles(other))
    other.close()


@pytest.mark.slow
def test_next_seed_and_again_generate(page: Any) -> None:
    generate(page, seconds=0.25, seed=51)
    wait_for_clips(page, 2)
    press(page, "next-seed")
    wait_for_clips(page, 3)
    assert titles(page)[0].endswith("seed 52")
    wait_for_status(page, "Finished: 0.25 s.")
    press(page, "again", 1)
    wait_for_clips(page, 4)
    assert titles(page)[0].endswith("seed 51")
    assert download(page) == download(page, 2)


@pytest.mark.slow
def test_continue_puts_the_clip_into_the_prompt(page: Any) -> None:
    wait_for_pictures(page)
    press(page, "continue")
    page.wait_for_selector("#prompt a[download]")  # in the open box
    generate(page, seconds=0.25, seed=5)
    wait_for_clips(page, 2)
    whole, rate = soundfile.read(BytesIO(download(page)), dtype="int16")
    first, _ = soundfile.read(BytesIO(download(page, 1)), dtype="int16")
    assert len(whole) == len(first) + 0.25 * rate
    assert np.array_equal(whole[: len(first)], first)


@pytest.mark.slow
def test_pin_and_delete(page: Any) -> None:
    wait_for_pictures(page)
    press(page, "pin")
    page.wait_for_selector('#history [data-action="pin"]:text-is("Unpin")', state="attached")
    press(page, "delete")
    wait_for_clips(page, 0)


@pytest.mark.slow
def test_an_action_on_a_clip_that_is_gone_is_a_sentence(page: Any) -> None:
    wait_for_pictures(page)
    page.evaluate("document.querySelector('#history li').dataset.clip = 'gone'")
    press(page, "pin")
    page.wait_for_selector("[data-testid=toast-body] >> text=This clip has expired or was deleted")


@pytest.mark.slow
def test_a_and_b_are_compared_at_equal_level(page: Any, tmp_path: Path) -> None:
    page.evaluate(f"() => {{ {PLAYS_JS} }}")
    generate(page, seconds=0.5, seed=61)
    wait_for_clips(page, 2)
    levels = []
    for n in (0, 1):
        samples, _ = soundfile.read(BytesIO(download(page, n)))
        levels.append(float(np.sqrt(np.mean(samples**2))))
    assert page.is_disabled('#history [data-action="switch"]')
    press(page, "mark-a", 0)
    press(page, "mark-b", 1)
    page.click('#history [data-action="switch"]')
    page.wait_for_function("window.plays.length === 2")  # B follows A by itself
    page.wait_for_function("document.querySelector('#history .compare output').textContent === ''")
    first, second = page.evaluate("window.plays")
    assert first["src"] != second["src"]
    assert max(first["volume"], second["volume"]) == 1
    ratio = first["volume"] / second["volume"]
    assert ratio == pytest.approx(levels[1] / levels[0], rel=0.01)
    # The level of a clip that is almost silent is not matched: the other one stays audible.
    page.evaluate("document.querySelectorAll('#history li')[1].dataset.rms = '0.000001'")
    page.click('#history [data-action="switch"]')
    page.wait_for_function("window.plays.length === 4")
    assert page.evaluate("window.plays[2].volume") == pytest.approx(0.1)
    press(page, "mark-b", 0)
    assert page.get_attribute('#history li:first-child [data-action="mark-a"]', "aria-pressed") == (
        "false"
    )
    assert page.is_disabled('#history [data-action="switch"]')
