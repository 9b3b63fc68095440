"""The engine gpu against the reference, on a CPU by Triton's interpreter.

The interpreter runs the same source with NumPy, so shapes are tiny. The tests marked `gpu` do the
same comparisons on a GPU, compiled and at real sizes.
"""

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import slow
from tests.engines.test_engines import (
    SAMPLINGS,
    conditioning_for,
    draw,
    poisoned,  # noqa: F401  (used by every test here)
    prompts_of,
    step_through,
    teacher_forced,
)
from tests.engines.test_guidance import run_guided
from wavenet.engines.gpu import gpu_engine
from wavenet.engines.gpu.gpu_engine import GpuEngine
from wavenet.engines.reference import ReferenceEngine
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError, EngineUnavailable
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.sampling import SamplingConfig

ON_A_GPU = torch.cuda.is_available()
triton = pytest.importorskip("triton", reason="triton is not installed, so there is no kernel")
tl = pytest.importorskip("triton.language")

interpreted = pytest.mark.skipif(ON_A_GPU, reason="the interpreter is for machines without a GPU")
compiled = pytest.mark.skipif(not ON_A_GPU, reason="there is no GPU to run the compiled kernel on")
pytestmark = [
    # NumPy warns of infinite exponentials and of NaN, which are intended
    pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning"),
    # the interpreter of Triton 3.6 uses arrays as indices, so NumPy must be below 2.4
    pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning"),
]

MIXTURES = [
    LogisticOutput(components=3),
    GaussianOutput(components=2),
    GaussianOutput(components=1),
]
SHORT = (1, 3, 2)  # dilations: the interpreter takes about 10 ms for a layer
# weights are the same numbers; activations, in two bfloat16 each, differ by one part in 2**16
ATOL = {"fp32": 1e-5, "bf16": 1e-4}


def noise_for(batch, n=12, seed=1):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed))


def generate(engine, noise, prompts, sampling=None):
    """Generate clips of 80 or more samples in one run: codes (B, n)."""
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 80))
    engine.prefill(state, prompts)
    return engine.run(state, noise.shape[1], sampling or SamplingConfig(), noise)


@interpreted
@pytest.mark.parametrize(
    ("kernel_size", "conditions"),
    [
        (2, "both"),
        (4, "frames"),
        slow(1, "none"),
        slow(3, "all"),
        slow(1, "all"),
        slow(2, "none"),
        slow(4, "none"),
    ],
)
def test_predictions_equal_the_reference(kernel_size, conditions):
    model = tiny_model(tiny_config(kernel_size, SHORT, conditions))
    codes = torch.randint(0, 32, (3, 10), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 4, 50)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced("gpu", model, codes, prompts)
    torch.testing.assert_close(got, expected, atol=ATOL["fp32"], rtol=1e-5)
    codes[:, 3] = (codes[:, 3] + 1) % 32  # negative control
    other = teacher_forced("gpu", model, codes[:, :5], prompts)
    assert (other[:, :, 4] - expected[:, :, 4]).abs().max() > 1e-3


@interpreted
@pytest.mark.parametrize(
    "kind", ["both", *map(slow, ["ancestral", "greedy", "cool", "top-k", "top-p"])]
)
def test_the_same_noise_draws_the_same_codes(kind):
    model = tiny_model(tiny_config(2, SHORT, "both"))
    noise, prompts = noise_for(2), prompts_of(model, 0, 30)
    expected = draw("reference", model, noise, prompts, SAMPLINGS[kind])
    assert torch.equal(draw("gpu", model, noise, prompts, SAMPLINGS[kind]), expected)
    # negative control: other noise, other codes
    other = draw("reference", model, 1 - noise, prompts)
    assert not torch.equal(other, expected)


@interpreted
@pytest.mark.parametrize(
    ("kernel_size", "chunk"), [(2, 1), *map(slow, (1, 2, 3, 4, 4), (7, 64, 7, 1, 7))]
)
def test_chunks_do_not_matter(kernel_size, chunk):
    model = tiny_model(tiny_config(kernel_size, SHORT, "all"))
    noise, prompts = noise_for(2, seed=2), prompts_of(model, 9, 0)
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(draw("gpu", model, noise, prompts, chunks=(chunk,)), expected)


@interpreted
@pytest.mark.parametrize("batch", [17, slow(1), slow(3)])
def test_rows_in_one_tile_or_two_equal_the_reference(batch):
    model = tiny_model(tiny_config(2, SHORT, "all"))
    noise, prompts = noise_for(batch, 8, 3), prompts_of(model, *range(batch))
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(draw("gpu", model, noise, prompts), expected)
    assert batch == 1 or not torch.equal(expected[:1].expand_as(expected), expected)


