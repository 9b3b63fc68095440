"""ZeroGPU with a fake of `spaces`, which pickles arguments and results, and never waits."""

import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import soundfile
import torch

from audio_utils import io
from wavenet.errors import EngineUnavailable
from wavenet.ui import checkpoint_library, generate_tab, zerogpu
from wavenet.ui.event_handling import StopRequests

from .conftest import RATE
from .test_generate_tab import SETTINGS, press_generate, save_conditioned

REAL_IS_AVAILABLE = torch.cuda.is_available


class FakeSpaces(types.ModuleType):
    """A fake package that records its use."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.duration: Any = None
        self.calls = 0
        self.closed = 0
        self.error: Exception | None = None

    def GPU(self, duration: Any) -> Any:
        self.duration = duration

        def decorate(task: Any) -> Any:
            def run_in_worker(*args: Any) -> Iterator[Any]:
                self.calls += 1
                if self.error:
                    raise self.error
                args = pickle.loads(pickle.dumps(args))
                main_answer = torch.cuda.is_available
                torch.cuda.is_available = REAL_IS_AVAILABLE
                results, error = [], None
                try:
                    # The worker completes everything before the page receives anything.
                    for result in task(*args):
                        results.append(pickle.dumps(result))
                except Exception as raised:
                    error = raised
                finally:
                    torch.cuda.is_available = main_answer
                try:
                    yield from map(pickle.loads, results)
                except GeneratorExit:
                    self.closed += 1
                    raise
                if error:
                    raise error

            return run_in_worker

        return decorate


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSpaces:
    """A ZeroGPU Space on which the studio uses GPUs."""
    module = FakeSpaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(generate_tab, "run_generation", generate_tab.run_generation)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert zerogpu.use_zerogpu()
    assert not torch.cuda.is_available(), "the main process reports a GPU"
    zerogpu.working_engine.cache_clear()
    return module


def saved_samples(outputs: list[tuple[Any, ...]]) -> np.ndarray:
    """Read the only WAV file of the last outputs."""
    files = [
        value["value"]
        for value in outputs[-1]
        if isinstance(value, dict) and str(value.get("value")).endswith(".wav")
    ]
    assert len(files) == 1
    return soundfile.read(files[0], dtype="int16")[0]


def test_worker_generates_the_same_audio_and_its_file_stays(
    root: Path, spaces: FakeSpaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = []
    with monkeypatch.context() as patch:
        patch.setattr(generate_tab, "run_generation", zerogpu.run_locally)
        for output in press_generate(root):
            local.append(output)
            if not output[0].get("pcm"):
                expected = saved_samples(local)  # now, because the run deletes the file
    assert spaces.calls == 0
    remote = list(press_generate(root))
    assert spaces.calls == 1
    assert np.array_equal(saved_samples(remote), expected)
    assert remote[-1][0]["end"]
    assert len(remote[-1]) == len(generate_tab.OUTPUTS)


def test_other_machines_are_unaffected(monkeypatch: pytest.MonkeyPatch) -> None:
    before = generate_tab.run_generation, torch.cuda.is_available
    monkeypatch.setitem(sys.modules, "spaces", FakeSpaces())
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert not zerogpu.use_zerogpu()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", None)
    assert not zerogpu.use_zerogpu()
    assert (generate_tab.run_generation, torch.cuda.is_available) == before


def test_cpu_is_used_if_no_gpu_is_available(
    root: Path, spaces: FakeSpaces, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces.error = gr.Error("You have used up your quota")
    outputs = list(press_generate(root))
    assert spaces.calls == 1
    assert outputs[-1][0]["end"]
    assert not outputs[-1][0]["error"]
    assert "quota" in capsys.readouterr().err
    with pytest.raises(gr.Error, match="quota"):
        list(press_generate(root, engine="gpu"))


def test_cpu_engine_uses_no_gpu(root: Path, spaces: FakeSpaces) -> None:
    assert list(press_generate(root, engine="cpu"))[-1][0]["end"]
    assert spaces.calls == 0


def test_invalid_setting_is_one_error_without_a_second_attempt(
    root: Path, spaces: FakeSpaces
) -> None:
    outputs = press_generate(root, seconds=0)
    assert "seconds" in next(outputs)[0]["error"]
    with pytest.raises(gr.Error):
        next(outputs)
    assert spaces.calls == 1


def test_stop_request_ends_a_run_in_the_worker(root: Path, spaces: FakeSpaces) -> None:
    stop_requests = StopRequests()
    outputs = press_generate(root, stop_requests=stop_requests, seconds=2)
    assert "pcm" in next(outputs)[0]
    stop_requests.add(SETTINGS["job_number"])
    assert list(outputs) == []
    assert spaces.closed == 1


def test_requested_gpu_time_grows_with_the_length_up_to_a_limit(
    root: Path, spaces: FakeSpaces
) -> None:
    def gpu_seconds(seconds: Any) -> int:
        values = (SETTINGS | {"seconds": seconds}).values()
        return int(spaces.duration(root, *values))

    assert gpu_seconds(1) < gpu_seconds(10) <= zerogpu.MAX_GPU_SECONDS
    assert gpu_seconds(1e30) == zerogpu.MAX_GPU_SECONDS
    for invalid in (None, -5, float("nan")):
        assert gpu_seconds(invalid) == zerogpu.START_SECONDS


def test_requested_gpu_time_of_a_vocoder_depends_on_its_recording(
    tmp_path: Path, spaces: FakeSpaces
) -> None:
    save_conditioned(tmp_path)

    def gpu_seconds(source: Path | None) -> int:
        changes = {"name": "vocoder", "seconds": 1000, "source": source and str(source)}
        return int(spaces.duration(tmp_path, *(SETTINGS | changes).values()))

    for seconds in (1, 5):
        source = tmp_path / f"{seconds}.wav"
        io.write(source, torch.zeros(seconds * RATE), RATE)
        expected = zerogpu.START_SECONDS + seconds * zerogpu.COMPUTE_PER_AUDIO_SECOND
        assert gpu_seconds(source) == expected
    assert gpu_seconds(None) == gpu_seconds(tmp_path / "missing.wav") == zerogpu.START_SECONDS


def test_engines_that_fail_on_this_gpu_are_skipped(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def warm_up(checkpoint: Any, engine: str) -> None:
        tried.append(engine)
        if engine == "gpu":
            raise RuntimeError("ptxas: unsupported architecture sm_120")
        if engine == "graph":
            raise EngineUnavailable("no graphs")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(zerogpu, "warm_up", warm_up)
    monkeypatch.setattr(zerogpu, "device_for", lambda _: torch.device("cpu"))
    monkeypatch.setattr(checkpoint_library, "device_for", lambda _: torch.device("cpu"))
    zerogpu.working_engine.cache_clear()
    assert zerogpu.working_engine(root, "digits") == "cached"
    assert tried == ["gpu", "graph", "cached"]
    assert "sm_120" in capsys.readouterr().err
    zerogpu.working_engine.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert zerogpu.working_engine(root, "digits") == "auto"
    zerogpu.working_engine.cache_clear()
