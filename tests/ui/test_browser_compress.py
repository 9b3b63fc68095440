"""The Compress tab in a real browser: a round trip, refused and damaged files, a stopped job."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import RATE, tone

pytestmark = pytest.mark.browser


@pytest.fixture
def tab(page: Any) -> Any:
    page.get_by_role("tab", name="Compress").click()
    page.wait_for_selector("#compress-start")
    return page


def drop(page: Any, section: str, *paths: Path) -> None:
    """Drop files into a section, and wait until they are uploaded."""
    page.set_input_files(f"#{section}-uploads input[type=file]", list(paths))
    for path in paths:
        page.wait_for_selector(f"#{section}-uploads >> text={path.stem}")


def download(page: Any, selector: str, target: Path) -> str:
    """Save the file of a button; return its name."""
    with page.expect_download() as started:
        page.click(f"{selector}:not([disabled])")
    started.value.save_as(target)
    return str(started.value.suggested_filename)


def test_silence_is_compressed_and_restored_and_text_is_refused(tab: Any, tmp_path: Path) -> None:
    """Silence needs no compiled code, so this test is fast on a new machine too."""
    original, text = tmp_path / "pause.wav", tmp_path / "<b>.wav"
    soundfile.write(original, np.zeros(RATE), RATE)
    text.write_text("not audio")
    tab.click("#compress-start")
    tab.wait_for_selector("#compress-status [role=alert] >> text=no files")
    drop(tab, "compress", original, text)
    tab.click("#compress-start")
    tab.wait_for_selector("#compress-results >> text=verified")
    assert "<b>.wav" in tab.inner_text("#compress-results .error")
    assert not tab.locator("#compress-results b").count()
    assert not tab.locator("#compress-picture svg").count()  # of several files
    packed = tmp_path / "pause.wnc"
    assert download(tab, "#compress-files", packed) == "pause.wnc"
    assert packed.stat().st_size < 200
    drop(tab, "restore", packed)
    tab.click("#restore-start")
    tab.wait_for_selector("#restore-results >> text=the original file")
    tab.wait_for_selector("#restore-player >> text=0:01")
    assert download(tab, "#restore-files", tmp_path / "back.wav") == "pause.wav"
    assert (tmp_path / "back.wav").read_bytes() == original.read_bytes()


@pytest.mark.slow
def test_a_recording_has_a_picture_and_damage_one_sentence(tab: Any, tmp_path: Path) -> None:
    original, damaged = tmp_path / "tone.wav", tmp_path / "damaged.wnc"
    soundfile.write(original, np.concatenate([tone(2.5), tone(2.5, peak=0.01)]), RATE)
    drop(tab, "compress", original)
    tab.click("#compress-start")
    tab.wait_for_selector("#compress-picture polyline.curve-2", state="attached")
    download(tab, "#compress-files", damaged)
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    drop(tab, "restore", damaged, original)
    tab.click("#restore-start")
    tab.wait_for_selector("#restore-results .error >> text=damaged.wnc is damaged")
    tab.wait_for_selector("#restore-results .error >> text=tone.wav is no compressed file")
    assert tab.is_disabled("#restore-files")
    assert not tab.is_visible("#restore-player")


@pytest.mark.slow
def test_a_job_is_stopped(tab: Any, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 60 * RATE)
    soundfile.write(tmp_path / "noise.wav", noise, RATE)
    drop(tab, "compress", tmp_path / "noise.wav")
    tab.click("#compress-start")
    tab.wait_for_selector("#compress-status >> text=Compressing: ")
    tab.click("#compress-stop")
    tab.wait_for_selector("#compress-status >> text=Stopped.")
    assert tab.is_disabled("#compress-files")
    assert not tab.locator("#compress-results table").count()
