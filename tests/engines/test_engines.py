"""Every engine against the reference: the same params, and the same codes for the same noise."""

import itertools

import pytest
import torch
from torch import Tensor

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from wavenet.engines.registry import NON_GPU_NAMES, make_engine
from wavenet.errors import EngineUnavailable
from wavenet.model.wavenet import WaveNet
from wavenet.sampling import SamplingConfig

ATOL = {torch.float32: 1e-5}
SAMPLINGS = {
    "ancestral": SamplingConfig(),
    "cool": SamplingConfig(temperature=0.7),
    "top-k": SamplingConfig(top_k=5),
    "top-p": SamplingConfig(top_p=0.6),
    "both": SamplingConfig(temperature=1.3, top_k=9, top_p=0.9),
    "greedy": SamplingConfig(greedy=True),
}
FAST = [name for name in NON_GPU_NAMES if name != "reference"]


@pytest.fixture(autouse=True)
def poisoned(monkeypatch):
    """Fill new memory with NaN, so that reading before writing is noticed."""
    real = torch.empty

    def empty(*args, **kwargs):
        out = real(*args, **kwargs)
        return out.fill_(float("nan")) if out.is_floating_point() else out.fill_(-1)

    monkeypatch.setattr(torch, "empty", empty)


def conditioning_for(model: WaveNet, batch: int, total: int):
    """Gather the conditions of a batch of clips, whose lengths differ."""
    totals = [total + 3 * row for row in range(batch)]
    frames = [make_frame_features(model, row, samples) for row, samples in enumerate(totals)]
    return model.conditioning(
        [make_condition_values(model, row) for row in range(batch)], totals, frames
    )


def step_through(engine, codes: Tensor, prompts: list[Tensor]) -> Tensor:
    """Predict each of codes (B, T) after the prompts and those before it: params (B, P, T)."""
    state = engine.start(conditioning_for(engine.model, codes.shape[0], 80))
    engine.prefill(state, prompts)
    params = []
    for t in range(codes.shape[1]):
        params.append(engine.predict(state))
        engine.accept(state, codes[:, t])
    return torch.stack(params, dim=2)


def teacher_forced(name: str, model: WaveNet, codes: Tensor, prompts: list[Tensor]) -> Tensor:
    """Call `step_through` with the engine of a name."""
    return step_through(make_engine(name, model), codes, prompts)


def draw(name, model, noise, prompts, sampling=None, chunks=(40,)) -> Tensor:
    """Generate one sample per uniform, in runs of the lengths `chunks`, repeated."""
    engine = make_engine(name, model)
    state = engine.start(conditioning_for(model, noise.shape[0], 80))
    engine.prefill(state, prompts)
    parts, done = [], 0
    for n in itertools.cycle(chunks):
        n = min(n, noise.shape[1] - done)
        parts.append(engine.run(state, n, sampling or SamplingConfig(), noise[:, done : done + n]))
        done += n
        if done == noise.shape[1]:
            return torch.cat(parts, dim=1)
    raise AssertionError


def prompts_of(model: WaveNet, *lengths: int) -> list[Tensor]:
    """Draw random prompts."""
    generator = torch.Generator().manual_seed(5)
    return [torch.randint(0, model.n_classes, (n,), generator=generator) for n in lengths]


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("conditions", ["none", "label", "position", "both", "frames", "all"])
@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_predictions_equal_the_reference(name, conditions, kernel_size):
    model = tiny_model(tiny_config(kernel_size, conditions=conditions))
    codes = torch.randint(0, model.n_classes, (3, 30))
    prompts = prompts_of(model, 0, 4, 50)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced(name, model, codes, prompts)
    torch.testing.assert_close(got, expected, atol=ATOL[got.dtype], rtol=1e-5)
    # negative control: another early code changes later predictions
    if kernel_size > 1:
        codes = codes.clone()
        codes[:, 3] = (codes[:, 3] + 1) % model.n_classes
        other = teacher_forced(name, model, codes, prompts)
        assert (other[:, :, 5] - expected[:, :, 5]).abs().max() > 100 * ATOL[got.dtype]


def test_the_reference_equals_the_parallel_forward():
    model = tiny_model()
    codes = torch.randint(0, model.n_classes, (1, 60))
    expected = model(codes, conditioning_for(model, 1, 80))
    got = teacher_forced("reference", model, codes, prompts_of(model, 0))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_the_same_noise_draws_the_same_codes(name, kind):
    model = tiny_model()
    noise = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    prompts = prompts_of(model, 0, 30)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    assert torch.equal(draw(name, model, noise, prompts, SAMPLINGS[kind]), expected)
    if kind != "greedy":  # negative control: other noise, other codes
        assert not torch.equal(draw(name, model, 1 - noise, prompts, SAMPLINGS[kind]), expected)


