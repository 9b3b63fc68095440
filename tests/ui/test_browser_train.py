"""The Train tab in a real browser, with real runs, which outlive the page and the studio."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from wavenet import folder_lock
from wavenet.training.example_run import NAME, STEPS, write_notes
from wavenet.training.run_process import read_control
from wavenet.training.run_status import list_runs, read_status

from .conftest import RATE, save_checkpoint, visit
from .studio_process import TIMEOUT_MS, responds, studio_process

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of checkpoints that runs may add to; all runs are killed at the end."""
    folder = tmp_path_factory.mktemp("train")
    save_checkpoint(folder / "checkpoints", "digits", RATE, {"digit": ("0", "1")})
    yield folder / "checkpoints"
    for name in list_runs(folder / "runs"):
        if holder := folder_lock.lock_holder(folder / "runs" / name):
            os.kill(holder, signal.SIGKILL)


@pytest.fixture(scope="module")
def start_studio(root: Path) -> Iterator[Callable[[], str]]:
    """Return a function that starts a separate studio, because a test kills it."""
    with ExitStack() as studios:
        yield lambda: studios.enter_context(studio_process(root.parent, OMP_NUM_THREADS="1"))


@pytest.fixture(scope="module")
def addresses() -> list[str]:
    """The addresses of the studios of this module; the last one may respond."""
    return []


@pytest.fixture
def url(start_studio: Callable[[], str], addresses: list[str]) -> str:
    """The address of a studio; the first test, and one after a killed studio, start it."""
    if not addresses or not responds(addresses[-1]):
        addresses.append(start_studio())
    return addresses[-1]


def open_tab(page: Any) -> None:
    page.get_by_role("tab", name="Train").click()
    page.wait_for_selector("#train-example")


def wait_for_state(page: Any, text: str) -> None:
    page.wait_for_selector(f"#train-state >> text={text}")


def inspect_notes(page: Any) -> None:
    page.fill("#train-pattern :is(input, textarea)", "{note}_{take}")
    page.wait_for_selector("#train-report >> text=c4, c5, e4, g4")


def choose_tiny(page: Any) -> None:
    page.click("#train-recipe label:has-text('tiny')")
    page.wait_for_selector("#train-about >> text=tiny model")


def start_long(page: Any, root: Path, name: str) -> Path:
    """Start a run on notes that does not end by itself, and wait until it trains."""
    notes = root.parent / "notes"
    if not notes.exists():
        notes.mkdir()
        write_notes(notes)
    page.fill("#train-folder :is(input, textarea)", str(notes))
    inspect_notes(page)
    choose_tiny(page)
    page.fill("#train-name :is(input, textarea)", name)
    page.fill("#train-steps input", "20000")
    page.click("#train-start")
    page.wait_for_function(
        "name => document.querySelector('#train-run input').value === name", arg=name
    )
    folder, deadline = root.parent / "runs" / name, time.monotonic() + TIMEOUT_MS / 1000
    while read_status(folder).state != "running":  # the page may still show another run
        assert time.monotonic() < deadline
        time.sleep(0.1)
    wait_for_state(page, "Training.")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 1280])
def test_labels_of_the_areas_for_files_cover_nothing(page: Any, width: int) -> None:
    """Regression: they covered the icon and touched the text."""
    page.set_viewport_size({"width": width, "height": 900})
    if width < 1000:  # the tab is in the menu
        page.click(".overflow-menu > button")
        page.click(".overflow-dropdown button:has-text('Train')")
    else:
        page.get_by_role("tab", name="Train").click()
    for name in ("uploads", "table"):
        area = page.locator(f"#train-{name}")
        label = area.locator("[data-testid=block-label]").bounding_box()
        top = area.locator("[data-testid=upload-text]").evaluate(
            """(text) => {
              const range = document.createRange();
              range.selectNodeContents(text);
              const boxes = [...range.getClientRects()].filter((box) => box.height);
              return Math.min(...boxes.map((box) => box.top));
            }"""
        )
        assert top >= label["y"] + label["height"], name


def test_example_trains_to_its_end_in_the_waiting_process(page: Any, root: Path) -> None:
    open_tab(page)
    page.click("#train-example")
    wait_for_state(page, f"Finished after step {STEPS}")
    page.wait_for_selector("#train-curves >> text=validation clips")
    page.wait_for_selector(f"#train-clip-1 >> text=Step {STEPS}")
    page.wait_for_selector("#train-clip-2 >> text=Step ")
    page.wait_for_selector(f"#train-state >> text=has its checkpoint as {NAME}")
    page.click("#train-keep")
    page.wait_for_selector(f"#history >> text=preview after step {STEPS}")
    page.click("#train-use")
    page.wait_for_function(
        "name => document.querySelector('#model input').value === name", arg=NAME
    )
    page.wait_for_selector("#generate", state="visible")
    control = read_control(root.parent / "runs" / NAME)
    assert control
    assert control.process_tag, "no process waited for a run when the tab was opened"


