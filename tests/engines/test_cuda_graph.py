"""The recorded step against the reference, and which engine "auto" selects on a GPU."""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import memory_tensors
from tests.engines.graph_emulation import emulate_recording
from tests.engines.test_engines import (
    SAMPLINGS,
    conditioning_for,
    draw,
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
    teacher_forced,
)
from tests.engines.test_guidance import run_guided
from wavenet.engines import registry
from wavenet.engines.gpu import cuda_graph
from wavenet.engines.registry import explain_auto, make_engine
from wavenet.errors import ConditionError, EngineUnavailable
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.sampling import SamplingConfig

SAMPLES_AHEAD = 5  # fewer than the samples of the runs here


@pytest.fixture(params=["from python", "recorded"])
def captured_graphs(request, monkeypatch):
    """Call the step from Python, or capture and replay it as on a GPU; list the captured graphs."""
    monkeypatch.setattr(cuda_graph, "SAMPLES_AHEAD", SAMPLES_AHEAD)
    return emulate_recording(monkeypatch) if request.param == "recorded" else []


def noise_for(batch, n=40):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("conditions", ["none", "both", "all"])
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4])
def test_predictions_equal_the_engine_cached(kernel_size, conditions):
    model = tiny_model(tiny_config(kernel_size, conditions=conditions))
    codes = torch.randint(0, 32, (3, 20), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 4, 50)
    expected = teacher_forced("cached", model, codes, prompts)
    assert torch.equal(teacher_forced("graph", model, codes, prompts), expected)


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        pytest.param(network, kind, marks=() if (n + m) % 3 == 0 else pytest.mark.slow)
        for n, network in enumerate([(1, "both"), (2, "all"), (3, "none")])
        for m, kind in enumerate(SAMPLINGS)
    ],
)
def test_the_same_noise_draws_the_same_codes(network, kind, captured_graphs):
    kernel_size, conditions = network
    model = tiny_model(tiny_config(kernel_size, conditions=conditions))
    noise, prompts = noise_for(3), prompts_of(model, 0, 30, 7)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    assert torch.equal(draw("graph", model, noise, prompts, SAMPLINGS[kind]), expected)
    assert all(captured.replays == 39 for captured in captured_graphs)
    if kind != "greedy":  # negative control: other noise, other codes
        assert not torch.equal(draw("graph", model, 1 - noise, prompts, SAMPLINGS[kind]), expected)
        # no operation reads a number back, as a graph could not; on a CPU, one-hot does
        names = {str(call[0]) for captured in captured_graphs for call in captured.calls}
        assert not [name for name in names if "_local_scalar_dense" in name or "nonzero" in name]


@pytest.mark.parametrize("chunks", [(1,), (7,), (3, 1, 16), (64,)])
def test_chunks_do_not_matter(chunks, captured_graphs):
    model = tiny_model()
    noise, prompts = noise_for(2), prompts_of(model, 9, 0)
    whole = draw("reference", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts, chunks=chunks), whole)
    assert len(captured_graphs) <= 1  # captured once for all runs


@pytest.mark.parametrize(
    "output", [LogisticOutput(components=3), GaussianOutput(components=2)], ids=str
)
def test_mixtures_equal_the_engine_cached(output, captured_graphs):
    model = tiny_model(tiny_config(output=output), bits=16)
    noise, prompts = noise_for(2), prompts_of(model, 0, 12)
    expected = draw("cached", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts), expected)
    engine = make_engine("graph", model)
    with pytest.raises(ConditionError, match="categorical"):
        engine.run(engine.start(conditioning_for(model, 2, 40)), 2, SAMPLINGS["top-k"], noise)


def test_guided_clips_equal_the_reference(captured_graphs):
    model = tiny_model(tiny_config(conditions="all"))
    sampling = SAMPLINGS["both"].model_copy(update={"guidance": 2.5})
    expected = run_guided(make_engine("reference", model), 3, sampling, noise_for(3))
    assert torch.equal(run_guided(make_engine("graph", model), 3, sampling, noise_for(3)), expected)


