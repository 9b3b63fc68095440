"""The Effects tab in a real browser: render, switch dry and wet, hostile files, a tiny training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import fresh_visit
from .effect_folder import HOSTILE, save_nam
from .test_pair_training import write_pair

pytestmark = pytest.mark.browser
STATUS = "document.querySelector('#effects-player .status').textContent.startsWith(text)"


@pytest.fixture
def tab(page: Any) -> Any:
    open_tab(page)
    return page


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Effects", exact=True).click()
    page.wait_for_selector("#effects-about dl")


def wait_for_status(page: Any, text: str) -> None:
    page.wait_for_function(f"text => {STATUS}", arg=text)


def heard(page: Any) -> str:
    return str(page.get_attribute("#effects-player .player", "data-heard"))


def test_render_and_switch_between_dry_and_wet(tab: Any) -> None:
    page = tab
    assert page.is_visible("#effects-knob-0")
    assert not page.is_visible("#effects-knob-1")
    page.evaluate("window.scheduled = []")
    page.click("#effects-render")
    page.wait_for_function("window.scheduled.length > 0")
    page.keyboard.press("x")
    assert heard(page) == "dry"
    wait_for_status(page, "Finished: 6.00 s")
    chunks = page.evaluate("window.scheduled")
    # no gap: every chunk starts where the one before ends
    ends = [chunk["when"] + len(chunk["samples"]) / chunk["rate"] for chunk in chunks]
    starts = [chunk["when"] for chunk in chunks]
    assert np.allclose(starts[1:], ends[:-1], atol=1e-4)
    page.click("#effects-player [data-repeat]")
    wait_for_status(page, "Repeating")
    page.wait_for_function("window.level() > 0.001")
    page.click("#effects-player [data-sound=wet]")
    assert heard(page) == "wet"
    page.click("#effects-stop")
    wait_for_status(page, "Stopped")
    page.wait_for_selector("#effects-viewer .viewer[data-state=shown]")
    page.wait_for_selector("#history >> text=overdrive · gain 0.25 · example riff")
    with page.expect_download() as download:
        page.click("#effects-download")
    assert download.value.suggested_filename == "example_riff_overdrive.wav"
    page.click("#effects-null-box > button")
    page.click("#effects-null-test")
    page.wait_for_selector("#effects-null-result >> text=re the wet sound is left")
    page.click("#effects-measure-box > button")
    page.click("#effects-measure")
    page.wait_for_selector("#effects-measured polyline")
    with page.expect_download() as download:
        page.click("#effects-export")
    assert download.value.suggested_filename == "overdrive_gain0.25.nam"


@pytest.mark.slow
def test_a_capture_is_dropped_and_a_hostile_file_refused(tab: Any, tmp_path: Path) -> None:
    page, files = tab, "#effects-upload input[type=file]"
    page.set_input_files(files, save_nam(tmp_path / "amp.nam"))
    page.wait_for_selector("#effects-about >> text=48,000 Hz")
    assert not page.is_visible("#effects-knob-0")
    page.click("#effects-upload button[aria-label=Clear]")
    page.wait_for_selector("#effects-knob-0")
    (tmp_path / "evil.nam").write_text(HOSTILE)
    page.set_input_files(files, tmp_path / "evil.nam")
    page.wait_for_selector("#effects-about [role=alert]")
    text = page.inner_text("#effects-about")
    assert text.startswith("evil.nam: architecture")
    assert "<b>Evil" in text
    assert not page.locator("#effects-about b").count()


@pytest.mark.slow
def test_a_tiny_effect_is_trained(opener: Any, url: str, tmp_path: Path) -> None:
    dry, wet = write_pair(tmp_path)
    with fresh_visit(opener, url) as page:
        open_tab(page)
        page.click("#effects-train > button")
        assert page.is_disabled("#effects-start")
        page.set_input_files("#effects-dry input[type=file]", dry)
        page.set_input_files("#effects-wet input[type=file]", wet)
        page.wait_for_selector("#effects-report .pair-checks")
        page.fill("#effects-name input, #effects-name textarea", "tiny")
        page.fill("#effects-minutes input", "0.01")
        page.click("#effects-model label:has-text('nano')")
        page.click("#effects-start:not([disabled])")
        page.wait_for_selector("#effects-state >> text=tiny: ")
        page.wait_for_selector("#effects-state >> text=tiny: finished")
        page.click("#effects-train-listen:not([disabled])")
        page.wait_for_selector("#effects-about >> text=tiny")
