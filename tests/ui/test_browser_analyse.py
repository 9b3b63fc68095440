"""The Analyse tab in a real browser: an example, an upload, and a file that is not audio."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from wavenet.ui.analyse_tab import PLOTS

from .conftest import RATE

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(page: Any) -> Any:
    page.get_by_role("tab", name="Analyse").click()
    page.wait_for_selector("#example")
    return page


def wait_for_plots(page: Any) -> None:
    """Wait until all plots are loaded and laid out."""
    for name in ("surprise", *PLOTS):
        page.wait_for_function(
            f"document.querySelector('#plot-{name} img')?.getBoundingClientRect().width > 400",
            polling=100,
        )
        page.locator(f"#plot-{name}").scroll_into_view_if_needed()
        page.wait_for_function(
            f"document.querySelector('#plot-{name} img').naturalWidth === 1350",
            polling=100,
        )


def press_download(page: Any, selector: str) -> Any:
    """Press a download button; return the download."""
    with page.expect_download() as download:
        page.click(selector)
    return download.value


def test_example_is_analysed_scored_and_downloaded(tab: Any) -> None:
    """The processor is slowed down by a factor of eight, so that the page loses some updates."""
    slow = tab.context.new_cdp_session(tab)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 8})
    assert tab.is_visible("text=appear here on one time axis")
    assert tab.is_disabled("#score-again")
    tab.click("#example")
    wait_for_plots(tab)
    slow.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    assert "3.00 s" in tab.inner_text("#facts")
    assert "digits" in tab.inner_text("#score-facts")
    positions = {tab.locator(f"#plot-{name} img").bounding_box()["x"] for name in PLOTS}
    assert len(positions) == 1, "the plots are not aligned"
    assert all(
        tab.locator("#plot-surprise img, #plot-pitch img").evaluate_all("i => i.map(x => x.alt)")
    )
    for kind in ("original", "quantised"):
        tab.wait_for_selector(f"#sound-{kind} >> text=0:03")
        link = tab.wait_for_selector(f"#sound-{kind} a[download]", state="attached")
        answer = tab.request.get(link.evaluate("link => link.href"))
        _, rate = soundfile.read(BytesIO(answer.body()))
        assert rate == 16_000
    for name, array in (("features", "mfcc_delta_db"), ("bits", "bits")):
        download = press_download(tab, f"#{name}")
        assert download.suggested_filename == f"example_{name}.npz"
        with np.load(download.path(), allow_pickle=False) as arrays:
            assert array in arrays
    assert press_download(tab, "#plot-mel a[download]").suggested_filename == "example_mel.png"
    tab.click("#score-checkpoint input")
    tab.click("[role=option]:has-text('notes')")
    # Otherwise the score would use the labels of digits.
    tab.wait_for_selector("text=Instrument >> visible=true")
    tab.click("#score-again")
    tab.wait_for_selector("#score-facts >> text=notes")


def test_upload_is_analysed_on_a_phone_and_text_is_an_error(tab: Any, tmp_path: Path) -> None:
    tab.set_viewport_size({"width": 390, "height": 844})
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
    tab.click("#recording [aria-label='Clear']")
    tab.set_input_files("#recording input[type=file]", tmp_path / "tone.wav")
    tab.wait_for_selector("#analysis-status [role=alert]", state="detached")
    tab.click("#analyse")
    wait_for_plots(tab)
    pitch = tab.inner_text("#facts div:has(> dt:text-is('Pitch')) dd")
    assert float(pitch.removesuffix(" Hz")) == pytest.approx(440, rel=0.01)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390


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
