"""The benchmark of the studio hears what there is to hear, and sees what comes late.

No figure is judged here: machines are busy. They stand in `benchmarks/README.md`.
"""

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import RATE, save_checkpoint
from .stage import PATIENCE, ROOT, studio

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
    """A checkpoint that is at work for seconds on the longest clip, and yet sooner than heard."""
    folder = tmp_path_factory.mktemp("sound") / "checkpoints"
    wide = {"residual_channels": 32, "gate_channels": 32, "skip_channels": 128}
    dilations = tuple(1 << n for n in range(8)) * 3
    save_checkpoint(folder, "digits", RATE, {"digit": ("0", "1")}, dilations=dilations, **wide)
    return folder


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """A studio that offers it."""
    with studio(root.parent, OMP_NUM_THREADS="1") as address:
        yield address


@pytest.fixture
def heard(bench: Any, url: str, browser: Any) -> Iterator[Any]:
    """A page with the listener of the benchmark, warm."""
    sheet = browser.new_page()
    sheet.set_default_timeout(PATIENCE)
    bench.listen(sheet)
    sheet.goto(url)
    sheet.wait_for_selector("#generate:not([disabled])")
    bench.measure_start(sheet, 0.5, 1)
    yield sheet
    sheet.close()


def hold(page: Any, pattern: str, seconds: float) -> None:
    """Let what the page sends to such an address go out late."""

    def late(route: Any) -> None:
        time.sleep(seconds)
        route.continue_()

    page.route(pattern, late)


def test_the_first_sound_is_heard_and_a_late_one_is_seen(bench: Any, heard: Any) -> None:
    first = bench.measure_start(heard, 0.5, 2)["first_sound_s"]
    assert 0 < first < 5
    hold(heard, "**/queue/join*", 1)
    assert bench.measure_start(heard, 0.5, 3)["first_sound_s"] >= 1


def test_stop_is_heard_and_seen_by_who_waits(bench: Any, heard: Any, url: str) -> None:
    stopped = bench.measure_stop(heard, url, 4)
    assert 0 <= stopped["silence_s"] < 2
    assert 0 < stopped["worker_free_s"] < 5
