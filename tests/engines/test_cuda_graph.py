"""The recorded step against the reference, and which engine "auto" takes on a GPU."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.conftest import tiny_config, tiny_model
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

PIECE = 5  # shorter than the runs here, which are made of several


class Recording(TorchDispatchMode):
    """A stand-in for a CUDA graph: the same operations again, on the same memory."""

    def __init__(self, body):
        super().__init__()
        self.calls = []
        self.replays = 0
        with self:
            body()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, out))
        return out

    def replay(self):
        self.replays += 1
        for func, args, kwargs, out in self.calls:
            for old, new in zip(tree_leaves(out), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, torch.Tensor):
                    old.copy_(new)


def undone(body, tape):
    """Record without an effect, as a GPU does."""
    kept = [t.clone() for t in (tape.rings, tape.last, tape.time, tape.codes)]
    recording = Recording(body)
    for tensor, before in zip((tape.rings, tape.last, tape.time, tape.codes), kept, strict=True):
        tensor.copy_(before)
    return recording


@pytest.fixture(params=["from python", "recorded"])
def recordings(request, monkeypatch):
    """Run the step from Python, or as it is recorded and played back on a GPU."""
    monkeypatch.setattr(cuda_graph, "PIECE", PIECE)
    made = []
    if request.param == "recorded":
        tapes = []
        real = cuda_graph.GraphEngine._make_tape

        def make_tape(engine, *arguments):
            tapes.append(real(engine, *arguments))
            return tapes[-1]

        def record(body, device):
            made.append(undone(body, tapes[-1]))
            return made[-1]

        monkeypatch.setattr(cuda_graph.GraphEngine, "_make_tape", make_tape)
        monkeypatch.setattr(cuda_graph, "_record", record)
    return made


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


@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize(("kernel_size", "conditions"), [(1, "both"), (2, "all"), (3, "none")])
def test_the_same_noise_draws_the_same_codes(kernel_size, conditions, kind, recordings):
    model = tiny_model(tiny_config(kernel_size, conditions=conditions))
    noise, prompts = noise_for(3), prompts_of(model, 0, 30, 7)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    assert torch.equal(draw("graph", model, noise, prompts, SAMPLINGS[kind]), expected)
    assert all(recording.replays == 39 for recording in recordings)
    if kind != "greedy":  # the control: other noise, other codes
        assert not torch.equal(draw("graph", model, 1 - noise, prompts, SAMPLINGS[kind]), expected)
        # on a CPU, one-hot looks at its numbers
        names = {str(call[0]) for recording in recordings for call in recording.calls}
        assert not [name for name in names if "_local_scalar_dense" in name or "nonzero" in name]


@pytest.mark.parametrize("chunks", [(1,), (7,), (3, 1, 16), (64,)])
def test_chunks_do_not_matter(chunks, recordings):
    model = tiny_model()
    noise, prompts = noise_for(2), prompts_of(model, 9, 0)
    whole = draw("reference", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts, chunks=chunks), whole)
    assert len(recordings) <= 1  # recorded once, however often it runs


@pytest.mark.parametrize(
    "output", [LogisticOutput(components=3), GaussianOutput(components=2)], ids=str
)
def test_mixtures_draw_what_the_engine_cached_does(output, recordings):
    model = tiny_model(tiny_config(output=output), bits=16)
    noise, prompts = noise_for(2), prompts_of(model, 0, 12)
    expected = draw("cached", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts), expected)
    engine = make_engine("graph", model)
    with pytest.raises(ConditionError, match="are for categorical outputs"):
        engine.run(engine.start(conditioning_for(model, 2, 40)), 2, SAMPLINGS["top-k"], noise)


def test_two_rows_of_a_clip_are_drawn_as_one(recordings):
    model = tiny_model(tiny_config(conditions="all"))
    sampling = SAMPLINGS["both"].model_copy(update={"guidance": 2.5})
    expected = run_guided(make_engine("reference", model), 3, sampling, noise_for(3))
    assert torch.equal(run_guided(make_engine("graph", model), 3, sampling, noise_for(3)), expected)


def test_a_recording_is_made_anew_for_other_clips_or_another_way_to_draw(recordings):
    model = tiny_model()
    noise, prompts = noise_for(3), prompts_of(model, 0, 12, 5)
    whole = draw("reference", model, noise, prompts)
    engine = make_engine("graph", model)
    state = engine.start(conditioning_for(model, 3, 80))
    engine.prefill(state, prompts)
    engine.run(state, 11, SamplingConfig(), noise[:, :11])
    few, all_again = engine.select(state, [2, 0]), engine.select(state, [0, 1, 2])
    assert few.tape is None is not state.tape
    for later, rows in ((few, [2, 0]), (state, [0, 1, 2])):
        rest = engine.run(later, 29, SamplingConfig(), noise[rows, 11:])
        assert torch.equal(rest, whole[rows, 11:])
    engine.run(all_again, 9, SamplingConfig(), noise[:, 11:20])
    cached = make_engine("cached", model)
    engine.run(all_again, 6, SAMPLINGS["greedy"], noise)
    assert all_again.tape.sampling == SAMPLINGS["greedy"]
    same = cached.start(conditioning_for(model, 3, 80))
    cached.prefill(same, prompts)
    cached.run(same, 20, SamplingConfig(), noise[:, :20])
    cached.run(same, 6, SAMPLINGS["greedy"], noise)
    # what a caller takes for the newest code counts, as for the beams
    same.last = all_again.last = (same.last + 1) % 32
    left, right = (
        engine.run(state, 9, SAMPLINGS["greedy"], noise)
        for engine, state in ((engine, all_again), (cached, same))
    )
    assert torch.equal(left, right)


def test_any_kind_of_number_is_taken():
    model = tiny_model(tiny_config(conditions="none")).double()
    noise, prompts = noise_for(2), prompts_of(model, 0, 3)
    expected = draw("cached", model, noise, prompts)
    assert torch.equal(draw("graph", model, noise, prompts), expected)


def test_auto_takes_the_first_that_can_be_had(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model = tiny_model()
    assert make_engine("auto", model).name == "cpu"
    assert explain_auto(model) == [
        ("gpu", "the model is not on a CUDA device, for which the engine gpu is made"),
        ("graph", "the model is not on a CUDA device, for which the engine graph is made"),
        ("cpu", ""),
        ("cached", ""),
    ]
    reasons = dict(explain_auto(model.double()))
    assert "float64" in reasons["cpu"] and reasons["cached"] == ""
    weight = SimpleNamespace(device=torch.device("cuda"), dtype=torch.float32)
    on_a_gpu = SimpleNamespace(embedding=SimpleNamespace(weight=weight))
    assert registry._preferred(on_a_gpu, "fp32") == ("gpu", "graph", "cached")
    assert registry._preferred(on_a_gpu, "bf16") == ("gpu",)  # others keep no 16 bits there
    # as where the kernel cannot be had
    order = ("gpu", "graph", "cached")
    monkeypatch.setattr(registry, "_preferred", lambda *_: order)
    assert make_engine("auto", tiny_model()).name == "graph"
    monkeypatch.setattr(registry, "_preferred", lambda *_: order[:1])
    with pytest.raises(EngineUnavailable, match="needs the model on a CUDA device, found cpu"):
        make_engine("auto", tiny_model(), "bf16")


def test_auto_leaves_the_interpreter_alone(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert make_engine("auto", tiny_model()).name == "cpu"
    assert explain_auto(tiny_model())[0][1] != ""


def test_the_recorded_step_refuses_16_bits():
    with pytest.raises(EngineUnavailable, match="for bf16 use the engine cpu or gpu"):
        make_engine("graph", tiny_model(), "bf16")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU to record on")
@pytest.mark.parametrize("kind", SAMPLINGS)
@pytest.mark.parametrize("streams", [1, 33])
def test_a_real_recording_draws_what_the_engine_cached_does(kind, streams):
    dilations = tuple(2**n for n in range(10)) * 2
    model = tiny_model(tiny_config(2, dilations, "both", widths=(64, 64, 256)), bits=8).cuda()
    noise = noise_for(streams, 600).cuda()
    prompts = [prompt.cuda() for prompt in prompts_of(model, *[n % 5 for n in range(streams)])]
    expected = draw("cached", model, noise, prompts, SAMPLINGS[kind], chunks=(300,))
    got = draw("graph", model, noise, prompts, SAMPLINGS[kind], chunks=(300,))
    assert (got == expected).all(dim=1).float().mean() > 0.95