@interpreted
@pytest.mark.parametrize(
    ("kernel_size", "widths"),
    [(3, (13, 7, 21)), slow(3, (33, 70, 65)), slow(3, (1, 1, 1)), slow(1, (70, 20, 9))],
)
def test_predictions_of_odd_widths_equal_the_reference(kernel_size, widths):
    model = tiny_model(tiny_config(kernel_size, (1, 9, 3), widths=widths), bits=8)
    codes = torch.randint(0, 256, (2, 8), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 3)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced("gpu", model, codes, prompts)
    torch.testing.assert_close(got, expected, atol=3e-5, rtol=1e-5)
    assert GpuEngine(model)._shape.splits_layers == (max(widths) >= 70)


@interpreted
def test_selected_rows_continue_unchanged():
    model = tiny_model()
    noise, prompts = noise_for(3, seed=4), prompts_of(model, 0, 12, 5)
    whole = draw("reference", model, noise, prompts)
    engine = make_engine("gpu", model)
    state = engine.start(conditioning_for(model, 3, 80))
    engine.prefill(state, prompts)
    begin = engine.run(state, 5, SamplingConfig(), noise[:, :5])
    state = engine.select(state, [2, 0])
    rest = engine.run(state, 7, SamplingConfig(), noise[[2, 0], 5:])
    assert torch.equal(begin, whole[:, :5])
    assert torch.equal(rest, whole[[2, 0], 5:])


@interpreted
def test_accept_and_run_can_alternate():
    model = tiny_model()
    (prompt,), noise = prompts_of(model, 9), noise_for(1, 6)
    engine = make_engine("gpu", model)
    state = engine.start(conditioning_for(model, 1, 80))
    engine.prefill(state, [prompt[:4]])
    for code in prompt[4:]:
        engine.accept(state, code[None])
    stepped = engine.run(state, 6, SamplingConfig(), noise)
    assert torch.equal(stepped, draw("reference", model, noise, [prompt]))
    assert not torch.equal(stepped, draw("reference", model, noise, [prompt.flip(0)]))


@interpreted
def test_frames_that_need_much_memory_are_split(monkeypatch):
    model = tiny_model(tiny_config(2, SHORT, "all"))
    noise, prompts = noise_for(2, 16), prompts_of(model, 3, 0)
    frame_bytes = 2 * len(SHORT) * 2 * 16 * 4  # streams, layers, halves, padded channels, bytes
    monkeypatch.setattr(gpu_engine, "MAX_FRAME_BYTES", 3 * frame_bytes)
    engine = GpuEngine(model)
    assert engine._max_samples(engine.start(conditioning_for(model, 2, 80))) == 7  # one hop
    expected = draw("reference", model, noise, prompts)
    assert torch.equal(generate(engine, noise, prompts), expected)


@interpreted
@pytest.mark.parametrize(
    "output", [*MIXTURES[:2], slow(MIXTURES[2])], ids=lambda o: f"{o.kind}-{o.components}"
)
@pytest.mark.parametrize(
    "sampling", [SamplingConfig(temperature=0.5), slow(SamplingConfig(greedy=True))]
)
def test_codes_of_mixtures_are_drawn_from_the_params(output, sampling):
    """The reference reads the drawn codes, since the last bit of a mean changes a code by one."""
    model = tiny_model(tiny_config(2, (1, 3), "both", output=output), bits=16)
    noise, prompts = noise_for(2), prompts_of(model, 0, 12)
    codes = draw("gpu", model, noise, prompts, sampling, chunks=(7, 1, 4))
    params = teacher_forced("reference", model, codes, prompts)
    expected = model.distribution.sample(params, noise, sampling)
    assert (codes - expected).abs().max() <= 1
    assert (codes == expected).float().mean() > 0.9
    got = teacher_forced("gpu", model, codes[:, :4], prompts)
    torch.testing.assert_close(got, params[:, :, :4], atol=1e-5, rtol=1e-5)
    other = model.distribution.sample(params, 1 - noise, SamplingConfig())  # negative control
    assert (codes - other).abs().float().mean() > 100


@interpreted
def test_mixtures_reject_sampling_rules_for_categoricals():
    model = tiny_model(tiny_config(output=MIXTURES[0]), bits=16)
    engine = make_engine("gpu", model)
    state = engine.start(conditioning_for(model, 2, 40))
    with pytest.raises(ConditionError, match=r"top-k, top-p and guidance .* categorical"):
        engine.run(state, 2, SamplingConfig(top_k=3), noise_for(2, 2))


@interpreted
@pytest.mark.parametrize("clips", [slow(1), 9])
def test_guided_clips_equal_the_reference(clips):
    model = tiny_model(tiny_config(2, (1, 3), "all"))
    sampling = SAMPLINGS["both"].model_copy(update={"guidance": 2.5})
    noise = noise_for(clips, 8 if clips == 1 else 4)
    expected = run_guided(make_engine("reference", model), clips, sampling, noise)
    assert torch.equal(run_guided(make_engine("gpu", model), clips, sampling, noise), expected)
    plain = sampling.model_copy(update={"guidance": 0.0})  # negative control
    assert not torch.equal(
        run_guided(make_engine("reference", model), clips, plain, noise), expected
    )


