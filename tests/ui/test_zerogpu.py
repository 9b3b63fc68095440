"""ZeroGPU with a fake of `spaces`, which pickles arguments and results, and never waits."""

import os
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

from wavenet.devices import DEVICE_VARIABLE
from wavenet.errors import EngineUnavailable
from wavenet.ui import zerogpu
from wavenet.ui.event_handling import StopRequests
from wavenet.ui.generate.generate_events import Start, start_here

from .conftest import bare_page
from .test_generate_events import SETTINGS, press_generate, samples, save_prompt

pytestmark = pytest.mark.usefixtures("uploads")

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
def spaces(monkeypatch: pytest.MonkeyPatch) -> FakeSpaces:
    """A ZeroGPU Space on which the studio uses GPUs; torch reports one in every process."""
    module = FakeSpaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv(DEVICE_VARIABLE, "")  # so that the end of the test removes what it sets
    monkeypatch.delenv(DEVICE_VARIABLE)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    zerogpu.working_engine.cache_clear()
    return module


@pytest.fixture
def start(spaces: FakeSpaces) -> Start:
    """What starts a job on the Space."""
    return zerogpu.choose_start()


def generated(root: Path, start: Start, **changes: Any) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Return the samples of the saved clip and all outputs."""
    page = bare_page(root)
    token = page.clips.visitor(None)
    outputs = list(press_generate(page, token, start=start, **changes))
    (clip,) = page.clips.clips(token)
    return samples(clip), outputs


def test_worker_generates_the_same_audio_and_its_file_stays(
    root: Path, spaces: FakeSpaces, start: Start
) -> None:
    expected, _ = generated(root, start_here)
    assert spaces.calls == 0
    remote, outputs = generated(root, start)
    assert spaces.calls == 1
    assert np.array_equal(remote, expected)
    assert [o["player"]["error"] for o in outputs if o.get("player", {}).get("end")] == [None]


def test_the_main_process_uses_no_gpu(spaces: FakeSpaces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda")
    zerogpu.choose_start()
    assert os.environ[DEVICE_VARIABLE] == "cpu"


def test_other_machines_are_unaffected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    before = torch.cuda.is_available
    monkeypatch.setitem(sys.modules, "spaces", FakeSpaces())
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert zerogpu.choose_start() is start_here
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", None)
    assert zerogpu.choose_start() is start_here
    assert torch.cuda.is_available is before
    assert DEVICE_VARIABLE not in os.environ


def test_cpu_is_used_if_no_gpu_is_available(
    root: Path, spaces: FakeSpaces, start: Start, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces.error = gr.Error("You have used up your quota")
    fallback, _ = generated(root, start)
    assert spaces.calls == 1
    assert "quota" in capsys.readouterr().err
    assert np.array_equal(fallback, generated(root, start_here)[0])


def test_an_error_after_the_first_chunk_does_not_generate_the_clip_again(root: Path) -> None:
    def lose(*arguments: Any) -> Iterator[Any]:
        yield next(zerogpu.run_in_worker(*arguments))
        raise gr.Error("the worker died")

    page = bare_page(root)
    token = page.clips.visitor(None)
    outputs = press_generate(page, token, start=zerogpu.with_local_fallback(lose), seconds=20)
    with pytest.raises(gr.Error, match="the worker died"):
        list(outputs)
    (clip,) = page.clips.clips(token)
    assert clip.is_partial


def test_cpu_engine_uses_no_gpu(root: Path, spaces: FakeSpaces, start: Start) -> None:
    generated(root, start, engine="cpu")
    assert spaces.calls == 0


def test_invalid_setting_uses_no_gpu(root: Path, spaces: FakeSpaces, start: Start) -> None:
    outputs = press_generate(bare_page(root), start=start, seconds=0)
    assert "seconds" in next(outputs)["player"]["error"]
    with pytest.raises(gr.Error):
        next(outputs)
    assert spaces.calls == 0


def test_stop_request_ends_a_run_in_the_worker(
    root: Path, spaces: FakeSpaces, start: Start
) -> None:
    page, stop_requests = bare_page(root), StopRequests()
    token = page.clips.visitor(None)
    outputs = press_generate(page, token, stop_requests, start, seconds=2)
    assert "pcm" in next(outputs)["player"]
    stop_requests.add(SETTINGS["job_number"])
    assert not any("pcm" in output.get("player", {}) for output in outputs)
    assert spaces.closed == 1
    assert page.clips.clips(token)[0].is_partial


def test_requested_gpu_time_grows_with_the_length_up_to_a_limit(
    spaces: FakeSpaces, start: Start
) -> None:
    assert spaces.duration(1, "x") < spaces.duration(10, "x") <= zerogpu.MAX_GPU_SECONDS
    assert spaces.duration(1e30) == zerogpu.MAX_GPU_SECONDS
    assert spaces.duration(0) == zerogpu.START_SECONDS


def test_the_worker_is_told_the_length_of_the_whole_output(root: Path, tmp_path: Path) -> None:
    told = []

    def record(seconds: float, *others: Any) -> Iterator[Any]:
        told.append(seconds)
        return zerogpu.run_in_worker(seconds, *others)

    def run(**changes: Any) -> None:
        generated(root, zerogpu.with_local_fallback(record), **changes)

    run()
    run(prompt=save_prompt(tmp_path, "sine"))
    assert told == [0.15, pytest.approx(0.15 + 0.5)]


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
    load = zerogpu.load
    monkeypatch.setattr(zerogpu, "load", lambda folder, _: load(folder, torch.device("cpu")))
    zerogpu.working_engine.cache_clear()
    assert zerogpu.working_engine(root / "digits") == "cached"
    assert tried == ["gpu", "graph", "cached"]
    assert "sm_120" in capsys.readouterr().err
    zerogpu.working_engine.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert zerogpu.working_engine(root / "digits") == "auto"
    zerogpu.working_engine.cache_clear()
