"""ZeroGPU with a stand-in for `spaces`: like it, it pickles both ways and never waits."""

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

from wavenet.errors import EngineUnavailable
from wavenet.ui import live, zerogpu
from wavenet.ui.live import Stops

from .test_generate_tab import SETTINGS, press

torch_answer = torch.cuda.is_available


class Spaces(types.ModuleType):
    """Knows what was asked of it."""

    def __init__(self) -> None:
        super().__init__("spaces")
        self.duration: Any = None
        self.calls = 0
        self.closed = 0
        self.fault: Exception | None = None

    def GPU(self, duration: Any) -> Any:
        self.duration = duration

        def decorate(task: Any) -> Any:
            def borrowed(*args: Any) -> Iterator[Any]:
                self.calls += 1
                if self.fault:
                    raise self.fault
                args = pickle.loads(pickle.dumps(args))
                here, torch.cuda.is_available = torch.cuda.is_available, torch_answer
                results, fault = [], None
                try:
                    # The worker is done with all of it before the page has seen anything.
                    for result in task(*args):
                        results.append(pickle.dumps(result))
                except Exception as error:
                    fault = error
                finally:
                    torch.cuda.is_available = here
                try:
                    yield from map(pickle.loads, results)
                except GeneratorExit:
                    self.closed += 1
                    raise
                if fault:
                    raise fault

            return borrowed

        return decorate


@pytest.fixture
def spaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Spaces:
    """A ZeroGPU Space, on which the studio has begun to borrow."""
    module = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", module)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(live, "run_live", live.run_live)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert zerogpu.borrow_gpu()
    assert not torch.cuda.is_available(), "the main process believes in a GPU"
    zerogpu.working_engine.cache_clear()
    return module


def sound_of(outputs: list[tuple[Any, ...]]) -> np.ndarray:
    files = [
        value["value"]
        for value in outputs[-1]
        if isinstance(value, dict) and str(value.get("value")).endswith(".wav")
    ]
    assert len(files) == 1
    return soundfile.read(files[0], dtype="int16")[0]


def test_a_run_in_the_worker_is_the_run_here_and_its_file_stays(
    root: Path, spaces: Spaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = []
    with monkeypatch.context() as patch:
        patch.setattr(live, "run_live", zerogpu.run_here)
        for output in press(root):
            here.append(output)
            if not output[0].get("pcm"):
                expected = sound_of(here)  # now: the file goes with the run
    assert spaces.calls == 0
    there = list(press(root))
    assert spaces.calls == 1
    assert np.array_equal(sound_of(there), expected)
    assert there[-1][0]["end"]
    assert len(there[-1]) == len(live.OUTPUTS)


def test_anywhere_else_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    before = live.run_live, torch.cuda.is_available
    monkeypatch.setitem(sys.modules, "spaces", Spaces())
    monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    assert not zerogpu.borrow_gpu()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    monkeypatch.setitem(sys.modules, "spaces", None)
    assert not zerogpu.borrow_gpu()
    assert (live.run_live, torch.cuda.is_available) == before


def test_without_a_gpu_to_be_had_the_run_is_made_here(
    root: Path, spaces: Spaces, capsys: pytest.CaptureFixture[str]
) -> None:
    spaces.fault = gr.Error("You have used up your quota")
    outputs = list(press(root))
    assert spaces.calls == 1
    assert outputs[-1][0]["end"]
    assert not outputs[-1][0]["error"]
    assert "quota" in capsys.readouterr().err
    with pytest.raises(gr.Error, match="quota"):
        list(press(root, engine="gpu"))


def test_the_engine_of_the_cpu_borrows_nothing(root: Path, spaces: Spaces) -> None:
    assert list(press(root, engine="cpu"))[-1][0]["end"]
    assert spaces.calls == 0


def test_a_fault_of_the_wish_is_told_once_and_not_tried_again(root: Path, spaces: Spaces) -> None:
    outputs = press(root, seconds=0)
    assert "seconds" in next(outputs)[0]["error"]
    with pytest.raises(gr.Error):
        next(outputs)
    assert spaces.calls == 1


def test_stop_reaches_a_worker_that_cannot_see_it(root: Path, spaces: Spaces) -> None:
    stops = Stops()
    outputs = press(root, stops=stops, seconds=2)
    assert "pcm" in next(outputs)[0]
    stops.add(SETTINGS["run"])
    assert list(outputs) == []
    assert spaces.closed == 1


def test_a_longer_clip_asks_for_more_time_within_bounds(root: Path, spaces: Spaces) -> None:
    def ask(seconds: Any) -> int:
        values = (SETTINGS | {"seconds": seconds}).values()
        return int(spaces.duration(root, *values))

    assert ask(1) < ask(10) <= zerogpu.MAX_GPU_SECONDS
    assert ask(1e30) == zerogpu.MAX_GPU_SECONDS
    assert ask(None) == ask(-5) == ask(float("nan")) == zerogpu.START_SECONDS


def test_an_engine_that_fails_on_this_gpu_is_passed_over(
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
    monkeypatch.setattr(zerogpu.jobs, "device_for", lambda _: torch.device("cpu"))
    zerogpu.working_engine.cache_clear()
    assert zerogpu.working_engine(root, "digits") == "cached"
    assert tried == ["gpu", "graph", "cached"]
    assert "sm_120" in capsys.readouterr().err
    zerogpu.working_engine.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert zerogpu.working_engine(root, "digits") == "auto"
    zerogpu.working_engine.cache_clear()