def test_another_memory_or_sampling_config_has_another_graph(captured_graphs):
    model = tiny_model()
    noise, prompts = noise_for(3), prompts_of(model, 0, 12, 5)
    whole = draw("reference", model, noise, prompts)
    engine = make_engine("graph", model)
    state = engine.start(conditioning_for(model, 3, 80))
    engine.prefill(state, prompts)
    assert state.captured is None
    engine.run(state, 11, SamplingConfig(), noise[:, :11])
    first = state.captured
    few, copied = engine.select(state, [2, 0]), engine.clone(state)
    for later, rows in ((few, [2, 0]), (state, [0, 1, 2])):
        rest = engine.run(later, 29, SamplingConfig(), noise[rows, 11:])
        assert torch.equal(rest, whole[rows, 11:])
    assert few.captured is not first is state.captured
    assert first.source is state.memory and few.captured.source is few.memory
    assert shares_memory(first.memory, state.memory)
    assert not shares_memory(first.memory, few.memory)
    engine.run(copied, 9, SamplingConfig(), noise[:, 11:20])
    assert copied.captured is not first
    before = copied.captured
    engine.run(copied, 6, SAMPLINGS["greedy"], noise)
    assert copied.captured is not before
    assert copied.captured.sampling == SAMPLINGS["greedy"]
    cached = make_engine("cached", model)
    same = cached.start(conditioning_for(model, 3, 80))
    cached.prefill(same, prompts)
    cached.run(same, 20, SamplingConfig(), noise[:, :20])
    cached.run(same, 6, SAMPLINGS["greedy"], noise)
    # codes that the caller accepts reach the graph, as in a beam search
    other = (same.last + 1) % 32
    engine.accept(copied, other)
    cached.accept(same, other)
    left, right = (
        runner.run(state, 9, SAMPLINGS["greedy"], noise)
        for runner, state in ((engine, copied), (cached, same))
    )
    assert torch.equal(left, right)


def shares_memory(memory, other):
    """Return whether the first tensors of two memories are the same."""
    return memory_tensors(memory)[0].data_ptr() == memory_tensors(other)[0].data_ptr()


def test_weights_may_have_any_type():
    model = tiny_model(tiny_config(conditions="none")).double()
    noise, prompts = noise_for(2), prompts_of(model, 0, 3)
    expected = draw("cached", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts), expected)


def test_auto_selects_the_first_available_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # results of the check of an engine
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model = tiny_model()
    assert make_engine("auto", model).name == "cpu"
    reasons = explain_auto(model)
    assert [name for name, _ in reasons] == ["gpu", "graph", "cpu", "cached"]
    assert ["CUDA device" in reason for _, reason in reasons] == [True, True, False, False]
    assert [reason for _, reason in reasons[2:]] == ["", ""]
    reasons = dict(explain_auto(model.double()))
    assert "float64" in reasons["cpu"] and reasons["cached"] == ""
    on_a_gpu = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    assert registry._candidates(on_a_gpu, "fp32") == ("gpu", "graph", "cached")
    assert registry._candidates(on_a_gpu, "bf16") == ("gpu",)  # the others have fp32 only
    # as on a GPU for which the kernel is not available
    order = ("gpu", "graph", "cached")
    monkeypatch.setattr(registry, "_candidates", lambda *_: order)
    assert make_engine("auto", tiny_model()).name == "graph"
    monkeypatch.setattr(registry, "_candidates", lambda *_: order[:1])
    with pytest.raises(EngineUnavailable, match="CUDA device, found cpu"):
        make_engine("auto", tiny_model(), "bf16")


def test_auto_never_selects_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert make_engine("auto", tiny_model()).name == "cpu"
    assert explain_auto(tiny_model())[0][1] != ""


def test_the_recorded_step_rejects_bf16():
    with pytest.raises(EngineUnavailable, match="graph does not keep weights in bf16"):
        make_engine("graph", tiny_model(), "bf16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to record on")
@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize("streams", [1, 33])
def test_a_real_graph_equals_the_engine_cached(kind, streams):
    dilations = tuple(2**n for n in range(10)) * 2
    model = tiny_model(tiny_config(2, dilations, "both", widths=(64, 64, 256)), bits=8).cuda()
    noise = noise_for(streams, 600).cuda()
    prompts = [prompt.cuda() for prompt in prompts_of(model, *[n % 5 for n in range(streams)])]
    expected = draw("cached", model, noise, prompts, SAMPLINGS[kind], chunks=(300,))
    got = draw("graph", model, noise, prompts, SAMPLINGS[kind], chunks=(300,))
    assert (got == expected).all(dim=1).float().mean() > 0.95
