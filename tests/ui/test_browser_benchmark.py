"""The benchmark of the studio measures the first audio, late audio and silence.

Its numbers are not judged here, because machines are busy; `benchmarks/README.md` has them.
"""

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import RATE, save_checkpoint
from .studio_process import ROOT, TIMEOUT_MS, studio_process

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def bench() -> Any:
    spec = importlib.util.spec_from_file_location("studio", ROOT / "benchmarks" / "studio.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that needs seconds for the longest clip, but is faster than real time."""
    folder = tmp_path_factory.mktemp("sound") / "checkpoints"
    wide = {"residual_channels": 32, "gate_channels": 32, "skip_channels": 128}
    dilations = tuple(1 << n for n in range(8)) * 3
    save_checkpoint(folder, "digits", RATE, {"digit": ("0", "1")}, dilations=dilations, **wide)
    return folder


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """The address of a studio with that checkpoint."""
    with studio_process(root.parent, OMP_NUM_THREADS="1") as address:
        yield address


@pytest.fixture
def measured_page(bench: Any, url: str, browser: Any) -> Iterator[Any]:
    """A warm page with the scripts of the benchmark."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    bench.record_sound(page)
    page.goto(url)
    page.wait_for_selector('#viewer .viewer[data-state="shown"]')
    bench.measure_start(page, 0.5, 1)
    yield page
    page.close()


def add_latency(page: Any, pattern: str, seconds: float) -> None:
    """Delay all requests of the page to matching addresses."""

    def delay(route: Any) -> None:
        time.sleep(seconds)
        route.continue_()

    page.route(pattern, delay)


@pytest.mark.slow  # test_browser_generate waits for the first audio, too
def test_first_audio_is_measured_with_its_latency(bench: Any, measured_page: Any) -> None:
    assert bench.measure_start(measured_page, 0.5, 2)["first_sound_s"] > 0
    add_latency(measured_page, "**/queue/join*", 1)
    assert bench.measure_start(measured_page, 0.5, 3)["first_sound_s"] >= 1


@pytest.mark.slow  # other tests check its parts
def test_silence_and_free_model_after_stop_are_measured(
    bench: Any, measured_page: Any, url: str
) -> None:
    stopped = bench.measure_stop(measured_page, url, 4)
    assert 0 <= stopped["silence_s"] < bench.LONG_SECONDS / 2, "the clip played on"
    assert 0 < stopped["next_clip_s"] < TIMEOUT_MS / 1000
