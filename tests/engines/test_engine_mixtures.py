"""Engines with mixture distributions over 16-bit codes, against the reference."""

import numpy as np
import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.test_engines import conditioning_for, draw, prompts_of, teacher_forced
from wavenet.engines.cpu import cpu_engine
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.cpu.numba_sampling import draw_mixture
from wavenet.engines.cpu.packed_weights import make_cpu_shape
from wavenet.engines.kernel_inputs import make_sampling_rules
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError
from wavenet.model.model_config import GaussianOutput, LogisticOutput
from wavenet.sampling import SamplingConfig

MIXTURES = [
    LogisticOutput(components=3),
    GaussianOutput(components=1),
    GaussianOutput(components=2),
]
FAST = ["cached", "cpu"]


def model_with(output, conditions="all"):
    return tiny_model(tiny_config(2, conditions=conditions, output=output), bits=16)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("output", MIXTURES, ids=lambda o: f"{o.kind}-{o.components}")
@pytest.mark.parametrize("conditions", ["none", "all"])
def test_predictions_equal_the_reference(name, output, conditions):
    model = model_with(output, conditions)
    codes = torch.randint(0, 1 << 16, (3, 30), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 4, 50)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced(name, model, codes, prompts)
    assert expected.shape == (3, 3 * output.components, 30)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    codes[:, 3] = (codes[:, 3] + 20_000) % (1 << 16)  # negative control
    other = teacher_forced(name, model, codes, prompts)
    assert (other[:, :, 5] - expected[:, :, 5]).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("output", MIXTURES, ids=lambda o: f"{o.kind}-{o.components}")
@pytest.mark.parametrize("sampling", [SamplingConfig(), SamplingConfig(temperature=0.5)])
def test_codes_are_drawn_from_the_params(name, output, sampling):
    """Each drawn code is the inverse CDF of its uniform, with the params of the reference.

    The reference reads the drawn codes: a difference in the last bit of a mean changes a code by
    one, and two clips that differ once differ from there on.
    """
    model = model_with(output)
    noise = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    prompts = prompts_of(model, 0, 30)
    codes = draw(name, model, noise, prompts, sampling, chunks=(7, 1, 32))
    params = teacher_forced("reference", model, codes, prompts)
    expected = model.distribution.sample(params, noise, sampling)
    assert (codes - expected).abs().max() <= 1
    assert (codes == expected).float().mean() > 0.9
    other = model.distribution.sample(params, 1 - noise, sampling)  # negative control
    assert (codes - other).abs().float().mean() > 100


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("settings", [{"top_k": 3}, {"top_p": 0.5}, {"guidance": 2.0}])
def test_mixtures_reject_sampling_rules_for_categoricals(engine, settings):
    runner = make_engine(engine, model_with(MIXTURES[0]))
    state = runner.start(conditioning_for(runner.model, 2, 40))
    with pytest.raises(ConditionError, match=r"top-k, top-p and guidance .* categorical"):
        runner.run(
            state, 2, SamplingConfig(**settings), torch.rand(1 if "guidance" in settings else 2, 2)
        )


@pytest.mark.parametrize("output", MIXTURES, ids=lambda o: f"{o.kind}-{o.components}")
@pytest.mark.parametrize(
    "sampling", [SamplingConfig(), SamplingConfig(temperature=0.3), SamplingConfig(greedy=True)]
)
def test_the_compiled_draw_equals_the_distribution(output, sampling):
    """For params and uniforms of all sizes, both extremes included."""
    model = model_with(output)
    shape = make_cpu_shape(model)
    generator = torch.Generator().manual_seed(4)
    params = torch.randn(400, shape.n_params, generator=generator)
    params[:, : output.components] *= 3
    params[:, 2 * output.components :] = params[:, 2 * output.components :] * 4 - 6
    params[:50, output.components : 2 * output.components] *= 20  # means far outside of [-1, 1]
    uniforms = torch.rand(400, generator=generator)
    uniforms[::10], uniforms[5::10] = 0.0, 1 - 2**-24
    rules, buffer = make_sampling_rules(sampling), np.empty(2 * output.components)
    got = [
        draw_mixture(row, 0, shape, uniform, rules, buffer)
        for row, uniform in zip(params.numpy(), uniforms.numpy(), strict=True)
    ]
    expected = model.distribution.sample(params[..., None], uniforms[:, None], sampling)[:, 0]
    assert got == expected.tolist()
    assert len(set(got)) > 50
    params[3, 1] = torch.nan
    assert draw_mixture(params[3].numpy(), 0, shape, 0.5, rules, buffer) == -1


@pytest.mark.parametrize("output", MIXTURES, ids=lambda o: f"{o.kind}-{o.components}")
def test_a_uniform_of_0_draws_no_click(output):
    """The distance from the mean is at most 17.3 scales; one in 2**25 draws exceeds it."""
    model = model_with(output)
    parts = torch.tensor([0, 0.25, -5])  # logits, means, log scales
    params = parts.repeat_interleave(output.components)
    shape, buffer = make_cpu_shape(model), np.empty(2 * output.components)
    rules = make_sampling_rules(SamplingConfig())
    compiled = draw_mixture(params.numpy(), 0, shape, np.float32(0), rules, buffer)
    defined = model.distribution.sample(params[None, :, None], torch.zeros(1, 1), SamplingConfig())
    assert compiled == defined.item()
    assert 5 < (0.25 - (2 * compiled / 65535 - 1)) / np.exp(-5) < 17.5


def test_mixtures_run_on_two_threads_and_in_bf16(monkeypatch):
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 2)
    model = model_with(MIXTURES[0])
    noise = torch.rand(3, 150, generator=torch.Generator().manual_seed(6))
    for precision in ("fp32", "bf16"):
        codes = []
        for threads in (1, 2):
            engine = CpuEngine(model, precision, threads)
            state = engine.start(conditioning_for(engine.model, 3, 200))
            codes.append(engine.run(state, 150, SamplingConfig(), noise))
        assert torch.equal(*codes)
