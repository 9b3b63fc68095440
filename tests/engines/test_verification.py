"""The check that an engine must pass before `auto` uses it on a GPU."""

import copy
import json

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from wavenet.engines import registry, verification
from wavenet.engines.cached import CachedEngine
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.gpu.cuda_graph import GraphEngine
from wavenet.errors import EngineUnavailable
from wavenet.model.model_config import GaussianOutput, LogisticOutput


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """Remember results in a folder of the test, and start without any."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(verification, "SAMPLES", 40)
    verification._warn_once.cache_clear()
    return tmp_path


@pytest.fixture
def gpu_candidates(monkeypatch):
    """Let `auto` choose on the CPU as it does on a GPU; return the list of checked engines."""
    monkeypatch.setattr(registry, "_candidates", lambda model, precision: ("graph", "cached"))
    checked = []
    real = verification.compare_with_cached

    def compare(engine):
        checked.append(engine.name)
        return real(engine)

    monkeypatch.setattr(verification, "compare_with_cached", compare)
    return checked


class WrongKernel(GraphEngine):
    """Reads one weight wrong, as a kernel with an index error does."""

    def __init__(self, model):
        wrong = copy.deepcopy(model)
        with torch.no_grad():
            wrong.output.bias[3] += 0.5
        super().__init__(wrong)
        self._right = model

    @property
    def model(self):
        return self._right if hasattr(self, "_right") else self._wrong

    @model.setter
    def model(self, model):
        self._wrong = model

    def _predict(self, captured, hop):
        right = self._right
        del self._right
        try:
            return super()._predict(captured, hop)
        finally:
            self._right = right


class FailingKernel(GraphEngine):
    """Fails when it is launched."""

    def _predict(self, captured, hop):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore words")


@pytest.mark.parametrize("output", [None, LogisticOutput(components=3), GaussianOutput()])
@pytest.mark.parametrize("conditions", ["none", "all"])
def test_engines_that_are_right_pass(output, conditions):
    model = tiny_model(tiny_config(conditions=conditions, output=output), 16 if output else 6)
    for engine in (CachedEngine(model), GraphEngine(model), CpuEngine(model, threads=1)):
        assert verification.compare_with_cached(engine) == ""


def test_a_wrong_kernel_and_a_failing_one_are_named():
    model = tiny_model()
    assert "differs" in verification.compare_with_cached(WrongKernel(model))
    reason = verification.compare_with_cached(FailingKernel(model))
    assert "RuntimeError" in reason
    assert "illegal memory access" in reason
    assert "\n" not in reason


def test_auto_uses_an_engine_that_passed_and_remembers_it(gpu_candidates, empty_cache):
    model = tiny_model()
    for _ in range(2):
        assert registry.make_engine("auto", model).name == "graph"
    assert gpu_candidates == ["graph"]
    assert list(json.loads(verification.results_path().read_text()).values()) == [""]
    # another shape is another check
    registry.make_engine("auto", tiny_model(tiny_config(3, (1, 2))))
    assert gpu_candidates == ["graph", "graph"]


@pytest.mark.parametrize("kernel", [WrongKernel, FailingKernel])
def test_auto_warns_and_takes_the_next_engine(kernel, gpu_candidates, monkeypatch, caplog):
    monkeypatch.setattr("wavenet.engines.gpu.cuda_graph.GraphEngine", kernel)
    model = tiny_model()
    for _ in range(2):
        assert registry.make_engine("auto", model).name == "cached"
    assert gpu_candidates == ["graph"]  # a failure is remembered, too
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "graph" in caplog.text
    reasons = dict(registry.explain_auto(model))
    assert reasons["cached"] == ""


def test_info_reports_an_engine_that_is_not_trusted(monkeypatch):
    """`wavenet info --engines` prints what `explain_auto` returns."""
    monkeypatch.setattr(registry, "_is_on_gpu", lambda model: True)
    monkeypatch.setattr("wavenet.engines.gpu.cuda_graph.GraphEngine", WrongKernel)
    reasons = dict(registry.explain_auto(tiny_model()))
    assert "differs" in reasons["graph"]
    assert reasons["cpu"] == reasons["cached"] == ""
    monkeypatch.undo()
    assert "CUDA device" in dict(registry.explain_auto(tiny_model()))["graph"]


def test_without_another_engine_the_reason_is_the_error(gpu_candidates, monkeypatch):
    monkeypatch.setattr("wavenet.engines.gpu.cuda_graph.GraphEngine", WrongKernel)
    monkeypatch.setattr(registry, "_candidates", lambda model, precision: ("graph",))
    with pytest.raises(EngineUnavailable, match=r"graph .*differs"):
        registry.make_engine("auto", tiny_model())


def test_a_damaged_or_closed_cache_is_no_obstacle(empty_cache, monkeypatch):
    engine = GraphEngine(tiny_model())
    path = verification.results_path()
    path.parent.mkdir()
    for content in ("{", "[1]", ""):
        path.write_text(content)
        assert verification.check_engine(engine) == ""
    (empty_cache / "file").touch()
    monkeypatch.setattr(verification, "results_path", lambda: empty_cache / "file" / "below")
    assert verification.check_engine(engine) == ""