@pytest.mark.slow  # other tests check its parts
def test_uploads_are_inspected_by_themselves_and_trained_on(
    page: Any, root: Path, tmp_path: Path
) -> None:
    write_notes(tmp_path)
    (tmp_path / "cover.jpg").write_bytes(b"no audio")
    open_tab(page)
    dropped = [*sorted(tmp_path.glob("*.wav")), tmp_path / "cover.jpg"]
    page.set_input_files("#train-uploads input[type=file]", dropped)
    page.wait_for_selector("#train-report >> text=Not used: cover.jpg is not supported")
    page.click("#train-suggestion >> text={field1}_{field2}")
    page.wait_for_selector("#train-labels >> text=field1 (4)")
    small = "#train-recipe label:has-text('small')"
    size = page.inner_text(small)
    page.click("#train-labels label:has-text('field1') input")
    page.wait_for_function(
        "size => !document.querySelector(`#train-recipe`).innerText.includes(size)", arg=size
    )
    page.fill("#train-name :is(input, textarea)", "mine")
    inspect_notes(page)
    page.wait_for_selector("#train-labels >> text=note (4)")
    assert page.is_checked("#train-labels label:has-text('note') input")
    assert not page.is_checked("#train-labels label:has-text('take') input")
    page.click("#train-recipe label:has-text('vocoder')")
    page.wait_for_function("document.querySelector('#train-steps input').value === '12000'")
    choose_tiny(page)
    page.fill("#train-steps input", "1")
    page.click("#train-start")
    page.wait_for_function("document.querySelector('#train-run input').value === 'mine'")
    copied = root.parent / "runs" / "mine" / "recordings"
    assert len(list(copied.iterdir())) == 20
    wait_for_state(page, "Finished after step 1")


@pytest.mark.slow
def test_run_is_watched_paused_resumed_stopped_and_used(
    page: Any, url: str, browser: Any, root: Path
) -> None:
    open_tab(page)
    run = start_long(page, root, "sung")
    page.wait_for_selector("#train-curves >> text=validation clips")
    page.wait_for_selector("#train-curves >> text=Bits per sample")
    page.wait_for_selector("#train-clip-1 >> text=Step ")
    clip = page.get_attribute("#train-clip-1 a[download]", "href")
    assert page.request.get(clip, max_retries=2).body()[:4] == b"RIFF"
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
        other.wait_for_selector("#train-state >> text=has its checkpoint as sung")
        assert read_status(run).step > paused
        other.click("#model input")
        other.click("[role=option]:has-text('" + run.name + "')")
        other.wait_for_selector("#conditions >> text=c4")


@pytest.mark.slow  # other tests check its parts
def test_pattern_that_fits_no_name_is_told_with_another_one(page: Any, tmp_path: Path) -> None:
    write_notes(tmp_path)
    open_tab(page)
    page.fill("#train-folder :is(input, textarea)", str(tmp_path))
    page.wait_for_selector("#train-report >> text=8,000 Hz")
    page.fill("#train-pattern :is(input, textarea)", "{note}-{take}")
    page.wait_for_selector("#train-report [role=alert] >> text=no file name")
    page.click("#train-suggestion >> text={note}_{take}")
    page.wait_for_selector("#train-labels >> text=note (4)")
    assert page.input_value("#train-pattern :is(input, textarea)") == "{note}_{take}"
    page.fill("#train-folder :is(input, textarea)", "")
    page.wait_for_selector("#train-report >> text=appear here")


@pytest.mark.slow
def test_inspection_can_be_stopped(page: Any, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    write_notes(tmp_path)
    for n in range(4000):
        os.link(tmp_path / "c4_1.wav", tmp_path / "many" / f"{n}.wav")
    open_tab(page)
    page.fill("#train-folder :is(input, textarea)", str(tmp_path / "many"))
    page.wait_for_selector("#train-report >> text=of 4,000 recordings")
    page.click("#train-stop-scan")
    page.wait_for_selector("#train-report >> text=Stopped after")
    page.wait_for_selector("#train-stop-scan[disabled]")


@pytest.mark.slow
def test_dropped_files_keep_the_names_in_their_table(page: Any, tmp_path: Path) -> None:
    write_notes(tmp_path)
    names = ["ZOOM0001.WAV", "it's 5:00! <b>.wav"]
    (tmp_path / "c4_1.wav").rename(tmp_path / names[0])
    (tmp_path / "c4_2.wav").rename(tmp_path / names[1])
    (tmp_path / "metadata.csv").write_text(f"file_name,word\n{names[0]},one\n{names[1]},two\n")
    open_tab(page)
    dropped = [tmp_path / name for name in (*names, "metadata.csv")]
    page.set_input_files("#train-uploads input[type=file]", dropped)
    page.wait_for_selector("#train-report >> text=one, two")
    facts = page.inner_text("#train-report dl.facts")
    assert "Recordings\n2" in facts


@pytest.mark.slow
def test_run_continues_when_its_studio_is_killed(url: str, browser: Any, root: Path) -> None:
    """The next test, if there is one, starts another studio."""
    with visit(browser, url) as page:
        open_tab(page)
        folder = start_long(page, root, "left")
    holder, step = folder_lock.lock_holder(folder), read_status(folder).step
    assert holder
    parent = ["ps", "-o", "ppid=", "-p", str(holder)]
    os.kill(int(subprocess.run(parent, capture_output=True, check=True).stdout), signal.SIGKILL)
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while (status := read_status(folder)).step <= step + 1:
        assert status.state == "running"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert not responds(url)
    assert folder_lock.lock_holder(folder) == holder
    os.kill(holder, signal.SIGKILL)
