"""Fixtures of the studio tests: small random checkpoints, recordings, and a real browser."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.detection.calibration import make_calibration, write_calibration
from wavenet.detection.tail_thresholds import TailThresholds
from wavenet.detection.window_means import WINDOW_SECONDS
from wavenet.model.conditions import Condition, LabelCondition, PositionCondition
from wavenet.model.wavenet import WaveNetConfig
from wavenet.ui import studio_app
from wavenet.ui.clip_history.clip_store import ClipStore
from wavenet.ui.page import Page
from wavenet.ui.turns import Turns

from .comparison_folder import OTHERS, write_comparison, write_member
from .effect_folder import save_effect
from .studio_process import (
    BROWSERS,
    COMMAND,
    FLAGS,
    NETWORK_GUARD,
    RECORDER_JS,
    TIMEOUT_MS,
    find_browser,
    studio_process,
)

RATE = 8000
VIEWPORT = {"width": 1280, "height": 900}  # px
# Variables that keep programs offline on some machines; here the studio itself must stay offline.
OFFLINE_VARIABLES = ("HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "DO_NOT_TRACK")
SPEAKERS = ("george", "jackson", "<img src=x onerror=alert(1)>")


@torch.no_grad()
def save_checkpoint(
    root: Path,
    name: str,
    rate: int,
    labels: dict[str, tuple[str, ...]],
    *others: Condition,
    **shape: Any,
) -> None:
    """Save a random network of small size by default; `shape` sets other sizes."""
    label_conditions = tuple(LabelCondition(name=key, values=v) for key, v in labels.items())
    small = {"residual_channels": 8, "gate_channels": 8, "skip_channels": 16}
    model = WaveNetConfig(
        **small | {"dilations": (1, 2, 4, 8, 16)} | shape,
        conditions=(*label_conditions, *others, PositionCondition()),
        condition_channels=16,
    )
    config = CheckpointConfig(
        name=name,
        audio=AudioConfig(sample_rate=rate),
        codec=MuLawCodec(),
        model=model,
        default_seconds=0.5,
    )
    torch.manual_seed(0)
    network = checkpoint.build(config)
    # Initial predictions are almost uniform; larger weights depend on the past and the labels.
    network.output.weight.mul_(100)
    checkpoint.save(root / name, config, network)


def save_calibration(folder: Path) -> None:
    """Write a calibration of a checkpoint, under which many places are improbable."""
    loaded = checkpoint.load(folder)
    thresholds = TailThresholds(
        rates=(100.0, 1.0),
        thresholds=tuple((1.0 + 0.1 * n, 2.0 + 0.1 * n) for n in range(len(WINDOW_SECONDS))),
        scales=(0.1,) * len(WINDOW_SECONDS),
        hours=1.0,
        recordings=2,
    )
    write_calibration(folder, make_calibration(loaded, thresholds))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two checkpoints: digits at 8 kHz, one with another label at 16 kHz.

    Only digits has a calibration. The folder also has a small comparison, beside it a transformer
    and a state-space model, and an effect with a knob.
    """
    folder = tmp_path_factory.mktemp("studio") / "checkpoints"
    digits = {"digit": tuple("0123456789"), "speaker": SPEAKERS}
    save_checkpoint(folder, "digits", RATE, digits)
    save_calibration(folder / "digits")
    save_checkpoint(folder, "notes", 2 * RATE, {"instrument": ("flute", "horn")})
    save_effect(folder / "overdrive")
    write_comparison(folder / "compare")
    for name, config in OTHERS.items():
        write_member(folder / "compare" / name, config)
    return folder


