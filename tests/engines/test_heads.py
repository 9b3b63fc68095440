"""Engines with mixture outputs over 16-bit samples, against the reference."""

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.test_engines import conditioning_for, draw, prompts_of, teacher_forced
from wavenet.config import GaussianOutput, LogisticOutput, SamplingConfig
from wavenet.engines.registry import make_engine
from wavenet.errors import ConditionError, EngineUnavailable

HEADS = [LogisticOutput(components=3), GaussianOutput(components=1), GaussianOutput(components=2)]
FAST = ["cached"]


def model_with(output, conditions="all"):
    return tiny_model(tiny_config(2, conditions=conditions, output=output), bits=16)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("output", HEADS, ids=lambda o: f"{o.kind}-{o.components}")
@pytest.mark.parametrize("conditions", ["none", "all"])
def test_predictions_equal_the_reference(name, output, conditions):
    model = model_with(output, conditions)
    codes = torch.randint(0, 1 << 16, (3, 30), generator=torch.Generator().manual_seed(2))
    prompts = prompts_of(model, 0, 4, 50)
    expected = teacher_forced("reference", model, codes, prompts)
    got = teacher_forced(name, model, codes, prompts)
    assert expected.shape == (3, 3 * output.components, 30)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    codes[:, 3] = (codes[:, 3] + 20_000) % (1 << 16)  # the control
    other = teacher_forced(name, model, codes, prompts)
    assert (other[:, :, 5] - expected[:, :, 5]).abs().max() > 1e-3


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("output", HEADS, ids=lambda o: f"{o.kind}-{o.components}")
@pytest.mark.parametrize("sampling", [SamplingConfig(), SamplingConfig(temperature=0.5)])
def test_the_same_noise_draws_what_the_params_say(name, output, sampling):
    """Each drawn code is the inverse CDF of its uniform under the reference's own params.

    Codes are compared teacher-forced: a difference in the last bit of a mean moves a code by one,
    and from there on two clips would part.
    """
    model = model_with(output)
    noise = torch.rand(2, 40, generator=torch.Generator().manual_seed(1))
    prompts = prompts_of(model, 0, 30)
    codes = draw(name, model, noise, prompts, sampling, chunks=(7, 1, 32))
    params = teacher_forced("reference", model, codes, prompts)
    expected = model.distribution.sample(params, noise, sampling)
    assert (codes - expected).abs().max() <= 1
    assert (codes == expected).float().mean() > 0.9
    other = model.distribution.sample(params, 1 - noise, sampling)  # the control
    assert (codes - other).abs().float().mean() > 100


@pytest.mark.parametrize("output", HEADS[:2], ids=lambda o: o.kind)
def test_auto_takes_an_engine_that_can(output):
    model = model_with(output)
    assert make_engine("auto", model).name == "cached"
    with pytest.raises(EngineUnavailable, match=f"not from a {output.kind}; use the engine cached"):
        make_engine("cpu", model)


def test_top_k_is_for_classes():
    model = model_with(HEADS[0])
    engine = make_engine("cached", model)
    state = engine.start(conditioning_for(model, 1, 40))
    with pytest.raises(ConditionError, match="top"):
        engine.run(state, 2, SamplingConfig(top_k=3), torch.rand(1, 2))
