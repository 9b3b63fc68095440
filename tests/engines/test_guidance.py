"""Guidance: two rows per clip, with its conditions and without, in every engine."""

import pytest
import torch

from tests.conftest import make_condition_values, make_frame_features, tiny_config, tiny_model
from tests.engines.conftest import pairwise
from tests.engines.test_engines import SAMPLINGS, prompts_of
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.registry import make_engine
from wavenet.sampling import SamplingConfig, apply_guidance, rows_per_clip

SETTINGS = [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)]

pytestmark = pytest.mark.usefixtures("two_cores")


def run_guided(engine, clips, sampling, noise, with_labels=True):
    """Generate clips; the second row of each omits the droppable conditions.

    Args:
        with_labels: False to omit them in the first row too.
    """
    model = engine.model
    totals = [200 + 3 * (n // 2) for n in range(2 * clips)]
    values = []
    for n in range(clips):
        whole = make_condition_values(model, 3 * n)  # rows 0, 3, .. have all conditions
        free = {name: v for name, v in whole.items() if name not in model.config.droppable}
        values += [whole if with_labels else free, free]
    frames = [make_frame_features(model, n // 2, total) for n, total in enumerate(totals)]
    state = engine.start(model.conditioning(values, totals, frames))
    prompts = prompts_of(model, *range(clips))
    engine.prefill(state, [prompts[n // 2] for n in range(2 * clips)])
    codes = engine.run(state, noise.shape[1] // 2, sampling, noise[:, : noise.shape[1] // 2])
    rest = engine.run(state, noise.shape[1] - codes.shape[1], sampling, noise[:, codes.shape[1] :])
    return torch.cat([codes, rest], dim=1)


def noise_for(clips, n=70):
    return torch.rand(clips, n, generator=torch.Generator().manual_seed(clips))


def test_guidance_is_linear_in_two_sets_of_logits():
    logits = torch.randn(6, 5, 2)
    for w, expected in ((0.0, logits[1::2]), (2.0, 2 * logits[0::2] - logits[1::2])):
        torch.testing.assert_close(apply_guidance(logits, SamplingConfig(guidance=w)), expected)
    assert apply_guidance(logits, SamplingConfig()) is logits
    assert [rows_per_clip(SamplingConfig(guidance=w)) for w in (0.0, 1.0, 1.5)] == [2, 1, 2]


@pytest.mark.parametrize(
    ("setting", "clips", "kind"),
    pairwise([("cached", 1), *SETTINGS], [1, 2, 5], ["ancestral", "both"]),
)
def test_guided_clips_equal_the_reference(setting, clips, kind):
    precision, threads = setting
    model = tiny_model(tiny_config(conditions="all"))
    if precision == "cached":
        engine = make_engine("cached", model)
    else:
        engine = CpuEngine(model, precision, threads)
    sampling = SAMPLINGS[kind].model_copy(update={"guidance": 2.5})
    noise = noise_for(clips)
    expected = run_guided(make_engine("reference", engine.model), clips, sampling, noise)
    assert torch.equal(run_guided(engine, clips, sampling, noise), expected)
    other = run_guided(engine, clips, sampling.model_copy(update={"guidance": 0.0}), noise)
    assert not torch.equal(other, expected)  # negative control


@pytest.mark.parametrize("engine", ["cached", "cpu"])
def test_guidance_0_ignores_the_first_row(engine):
    runner = make_engine(engine, tiny_model(tiny_config(conditions="all")))
    none, noise = SamplingConfig(guidance=0.0), noise_for(2)
    with_labels, without = (run_guided(runner, 2, none, noise, given) for given in (True, False))
    assert torch.equal(with_labels, without)
    some = SamplingConfig(guidance=0.5)
    with_labels, without = (run_guided(runner, 2, some, noise, given) for given in (True, False))
    assert not torch.equal(with_labels, without)  # negative control
