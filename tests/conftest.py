"""Fixtures of all tests: tiny models, tiny checkpoints, computed sounds, a single thread."""

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

from wavenet import checkpoint
from wavenet.checkpoint import AudioConfig, CheckpointConfig
from wavenet.codec import LinearCodec, MuLawCodec
from wavenet.model.architectures import ARCHITECTURES
from wavenet.model.autoregressive_model import AutoregressiveModel
from wavenet.model.conditioning import Conditioning
from wavenet.model.conditions import (
    FramesCondition,
    LabelCondition,
    NumberCondition,
    PositionCondition,
    VectorCondition,
)
from wavenet.model.model_config import CategoricalOutput, ModelConfig, Output
from wavenet.model.statistics_model import StatisticsModel, uses_statistics
from wavenet.model.wavenet import WaveNetConfig

RATE = 8000
# property tests: seeded, and without a time limit
settings.register_profile(
    "seeded",
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("seeded")
if not torch.cuda.is_available():
    # read when triton is imported, also by parts of torch: its interpreter then runs the kernels
    os.environ.setdefault("TRITON_INTERPRET", "1")


def _close_event_loop(loop: asyncio.BaseEventLoop) -> None:
    """Close an unreferenced event loop without a warning.

    Gradio 6.31 creates an event loop for each queue or lock built outside of one, and never closes
    it. The garbage collector reports it later, in an unrelated test. A filter of warnings does not
    suffice: pytest installs its filters anew for each test, with "error" first.
    """
    if not loop.is_closed() and not loop.is_running():
        loop.close()


asyncio.BaseEventLoop.__del__ = _close_event_loop  # type: ignore[attr-defined]


# Coverage makes Python code a third to three times slower. It is therefore measured on request, and
# without these tests, which need most of the time. The packages that only they test are omitted
# from the report (pyproject.toml).
UNMEASURED = ("batch", "corpus", "engines", "evaluation", "faults", "fuzz", "training", "ui")

# Files of these folders have the longest tests. They run first, so that the processes, which each
# take one file at a time, finish at about the same time.
LONG_FOLDERS = ("ui", "training", "engines", "batch")

# Files that use the studio of the browser tests. A start needs ten seconds.
STUDIO_FILES = ("test_checked_blocks.py", "test_host_check.py", "test_upload_names.py")


def _folder(item: pytest.Item) -> str:
    """Return the first folder of a test below tests/."""
    return item.path.relative_to(Path(__file__).parent).parts[0]


class FileScheduling(LoadScopeScheduling):
    """Gives each process the tests of one file at a time, and one process all tests of the studio.

    The browser tests wait for audio most of the time. One process runs them all, with one studio,
    while the others compute. (`--dist loadgroup` of xdist 3.8 ignores the groups with pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "studio" if _is_studio_file(file) else file


def _is_studio_file(file: str) -> bool:
    """Return whether the tests of a file use a browser or the shared studio."""
    name = Path(file).name
    return name.startswith("test_browser") or name in STUDIO_FILES


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    """Return the scheduler of the tests."""
    return FileScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest tests to the beginning; turn coverage off for the folders in `UNMEASURED`.

    The sort is stable, so the tests of a file stay together.
    """
    items.sort(
        key=lambda item: (not _is_studio_file(item.path.name), _folder(item) not in LONG_FOLDERS)
    )
    for item in items:
        if _folder(item) in UNMEASURED:
            item.add_marker(pytest.mark.no_cover)


@pytest.fixture(autouse=True, scope="session")
def no_user_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the settings and the checkpoints of the person who runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Use one thread: more do not make small tensors faster, and sums keep their order."""
    torch.set_num_threads(1)


@pytest.fixture
def python_sigint() -> Iterator[None]:
    """Install Python's handler of SIGINT.

    A shell starts a background process with SIGINT ignored, and its children inherit that.
    """
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded generator."""
    return np.random.default_rng(0)


def tiny_config(
    kernel_size: int = 2,
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2),
    conditions: str = "both",
    hop: int = 7,
    widths: tuple[int, int, int] = (8, 12, 10),
    output: Output | None = None,
) -> WaveNetConfig:
    """Return a small network config.

    `conditions` is none, label, position, both (label and position), frames, or all (every kind).
    """
    chosen: list[Any] = []
    if conditions in ("label", "both"):
        chosen.append(LabelCondition(name="digit", values=("a", "b", "c"), channels=4))
    if conditions in ("position", "both"):
        chosen.append(PositionCondition(harmonics=2))
    if conditions in ("frames", "all"):
        chosen.append(FramesCondition(name="curve", columns=3, channels=4, context=2))
    if conditions == "all":
        chosen.append(LabelCondition(name="voice", values=("a", "b", "c"), channels=3, dropout=0.2))
        chosen.append(NumberCondition(name="level", low=-40.0, high=0.0, unit="dB"))
        chosen.append(VectorCondition(name="timbre", size=4, dropout=0.1))
        chosen.append(FramesCondition(name="other", columns=2, channels=5, context=0))
        chosen.append(PositionCondition(harmonics=1))
    return WaveNetConfig(
        residual_channels=widths[0],
        gate_channels=widths[1],
        skip_channels=widths[2],
        kernel_size=kernel_size,
        dilations=dilations,
        output=output or CategoricalOutput(),
        conditions=tuple(chosen),
        condition_channels=8,
        condition_hop=hop,
    )