@pytest.mark.slow
@interpreted
def test_bf16_equals_the_reference_of_the_rounded_model():
    model = tiny_model(tiny_config(3, SHORT, "all"))
    engine = GpuEngine(model, "bf16")
    codes = torch.randint(0, 32, (2, 8), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 20)
    expected = step_through(ReferenceEngine(engine.model), codes, prompts)
    got = step_through(engine, codes, prompts)
    torch.testing.assert_close(got, expected, atol=ATOL["bf16"], rtol=1e-4)
    unrounded = step_through(ReferenceEngine(model), codes, prompts)  # negative control
    assert (got - unrounded).abs().max() > 10 * ATOL["bf16"]
    noise = noise_for(2)
    assert torch.equal(
        generate(engine, noise, prompts), generate(ReferenceEngine(engine.model), noise, prompts)
    )


@interpreted
@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("output", [None, MIXTURES[0]])
def test_nan_leads_to_the_codes_of_the_engine_cached(greedy, output):
    model = tiny_model(tiny_config(output=output), bits=5 if output is None else 16)
    model.blocks[2].conv.linear.weight[0, 0] = torch.nan
    noise, prompts = noise_for(2, 2), prompts_of(model, 0, 3)
    sampling = SamplingConfig(greedy=greedy)
    expected = draw("cached", model, noise, prompts, sampling)
    assert torch.equal(draw("gpu", model, noise, prompts, sampling), expected)
    assert (expected == (0 if output is None else -1)).all()


@interpreted
def test_unsupported_models_and_machines_are_rejected(monkeypatch):
    with pytest.raises(EngineUnavailable, match="float64; use the engine graph"):
        make_engine("gpu", tiny_model().double())
    with pytest.raises(EngineUnavailable, match="CUDA device, found meta"):
        make_engine("gpu", tiny_model().to("meta"))
    wide = tiny_model(tiny_config(dilations=(1,), widths=(40, 3000, 10)))
    with pytest.raises(EngineUnavailable, match=r"160 KiB .* 256 KiB in fp32 for 64"):
        make_engine("gpu", wide)
    assert make_engine("gpu", wide, "bf16").name == "gpu"
    with monkeypatch.context() as patch:
        patch.setattr(gpu_engine, "find_spec", lambda _: None)
        with pytest.raises(EngineUnavailable, match="needs triton"):
            make_engine("gpu", tiny_model())
    monkeypatch.delenv("TRITON_INTERPRET")
    with pytest.raises(EngineUnavailable, match="found cpu; use the engine cpu"):
        make_engine("gpu", tiny_model())


def test_many_rows_share_a_program():
    tiles = [gpu_engine.choose_tile(n)[0] for n in (1, 2_048, 2_049, 8_192, 8_193)]
    assert tiles == [16, 16, 32, 32, 64]


@pytest.fixture
def real_model():
    dilations = tuple(2**n for n in range(10)) * 2
    return tiny_model(tiny_config(2, dilations, "both", widths=(64, 64, 256)), bits=8).cuda()


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("streams", "tile"), [(1, 16), (33, 16), (100, 32), (100, 64)])
def test_compiled_predictions_at_a_real_size(precision, streams, tile, real_model, monkeypatch):
    monkeypatch.setattr(gpu_engine, "TILES", ((streams, (tile, 8)),))
    engine = GpuEngine(real_model, precision)
    prompts = [prompt.cuda() for prompt in prompts_of(real_model, *[n % 5 for n in range(streams)])]
    codes = torch.randint(0, 256, (streams, 12), generator=torch.Generator().manual_seed(2)).cuda()
    expected = step_through(make_engine("cached", engine.model), codes, prompts)
    got = step_through(engine, codes, prompts)
    torch.testing.assert_close(got, expected, atol=10 * ATOL[precision], rtol=1e-3)


@pytest.mark.gpu
@compiled
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_compiled_draws_at_a_real_size(precision, kind, real_model):
    engine = GpuEngine(real_model, precision)
    prompts = [prompt.cuda() for prompt in prompts_of(real_model, *[n % 5 for n in range(100)])]
    noise = noise_for(100, 40).cuda()
    expected = generate(make_engine("cached", engine.model), noise, prompts, SAMPLINGS[kind])
    got = generate(engine, noise, prompts, SAMPLINGS[kind])
    # two clips differ after a uniform next to an edge of the CDF, which is rare
    same = (got == expected).all(dim=1).float().mean()
    assert same > (0.97 if precision == "fp32" else 0.8)
