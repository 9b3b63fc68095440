"""The Analyse tab in a real browser: an example, an upload, a clip of the history, an error."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from .conftest import RATE

pytestmark = pytest.mark.browser
VIEWER = "#analysis-viewer .viewer"


@pytest.fixture
def tab(page: Any) -> Any:
    page.get_by_role("tab", name="Analyse").click()
    page.wait_for_selector("#example")
    return page


def wait_for_end(page: Any) -> None:
    """Wait until the recording is analysed and scored."""
    page.wait_for_selector("#score-facts dl")
    page.wait_for_function("document.querySelector('#analysis-status p') === null")
    page.wait_for_selector(f"{VIEWER}[data-state=shown]")


def press_download(page: Any, selector: str) -> Any:
    """Press a download button; return the download."""
    with page.expect_download() as download:
        page.click(selector)
    return download.value


def values_of(page: Any, title: str) -> list[float]:
    """Return values of a panel, as the viewer shows them under the pointer from left to right."""
    area = page.locator(f'#analysis-viewer [data-panel="{title}"] .u-over')
    area.scroll_into_view_if_needed()
    box, values = area.bounding_box(), []
    for share in np.linspace(0.1, 0.9, 9):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 10)
        text = page.inner_text(f'#analysis-viewer [data-panel="{title}"] output')
        values.append(text.split(" · ")[1].split(" ")[0])
    return [float(value) if value != "none" else np.nan for value in values]


@pytest.mark.slow
def test_example_is_analysed_scored_and_downloaded(tab: Any) -> None:
    """The processor is slowed down by a factor of eight, so that the page loses some updates."""
    slow = tab.context.new_cdp_session(tab)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 8})
    assert "appear here" in tab.inner_text(f"{VIEWER} .placeholder")
    assert tab.is_disabled("#score-again")
    tab.click("#example")
    wait_for_end(tab)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert "3.00 s" in tab.inner_text("#facts")
    assert "digits" in tab.inner_text("#score-facts")
    edges = tab.locator("#analysis-viewer .u-over").evaluate_all(
        "list => list.map((area) => area.getBoundingClientRect().left)"
    )
    assert len(edges) == 7 and len(set(edges)) == 1, "the time axes are not aligned"
    names = tab.locator("#analysis-viewer .plot").evaluate_all(
        "list => list.map((plot) => plot.getAttribute('aria-label'))"
    )
    assert "Spectrogram (dB), 3.00 seconds" in names
    assert tab.locator("#code-histogram svg path").count() == 1
    for kind in ("original", "quantised"):
        tab.wait_for_selector(f"#sound-{kind} >> text=0:03")
        link = tab.wait_for_selector(f"#sound-{kind} a[download]", state="attached")
        answer = tab.request.get(link.evaluate("link => link.href"), max_retries=2)
        _, rate = soundfile.read(BytesIO(answer.body()))
        assert rate == 16_000
    for name, array in (("features", "mfcc_delta_db"), ("bits", "bits")):
        download = press_download(tab, f"#{name}")
        assert download.suggested_filename == f"example_{name}.npz"
        with np.load(download.path(), allow_pickle=False) as arrays:
            assert array in arrays


@pytest.mark.slow
def test_score_again_uses_the_model_above_and_changes_the_surprise(tab: Any) -> None:
    tab.click("#example")
    wait_for_end(tab)
    before = values_of(tab, "Surprise")
    assert not np.isnan(before).any()
    tab.click("#model input")
    tab.click("[role=option]:has-text('notes')")
    # Otherwise the score would use the labels of digits.
    tab.wait_for_selector("#conditions >> text=Instrument")
    tab.click("#score-again")
    tab.wait_for_selector("#score-facts >> text=notes")
    wait_for_end(tab)
    after = values_of(tab, "Surprise")
    assert not np.isnan(after).any()
    assert not np.array_equal(before, after)
    assert tab.locator("#history [data-clip]").count() == 2  # the first clip and the example


@pytest.mark.slow
def test_clip_of_the_history_is_analysed(tab: Any) -> None:
    tab.click("#history [data-clip] summary")  # of the clip that is ready at the first visit
    tab.click("#history [data-clip] [data-action=analyse]")
    wait_for_end(tab)
    assert tab.is_visible(VIEWER)
    assert tab.inner_text(f"{VIEWER} strong").startswith("digits · 7 · jackson")
    assert "0.50 s" in tab.inner_text("#facts")
    assert tab.locator("#history [data-clip]").count() == 1, "the clip was added again"
    # Only one of the two viewers plays.
    tab.click(f"{VIEWER} [data-action=loop]")
    tab.click(f"{VIEWER} [data-action=play]")
    tab.wait_for_function("level() > 0")
    tab.get_by_role("tab", name="Generate").click()
    tab.click("#viewer .viewer [data-action=play]")
    assert tab.locator(f"{VIEWER} [data-action=play]").text_content() == "Play"


def test_upload_is_analysed_and_text_is_an_error(tab: Any, tmp_path: Path) -> None:
    (tmp_path / "notes.wav").write_text("not audio")
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    soundfile.write(tmp_path / "tone.wav", samples, RATE)
    tab.click("#analyse")
    tab.wait_for_selector("#analysis-status [role=alert] >> text=no recording")
    tab.set_input_files("#recording input[type=file]", tmp_path / "notes.wav")
    tab.wait_for_selector("#recording a[download]", state="attached")  # uploaded
    tab.wait_for_selector("#analysis-status [role=alert]", state="detached")
    tab.click("#analyse")
    tab.wait_for_selector("#analysis-status [role=alert] >> text=notes.wav is not audio")
    tab.wait_for_selector("[data-testid=toast-body] >> text=notes.wav is not audio")
    assert tab.get_attribute(VIEWER, "data-state") == "empty"
    tab.click("#recording [aria-label='Clear']")
    tab.set_input_files("#recording input[type=file]", tmp_path / "tone.wav")
    tab.wait_for_selector("#analysis-status [role=alert]", state="detached")
    tab.click("#analyse")
    wait_for_end(tab)
    pitch = tab.inner_text("#facts div:has(> dt:text-is('Pitch')) dd")
    assert float(pitch.removesuffix(" Hz")) == pytest.approx(440, rel=0.01)
    assert np.allclose(values_of(tab, "Pitch (F0)"), 440, rtol=0.01)


@pytest.mark.slow
def test_client_analyses_and_scores_only_uploads(url: str, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE), RATE)
    client = Client(url, verbose=False)
    numbers = client.predict(handle_file(path), api_name="/analyse")
    assert numbers["pitch_hz"] == pytest.approx(440, rel=0.01)
    conditions = {"digit": "7", "speaker": "jackson"}
    answer = client.predict(handle_file(path), "digits", conditions, api_name="/score")
    assert answer["samples"] == RATE
    with pytest.raises(AppError, match="uploaded file"):
        client.predict({"path": str(path)}, api_name="/analyse")


def test_an_improbable_place_is_played_with_the_keyboard(tab: Any, tmp_path: Path) -> None:
    samples = 0.1 * np.sin(2 * np.pi * 440 * np.arange(RATE // 2) / RATE)
    samples[3000:3040] = 0.9
    soundfile.write(tmp_path / "click.wav", samples, RATE)
    assert tab.is_disabled("#find-button")
    tab.set_input_files("#recording input[type=file]", tmp_path / "click.wav")
    tab.wait_for_selector("#recording a[download]", state="attached")
    tab.click("#analyse")
    wait_for_end(tab)
    tab.click("#find-button:not([disabled])")
    tab.wait_for_selector("#place-list [data-start]")
    place = tab.locator("#place-list [data-start]").last
    start = float(place.get_attribute("data-start"))
    tab.evaluate("window.scheduled = []")
    place.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("window.scheduled.length === 1")
    before = float(tab.get_attribute(VIEWER, "data-position"))
    assert max(0, start - 0.3) <= before
    tab.wait_for_selector(f"{VIEWER} [data-action=play] >> text=Pause")
    tab.focus(VIEWER)
    tab.keyboard.press(" ")
    assert tab.inner_text(f"{VIEWER} [data-action=play]") == "Play"
    tab.click("#which-button")
    tab.wait_for_selector("#label-table tbody tr >> nth=4")
    # A model without a calibration.
    tab.click("#model input")
    tab.click("[role=option]:has-text('notes')")
    tab.wait_for_selector("#conditions >> text=Instrument")
    tab.click("#find-button")
    tab.wait_for_selector("#analysis-status [role=alert] >> text=has no surprise.json")
    assert not tab.is_visible("#place-list [data-start]")
