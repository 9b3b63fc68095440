"""The Train tab in a real browser, with real runs: they outlive the page, and the studio itself."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wavenet import folder_lock
from wavenet.training.run_process import read_control
from wavenet.training.run_status import list_runs, read_status
from wavenet.ui import recordings
from wavenet.ui.training import EXAMPLE, EXAMPLE_STEPS

from .conftest import RATE, save_checkpoint, visit
from .stage import answers, studio

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of checkpoints that runs may add to; no run outlives the tests."""
    folder = tmp_path_factory.mktemp("train")
    save_checkpoint(folder / "checkpoints", "digits", RATE, {"digit": ("0", "1")})
    yield folder / "checkpoints"
    for name in list_runs(folder / "runs"):
        if holder := folder_lock.lock_holder(folder / "runs" / name):
            os.kill(holder, signal.SIGKILL)


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """A studio of its own, for a test kills it."""
    with studio(root.parent, OMP_NUM_THREADS="1") as address:
        yield address


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#train-example")


def wait_for_state(page: Any, words: str) -> None:
    page.wait_for_selector(f"#train-state >> text={words}")


def look_at_notes(page: Any) -> None:
    page.fill("#train-pattern :is(input, textarea)", "{note}_{take}")
    page.click("#train-look")
    page.wait_for_selector("#train-report >> text=c4, c5, e4, g4")


def choose_tiny(page: Any) -> None:
    page.click("#train-recipe label:has-text('tiny')")
    page.wait_for_selector("#train-about >> text=tiny model")


def start_long(page: Any, root: Path, name: str) -> Path:
    """Start a run on notes that goes on for as long as a test wants, and wait until it trains."""
    notes = root.parent / "notes"
    if not notes.exists():
        notes.mkdir()
        recordings.write_notes(notes)
    page.fill("#train-folder :is(input, textarea)", str(notes))
    look_at_notes(page)
    choose_tiny(page)
    page.fill("#train-name :is(input, textarea)", name)
    page.fill("#train-steps input", "20000")
    page.click("#train-start")
    page.wait_for_function(
        "name => document.querySelector('#train-run input').value === name", arg=name
    )
    folder, deadline = root.parent / "runs" / name, time.monotonic() + 60
    while read_status(folder).state != "running":  # what is shown may be another run yet
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wait_for_state(page, "Training.")
    return folder


def test_the_example_runs_to_its_end_in_a_process_that_waited(page: Any, root: Path) -> None:
    open_tab(page)
    page.click("#train-example")
    wait_for_state(page, f"Finished after step {EXAMPLE_STEPS}")
    page.wait_for_selector("#train-curves >> text=held-out clips")
    page.wait_for_selector(f"#train-clip-1 >> text=Step {EXAMPLE_STEPS}")
    page.wait_for_selector("#train-clip-2 >> text=Step ")
    page.wait_for_selector(f"#train-state >> text=offer it as {EXAMPLE}")
    mark = read_control(root.parent / "runs" / EXAMPLE)
    assert mark
    assert mark.process_tag, "the tab was opened, and nothing waited for a run"


def test_dropped_recordings_are_looked_at_before_they_are_trained_on(
    page: Any, root: Path, tmp_path: Path
) -> None:
    recordings.write_notes(tmp_path)
    open_tab(page)
    page.set_input_files("#train-dropped input[type=file]", sorted(tmp_path.glob("*.wav")))
    page.wait_for_selector("#train-dropped >> text=c4_1")
    page.fill("#train-name :is(input, textarea)", "mine")
    page.click("#train-start")
    page.wait_for_selector("[data-testid=toast-body] >> text=Look at the recordings")
    look_at_notes(page)
    page.wait_for_selector("#train-labels >> text=note (4)")
    assert page.is_checked("#train-labels label:has-text('note') input")
    assert not page.is_checked("#train-labels label:has-text('take') input")
    page.click("#train-recipe label:has-text('vocoder')")
    page.wait_for_selector("#train-labels", state="hidden")
    assert page.input_value("#train-steps input") == "12000"
    choose_tiny(page)
    page.fill("#train-steps input", "1")
    page.click("#train-start")
    page.wait_for_function("document.querySelector('#train-run input').value === 'mine'")
    brought = root.parent / "runs" / "mine" / "recordings"
    assert len(list(brought.iterdir())) == 20
    wait_for_state(page, "Finished after step 1")


def test_a_run_is_watched_heard_steered_and_used(
    page: Any, url: str, browser: Any, root: Path
) -> None:
    open_tab(page)
    run = start_long(page, root, "sung")
    page.wait_for_selector("#train-curves >> text=held-out clips")
    page.wait_for_selector("#train-curves >> text=Bits per sample")
    page.wait_for_selector("#train-clip-1 >> text=Step ")
    heard = page.get_attribute("#train-clip-1 a[download]", "href")
    assert page.request.get(heard).body()[:4] == b"RIFF"
    page.click("#train-pause")
    wait_for_state(page, "Paused after step")
    paused = read_status(run).step
    with visit(browser, url) as other:
        open_tab(other)
        wait_for_state(other, f"Paused after step {paused}")
        assert other.input_value("#train-run input") == run.name
        other.click("#train-resume")
        wait_for_state(other, "Training.")
        other.click("#train-stop")
        wait_for_state(other, "Stopped after step")
        other.wait_for_selector("#train-state >> text=offer it as sung")
        assert read_status(run).step > paused
        other.get_by_role("tab", name="Generate").click()
        other.click("#checkpoint input")
        other.click("[role=option]:has-text('" + run.name + "')")
        other.get_by_label("Note", exact=True).first.wait_for()
        assert other.get_by_label("Note", exact=True).first.input_value() == "c4"


def test_a_run_goes_on_when_its_studio_is_killed(url: str, browser: Any, root: Path) -> None:
    """The last test here, for it takes the studio with it."""
    with visit(browser, url) as page:
        open_tab(page)
        folder = start_long(page, root, "left")
    holder, step = folder_lock.lock_holder(folder), read_status(folder).step
    assert holder
    parent = ["ps", "-o", "ppid=", "-p", str(holder)]
    os.kill(int(subprocess.run(parent, capture_output=True, check=True).stdout), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while (status := read_status(folder)).step <= step + 1:
        assert status.state == "running"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not answers(url)
    assert folder_lock.lock_holder(folder) == holder
