"""What the tests of the studio share: small random checkpoints, sounds, and a real browser."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import MuLawCodec
from wavenet.model.conditions import Condition, LabelCondition, PositionCondition
from wavenet.model.wavenet import WaveNetConfig

from .stage import BROWSERS, COMMAND, FLAGS, GUARD, PATIENCE, RECORDER, find_browser, studio

RATE = 8000
# What some machines set to keep programs offline: here the studio has to keep so by itself.
KEPT_OFFLINE = ("HF_HUB_OFFLINE", "GRADIO_ANALYTICS_ENABLED", "DO_NOT_TRACK")
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
    """Save a random network, small unless its `shape` says otherwise."""
    sets = tuple(LabelCondition(name=key, values=values) for key, values in labels.items())
    small = {"residual_channels": 8, "gate_channels": 8, "skip_channels": 16}
    model = WaveNetConfig(
        **small | {"dilations": (1, 2, 4, 8, 16)} | shape,
        conditions=(*sets, *others, PositionCondition()),
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
    # Fresh predictions are almost uniform; these depend on the past and on the labels.
    network.output.weight.mul_(100)
    checkpoint.save(root / name, config, network)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two checkpoints: digits at 8 kHz, and one with another label set at 16 kHz."""
    folder = tmp_path_factory.mktemp("studio") / "checkpoints"
    digits = {"digit": tuple("0123456789"), "speaker": SPEAKERS}
    save_checkpoint(folder, "digits", RATE, digits)
    save_checkpoint(folder, "notes", 2 * RATE, {"instrument": ("flute", "horn")})
    return folder


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """A maker of 16-bit WAV files from samples (T,) or (T, channels)."""

    def save(samples: Any, rate: int = RATE, name: str = "tone", subtype: str = "PCM_16") -> str:
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, np.asarray(samples), rate, subtype=subtype)
        return str(path)

    return save


def tone(seconds: float = 1.0, rate: int = RATE, hertz: float = 440, peak: float = 0.5) -> Any:
    return peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


@pytest.fixture(scope="session")
def shared_url(root: Path) -> Iterator[str]:
    """A studio for all tests that leave it as it was: to start one takes ten seconds.

    Its connections are watched, and refused where they lead out of the machine.
    """
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name in KEPT_OFFLINE:
                patch.delenv(name, raising=False)
            begun = studio(root.parent, GUARD + COMMAND, OMP_NUM_THREADS="1")
            address = stack.enter_context(begun)
        yield address


@pytest.fixture
def url(shared_url: str) -> str:
    """The studio as `wavenet ui` serves it, with the checkpoints of the folder it starts in."""
    return shared_url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless, or a skip that says what is missing."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@contextmanager
def visit(browser: Any, url: str) -> Iterator[Any]:
    """Open the studio as one more user. No request may leave the machine, no script fail."""
    sheet = browser.new_page(viewport={"width": 1280, "height": 900})
    sheet.set_default_timeout(PATIENCE)
    requests: list[str] = []
    faults: list[str] = []
    sheet.on("request", lambda request: requests.append(request.url))
    sheet.on("pageerror", lambda error: faults.append(str(error)))
    sheet.add_init_script(RECORDER)
    sheet.goto(url)
    # The length comes from the checkpoint, once the page has it.
    sheet.wait_for_function("document.querySelector('#seconds input')?.value === '0.5'")
    yield sheet
    outside = [r for r in requests if not r.startswith((url, "blob:", "data:"))]
    sheet.close()
    assert requests
    assert not outside
    assert not faults


@pytest.fixture
def page(url: str, browser: Any) -> Iterator[Any]:
    """The open studio, whatever a test does there."""
    with visit(browser, url) as sheet:
        yield sheet
