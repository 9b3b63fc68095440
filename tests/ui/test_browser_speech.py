"""Text to speech in a real browser: words lit, curves changed, a pronunciation corrected."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.speech.tiny_voice import save_voice

from .conftest import save_checkpoint
from .studio_process import COMMAND, studio_process

pytestmark = pytest.mark.browser
TEXT = "Hello there. The gif goes on and on!"
EDITOR = "#speech-view .speech"
NEWEST_CLIP = """() => fetch(document.querySelector('#history li').dataset.url)
  .then((answer) => answer.arrayBuffer()).then((bytes) => new Uint8Array(bytes).join())"""


@pytest.fixture(scope="module")
def shared_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio with a voice."""
    folder = tmp_path_factory.mktemp("speech")
    save_voice(folder / "checkpoints" / "tiny")
    (folder / "checkpoints" / "wavenet").rename(folder / "wavenet")
    save_checkpoint(folder / "checkpoints", "digits", 8000, {"digit": ("0", "1")})
    with studio_process(folder, COMMAND, OMP_NUM_THREADS="1") as address:
        yield address


@pytest.fixture
def spoken(page: Any) -> Any:
    """The page with a spoken text."""
    page.click("#model input")
    page.click("[role=option]:has-text('tiny')")
    page.wait_for_selector("#speech-text textarea")
    page.fill("#speech-text textarea", TEXT)
    page.press("#speech-text textarea", "Shift+Enter")
    wait_for_clip(page, 2)
    return page


def wait_for_clip(page: Any, count: int) -> None:
    """Wait until this many clips are kept and the newest is drawn."""
    page.wait_for_function(
        "count => document.querySelectorAll('#history li').length === count", arg=count
    )
    page.wait_for_selector('#results:not(.old) #viewer .viewer[data-state="shown"]')


def readout(page: Any) -> str:
    return str(page.inner_text("#speech-view output"))


def test_words_are_lit_while_they_are_heard(spoken: Any) -> None:
    page = spoken
    assert page.locator(".word").all_inner_texts() == TEXT.strip("!").replace(".", "").split()
    page.wait_for_function("!document.querySelector('.word[data-heard]')")  # the stream has ended
    page.evaluate(
        """() => {
          window.lit = new Set();
          new MutationObserver(() => document.querySelectorAll('.word[data-heard]')
            .forEach((e) => window.lit.add(e.textContent)))
            .observe(document.querySelector('#speech-view'), { subtree: true, attributes: true });
        }"""
    )
    page.click("#viewer [data-action=play]")
    page.wait_for_function("window.lit.size >= 3")
    page.wait_for_function("!document.querySelector('.word[data-heard]')")


@pytest.mark.slow
def test_melody_and_durations_are_changed_and_heard(spoken: Any) -> None:
    page = spoken
    speak = page.locator("#speech-view [data-action=speak]")
    assert speak.is_disabled()
    curves = page.locator("#speech-view .curves")
    curves.focus()
    for _ in range(2):  # the first vowel
        page.keyboard.press("ArrowRight")
    before = readout(page)
    assert before.startswith("AH: ")
    hertz = int(before.split(",")[1].split()[0])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("+")
    changed = readout(page)
    assert int(changed.split(",")[1].split()[0]) > hertz
    assert int(changed.split()[1]) == int(before.split()[1]) + 10  # ms, one frame
    box = curves.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 30, steps=8)
    page.mouse.up()
    assert page.locator("#speech-view .before").count() == 1
    speak.click()
    wait_for_clip(page, 3)
    page.wait_for_selector("#speech-view .before")  # the changes are kept
    page.click("#speech-view [data-action=undo]")
    assert page.locator("#speech-view .before").count() == 0
    assert speak.is_disabled()


def test_a_pronunciation_is_corrected(spoken: Any) -> None:
    page = spoken
    assert page.is_visible("#speech-view .press")
    page.click(".word >> text=gif")
    assert not page.is_visible("#speech-view .press")
    field = page.locator("#speech-view [name=phones]")
    assert field.input_value() == "G IH1 F"
    field.fill("jh ih1 f")
    field.press("Enter")
    wait_for_clip(page, 3)
    page.wait_for_selector(".word[data-corrected] >> text=gif")
    assert field.input_value() == "JH IH1 F"
    field.fill("xx")
    field.press("Enter")
    page.wait_for_selector("#live-player .status >> text='XX' is not a phone")
    page.click("#speech-view [data-action=dictionary]")
    wait_for_clip(page, 4)
    assert field.input_value() == "G IH1 F"


@pytest.mark.slow
def test_the_text_is_kept_by_a_reload(spoken: Any, tmp_path: Path) -> None:
    page = spoken
    page.reload()
    page.wait_for_function(
        "text => document.querySelector('#speech-text textarea')?.value === text", arg=TEXT
    )
    assert page.is_visible("#speak")


def draw_melody(page: Any) -> None:
    box = page.locator("#speech-view .curves").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 30, steps=8)
    page.mouse.up()
    page.click("#speech-view [data-action=speak]")


@pytest.mark.slow
def test_a_link_repeats_a_changed_sentence(spoken: Any, url: str) -> None:
    page = spoken
    page.click(".word >> text=gif")
    page.fill("#speech-view [name=phones]", "JH IH1 F")
    page.press("#speech-view [name=phones]", "Enter")
    wait_for_clip(page, 3)
    page.locator("#speech-view .curves").scroll_into_view_if_needed()
    draw_melody(page)
    wait_for_clip(page, 4)
    curve = page.get_attribute("#speech-view .melody", "d")
    page.click("text=Reproduce this clip")
    link = page.get_attribute("#link a", "href")
    first = page.evaluate(NEWEST_CLIP)
    page.goto(f"{url}/{link}")
    page.wait_for_selector("#speech-view .before", state="attached")
    assert page.input_value("#speech-text textarea") == TEXT
    assert page.locator(".word[data-corrected]").all_inner_texts() == ["gif"]
    assert page.get_attribute("#speech-view .melody", "d") == curve
    page.click("#speak")
    wait_for_clip(page, 5)
    assert page.evaluate(NEWEST_CLIP) == first


@pytest.mark.slow
def test_again_speaks_again(spoken: Any) -> None:
    page = spoken
    first = page.evaluate(NEWEST_CLIP)
    page.click("#history li >> nth=0 >> [data-action=again]")
    wait_for_clip(page, 3)
    assert page.evaluate(NEWEST_CLIP) == first