@pytest.mark.parametrize("name", NON_GPU_NAMES)
@pytest.mark.parametrize("chunks", [(1,), (7,), (3, 1, 16)])
def test_chunks_do_not_matter(name, chunks):
    model = tiny_model()
    noise = torch.rand(2, 40, generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 9, 0)
    whole = draw(name, model, noise, prompts)
    assert torch.equal(draw(name, model, noise, prompts, chunks=chunks), whole)


@pytest.mark.parametrize("name", NON_GPU_NAMES)
def test_a_row_of_a_batch_equals_the_clip_alone(name):
    model = tiny_model()
    noise = torch.rand(3, 30, generator=torch.Generator().manual_seed(3))
    prompts = prompts_of(model, 2, 0, 33)
    together = draw(name, model, noise, prompts)
    engine = make_engine(name, model)
    for row in range(3):
        state = engine.start(conditioning_for(model, 3, 80).select([row]))
        engine.prefill(state, [prompts[row]])
        alone = engine.run(state, 30, SamplingConfig(), noise[row : row + 1])
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("name", NON_GPU_NAMES)
def test_selected_rows_continue_unchanged(name):
    model = tiny_model()
    noise = torch.rand(3, 30, generator=torch.Generator().manual_seed(4))
    prompts = prompts_of(model, 0, 12, 5)
    whole = draw(name, model, noise, prompts)
    engine = make_engine(name, model)
    state = engine.start(conditioning_for(model, 3, 80))
    engine.prefill(state, prompts)
    engine.run(state, 11, SamplingConfig(), noise[:, :11])
    state = engine.select(state, [2, 0])
    rest = engine.run(state, 19, SamplingConfig(), noise[[2, 0], 11:])
    assert torch.equal(rest, whole[[2, 0], 11:])


@pytest.mark.parametrize("name", NON_GPU_NAMES)
def test_a_prompt_in_one_pass_equals_a_prompt_code_by_code(name):
    model = tiny_model()
    prompt = prompts_of(model, 45)[0]
    noise = torch.rand(1, 20, generator=torch.Generator().manual_seed(6))
    engine = make_engine(name, model)
    state = engine.start(conditioning_for(model, 1, 80))
    for code in prompt:
        engine.accept(state, code[None])
    stepped = engine.run(state, 20, SamplingConfig(), noise)
    assert torch.equal(stepped, draw(name, model, noise, [prompt]))
    assert not torch.equal(stepped, draw(name, model, noise, [prompt.flip(0)]))


@pytest.mark.parametrize("name", NON_GPU_NAMES)
def test_streams_can_be_interleaved(name):
    """An engine stores nothing of a stream; everything is in the state."""
    model = tiny_model()
    engine = make_engine(name, model)
    noise = torch.rand(1, 12, generator=torch.Generator().manual_seed(7))
    alone = draw(name, model, noise, prompts_of(model, 0))
    states = [engine.start(conditioning_for(model, 1, 80)) for _ in range(2)]
    parts = []
    for t in range(0, 12, 4):
        parts.append(engine.run(states[0], 4, SamplingConfig(), noise[:, t : t + 4]))
        engine.run(states[1], 3, SamplingConfig(), 1 - noise[:, :3])
    assert torch.equal(torch.cat(parts, dim=1), alone)


@pytest.mark.parametrize("name", FAST)
def test_wide_and_odd_shapes_equal_the_reference(name):
    config = tiny_config(kernel_size=4, dilations=(1, 5, 3), widths=(13, 7, 21), hop=16)
    model = tiny_model(config, bits=8)
    codes = torch.randint(0, 256, (2, 40))
    prompts = prompts_of(model, 0, 3)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced(name, model, codes, prompts)
    torch.testing.assert_close(got, expected, atol=3e-5, rtol=1e-5)


def test_auto_selects_the_compiled_engine_on_a_cpu():
    assert make_engine("auto", tiny_model()).name == "cpu"


def test_auto_selects_another_engine_if_the_fastest_cannot_run_the_model():
    model = tiny_model().double()
    with pytest.raises(EngineUnavailable, match="float64; use the engine cached"):
        make_engine("cpu", model)
    assert make_engine("auto", model).name == "cached"
    assert make_engine("auto", tiny_model().to("meta")).name == "cached"


def test_an_unknown_engine_is_rejected_with_the_known_ones():
    with pytest.raises(EngineUnavailable, match=r"'warp'.* auto, reference, cached, cpu,"):
        make_engine("warp", tiny_model())


def test_the_cpu_engine_rejects_a_model_on_another_device():
    with pytest.raises(EngineUnavailable, match="main memory"):
        make_engine("cpu", tiny_model().to("meta"))