def make_condition_values(model: AutoregressiveModel[Any], row: int) -> dict[str, Any]:
    """Choose the condition values of clip `row`; every third clip omits the optional ones."""
    values: dict[str, Any] = {c.name: "abc"[row % 3] for c in model.config.labels}
    for condition in model.config.globals:
        numbers = torch.linspace(-1, 1, condition.width) * (row + 1)
        values[condition.name] = -5.0 * (row % 8) if condition.width == 1 else numbers
    omitted = model.config.droppable if row % 3 == 1 else frozenset()
    return {name: value for name, value in values.items() if name not in omitted}


def make_frame_features(model: AutoregressiveModel[Any], row: int, samples: int) -> torch.Tensor:
    """Draw the frame features of clip `row`: (F, columns)."""
    frames = 1 + samples // model.config.condition_hop
    columns = model.config.columns
    generator = torch.Generator().manual_seed(row)
    return torch.randn(frames if columns else 0, columns, generator=generator)


def tiny_model(config: ModelConfig | None = None, bits: int = 5, seed: int = 0) -> Any:
    """Build a small network whose weights are large enough for predictions that differ."""
    config = config or tiny_config()
    torch.manual_seed(seed)
    model = ARCHITECTURES[config.architecture].model(config, bits, RATE)
    model.requires_grad_(False).eval()
    if isinstance(model, StatisticsModel):
        if uses_statistics(model):
            observe_noise(model)
        return model
    for parameter in model.parameters():
        parameter.mul_(2)
    if model.config.output.kind == "categorical":
        model.output.weight.mul_(10)
    else:  # narrow enough for samples that differ from their neighbours
        components = model.config.output.components
        model.output.bias[-components:] -= 4
    return model


def observe_noise(model: StatisticsModel[Any], seed: int = 0) -> None:
    """Add clips of a filtered noise to the statistics; the clips of a label have their own seed."""
    counts = [len(label.values) for label in model.config.labels]
    rows = torch.tensor(list(itertools.product(*map(range, counts))))
    noise = torch.randn(len(rows), 3000, generator=torch.Generator().manual_seed(seed))
    steps = (noise.cumsum(1) + 0.7 * noise) * model.n_classes / 16
    codes = (steps.long() % model.n_classes).contiguous()
    empty, samples = torch.zeros(len(rows), 1, 0), torch.full((len(rows),), codes.shape[1])
    first = torch.zeros_like(samples)
    conditioning = Conditioning(model.condition, rows, empty, empty, first, samples, 80)
    model.observe(codes, torch.ones_like(codes, dtype=torch.bool), conditioning)


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> Callable[..., checkpoint.Checkpoint]:
    """Return a function that saves a small checkpoint and loads it."""

    def make(
        config: ModelConfig | None = None, bits: int = 8, name: str = "tiny"
    ) -> checkpoint.Checkpoint:
        config = config or tiny_config()
        checkpoint_config = CheckpointConfig(
            name=name,
            audio=AudioConfig(sample_rate=RATE),
            codec=LinearCodec() if bits == 16 else MuLawCodec(bits=bits),
            model=config,
            default_seconds=0.05,
        )
        checkpoint.save(tmp_path / name, checkpoint_config, tiny_model(config, bits))
        return checkpoint.load(tmp_path / name)

    return make


def overflow(folder: Path) -> None:
    """Make the weights of a checkpoint so large that its predictions are not finite."""
    loaded = checkpoint.load(folder)
    for parameter in loaded.model.parameters():
        parameter.mul_(1e25)
    checkpoint.save(folder, loaded.config, loaded.model)


def sine(seconds: float = 0.5, frequency: float = 440.0, rate: int = RATE) -> torch.Tensor:
    """Compute a sine at half of full scale: (T,)."""
    return 0.5 * torch.sin(2 * torch.pi * frequency * torch.arange(round(seconds * rate)) / rate)
