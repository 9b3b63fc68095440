"""What the tests of the studio share: a folder of small random checkpoints, and a real browser."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from wavenet import checkpoint
from wavenet.conditions import Condition, LabelCondition, PositionCondition
from wavenet.config import AudioConfig, CheckpointConfig, CodecConfig, ModelConfig

RATE = 8000
SPEAKERS = ("george", "jackson", "<img src=x onerror=alert(1)>")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Records every buffer that is scheduled, and lets the test measure what sounds now.
RECORDER = """
window.scheduled = [];
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (when) {
  const samples = Array.from(this.buffer.getChannelData(0), (x) => Math.round(x * 32768));
  window.scheduled.push({ when, rate: this.buffer.sampleRate, samples, at: performance.now() });
  return start.call(this, when);
};
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (!(target instanceof AudioDestinationNode)) return connect.call(this, target, ...rest);
  if (!target.meter) {
    target.meter = target.context.createAnalyser();
    connect.call(target.meter, target);
  }
  window.meter = target.meter;
  return connect.call(this, target.meter);
};
window.level = () => {
  if (!window.meter) return 0;
  const samples = new Float32Array(window.meter.fftSize);
  window.meter.getFloatTimeDomainData(samples);
  return Math.max(...samples.map(Math.abs));
};
document.addEventListener('click', () => { window.clicked = performance.now(); }, true);
"""


@torch.no_grad()
def save_checkpoint(
    root: Path,
    name: str,
    rate: int,
    labels: dict[str, tuple[str, ...]],
    *others: Condition,
) -> None:
    sets = tuple(LabelCondition(name=key, values=values) for key, values in labels.items())
    model = ModelConfig(
        residual_channels=8,
        gate_channels=8,
        skip_channels=16,
        dilations=(1, 2, 4, 8, 16),
        conditions=(*sets, *others, PositionCondition()),
        condition_channels=16,
    )
    config = CheckpointConfig(
        name=name,
        audio=AudioConfig(sample_rate=rate),
        codec=CodecConfig(),
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def url(root: Path) -> Iterator[str]:
    """The studio as `wavenet ui` serves it, with the checkpoints of the folder it starts in."""
    port = free_port()
    source = str(Path(__file__).parents[2])
    command = "from wavenet.cli.main import main; main()"
    log = root.parent / "studio.log"
    with log.open("w") as output:
        studio = subprocess.Popen(
            [sys.executable, "-c", command, "ui", "--port", str(port)],
            cwd=root.parent,
            env=os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 90
        while not answers(address):
            assert studio.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        studio.terminate()
        studio.wait(10)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, headless, or a skip that says what is missing."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


@pytest.fixture
def page(url: str, browser: Any) -> Iterator[Any]:
    """The open studio. Whatever a test does, no request may leave the machine, no script fail."""
    sheet = browser.new_page(viewport={"width": 1280, "height": 900})
    sheet.set_default_timeout(30_000)
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