@pytest.fixture
def uploads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of uploads and results, for one test."""
    folder = tmp_path / "uploads"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


def bare_page(root: Path) -> Page:
    """Return a page without components, for callbacks that need only its model, clips and turns."""
    components = dict.fromkeys(
        ("token", "saved", "tabs", "model", "about", "conditions", "history")
    )
    return Page(root=root, clips=ClipStore(), turns=Turns(), **components)  # type: ignore[arg-type]


def build_page(root: Path) -> tuple[gr.Blocks, Page]:
    """Build the studio; return it with its page."""
    built: list[Page] = []
    build = studio_app._build_page

    def keep(*arguments: Any) -> Page:
        built.append(build(*arguments))
        return built[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(studio_app, "_build_page", keep)
        studio = studio_app.build_studio(root)
    return studio, built[0]


@pytest.fixture(scope="session")
def studio_page(root: Path) -> Page:
    """The page of a studio with the checkpoints of `root`; its clips and turns are shared."""
    return build_page(root)[1]


@pytest.fixture
def save_wav(tmp_path: Path) -> Callable[..., str]:
    """Return a function that saves samples (T,) or (T, channels) as a 16-bit WAV file."""

    def save(samples: Any, rate: int = RATE, name: str = "tone", subtype: str = "PCM_16") -> str:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.asarray(samples), rate, subtype=subtype)
        return str(path)

    return save


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440, peak: float = 0.5) -> Any:
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="session")
def shared_url(root: Path) -> Iterator[str]:
    """A studio for all tests that do not change it, because a start needs ten seconds.

    Its connections are logged, and refused if they go to another machine.
    """
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name in OFFLINE_VARIABLES:
                patch.delenv(name, raising=False)
            started = studio_process(root.parent, NETWORK_GUARD + COMMAND, OMP_NUM_THREADS="1")
            address = stack.enter_context(started)
        yield address


@pytest.fixture
def url(shared_url: str) -> str:
    """The address of a studio as `wavenet ui` serves it, with the checkpoints of `root`."""
    return shared_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; the tests are skipped if it is missing."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


def wait_for_load(page: Any) -> None:
    """Wait until the page works: at the end of its load, the checkpoint sets the length."""
    page.wait_for_function("document.querySelector('#seconds input')?.value === '0.5'")


@contextmanager
def checked_visit(page: Any, url: str, query: str = "") -> Iterator[Any]:
    """Load the studio in an empty tab; check that all requests stay here and no script fails."""
    page.set_default_timeout(TIMEOUT_MS)
    requests: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    with closing(page):
        page.goto(url + query)
        wait_for_load(page)
        page.wait_for_selector("#history li", state="attached")  # the first clip is ready
        yield page
    external = [r for r in requests if not r.startswith((url, "blob:", "data:"))]
    assert requests
    assert not external
    assert not errors


@contextmanager
def visit(browser: Any, url: str) -> Iterator[Any]:
    """Open the studio as another user, whose browser shares nothing with that of `page`."""
    page = browser.new_page(viewport=VIEWPORT)
    page.add_init_script(RECORDER_JS)
    with checked_visit(page, url) as opened:
        yield opened


@pytest.fixture(scope="module")
def profile(browser: Any) -> Iterator[Any]:
    """A browser context of the tests of a module, which load the studio from its cache."""
    context = browser.new_context(viewport=VIEWPORT)
    context.add_init_script(RECORDER_JS)
    yield context
    context.close()


@pytest.fixture
def opener(profile: Any, url: str) -> Any:
    """A small page of the studio, which opens tabs in its own process.

    The first tab of `profile` is kept for that. A new process would load the studio again from its
    sources: with cache and process a visit needs half of the processor time.
    """
    first = profile.pages[0] if profile.pages else profile.new_page()
    address = f"{url}/robots.txt"
    if first.url != address:
        first.goto(address)
    return first


@contextmanager
def fresh_visit(opener: Any, url: str, query: str = "") -> Iterator[Any]:
    """Open the studio in a new tab as a user who has never been here.

    A new tab has its own viewport, emulation, handlers of requests and session storage. What the
    tabs of a context share is deleted.
    """
    opener.context.clear_cookies()
    opener.evaluate("localStorage.clear()")
    with opener.context.expect_page() as tab:
        opener.evaluate("() => { window.open('about:blank'); }")
    with checked_visit(tab.value, url, query) as opened:
        yield opened


@pytest.fixture
def page(opener: Any, url: str) -> Iterator[Any]:
    """A page with the open studio."""
    with fresh_visit(opener, url) as opened:
        yield opened
