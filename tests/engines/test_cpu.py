"""The engine cpu: both precisions, with one thread or two, against the reference."""

import itertools

import numpy as np
import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import LONG, generate, noise_for, pairwise
from tests.engines.test_engines import SAMPLINGS, conditioning_for, prompts_of, step_through
from wavenet.engines.cpu import workspace
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.reference import ReferenceEngine
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable
from wavenet.sampling import SamplingConfig, apply_guidance, rows_per_clip

SETTINGS = [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)]


@pytest.mark.parametrize("sizes", [(4, 5, 3), (4, 4, 6), (2, 4, 2), (2, 6, 2)])
def test_the_quick_combinations_have_every_pair_of_values(sizes):
    params = pairwise(*map(range, sizes))
    quick = [param.values for param in params if not param.marks]
    assert {param.values for param in params} == set(itertools.product(*map(range, sizes)))
    for a, b in itertools.combinations(range(3), 2):
        pairs = {(values[a], values[b]) for values in quick}
        assert pairs == set(itertools.product(range(sizes[a]), range(sizes[b])))


@pytest.mark.parametrize(
    ("setting", "kernel_size", "batch"), pairwise(SETTINGS, [1, 2, 3, 4, 16], [1, 2, 5])
)
def test_every_setting_draws_the_codes_of_the_reference(setting, kernel_size, batch, two_cores):
    model = tiny_model(tiny_config(kernel_size))
    engine = CpuEngine(model, *setting)
    noise, prompts = noise_for(batch), prompts_of(model, 0, 4, 50, 1, 7)[:batch]
    expected = generate(ReferenceEngine(engine.model), noise, prompts)
    assert torch.equal(generate(engine, noise, prompts), expected)
    # negative control: other noise, other codes
    assert not torch.equal(generate(engine, 1 - noise, prompts), expected)


@pytest.mark.parametrize(
    ("setting", "conditions", "kind"),
    pairwise(SETTINGS, ["none", "label", "position", "all"], list(SAMPLINGS)),
)
def test_all_conditions_and_sampling_rules(setting, conditions, kind, two_cores):
    model = tiny_model(tiny_config(3, conditions=conditions))
    engine = CpuEngine(model, *setting)
    noise, prompts = noise_for(2, seed=1), prompts_of(model, 3, 0)
    expected = generate(ReferenceEngine(engine.model), noise, prompts, SAMPLINGS[kind])
    assert torch.equal(generate(engine, noise, prompts, SAMPLINGS[kind]), expected)


@pytest.mark.parametrize(
    ("precision", "widths", "bits"),
    pairwise(["fp32", "bf16"], [(1, 1, 1), (13, 7, 21), (33, 17, 65), (16, 48, 96)], [4, 8]),
)
def test_predictions_of_odd_widths_equal_the_reference(precision, widths, bits):
    model = tiny_model(tiny_config(3, dilations=(1, 9, 3, 16), widths=widths), bits)
    engine = CpuEngine(model, precision, 1)
    reference = ReferenceEngine(engine.model)
    codes = torch.randint(0, model.n_classes, (2, 40), generator=torch.Generator().manual_seed(2))
    params, expected = (
        step_through(runner, codes, prompts_of(model, 0, 0)) for runner in (engine, reference)
    )
    torch.testing.assert_close(params, expected, atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("precision", "batch", "conditions"),
    pairwise(["fp32", "bf16"], [2, 3, 4, 5, 6, 7], ["none", "all"]),
)
def test_rows_on_two_threads_equal_each_alone(precision, batch, conditions, two_cores):
    """Few rows: the threads share the layers. Many rows: an odd row is split in time."""
    model = tiny_model(tiny_config(3, conditions=conditions, widths=(40, 40, 96)), bits=8)
    noise, prompts = noise_for(batch, seed=4, n=LONG + 1), prompts_of(model, *range(batch))
    together = generate(CpuEngine(model, precision, 2), noise, prompts)
    engine = CpuEngine(model, precision, 1)
    state = engine.start(conditioning_for(engine.model, batch, 200))
    engine.prefill(state, prompts)
    for row in range(batch):
        alone = engine.select(state, [row])
        codes = engine.run(alone, LONG + 1, SamplingConfig(), noise[row : row + 1])
        assert torch.equal(codes[0], together[row])


def test_two_threads_equal_one_at_a_real_size(two_cores):
    config = tiny_config(2, tuple(2**n for n in range(8)) * 2, "none", widths=(64, 64, 256))
    model = tiny_model(config, bits=8)
    noise = noise_for(1, n=3000)
    for precision in ("fp32", "bf16"):
        one, two = (
            generate(CpuEngine(model, precision, threads), noise, prompts_of(model, 0))
            for threads in (1, 2)
        )
        assert torch.equal(one, two)
    # negative control: slightly different weights are noticed
    model.blocks[3].conv.linear.weight[0] += 0.05
    other = generate(CpuEngine(model, "bf16", 2), noise, prompts_of(model, 0))
    assert not torch.equal(other, two)


def test_a_row_of_many_equals_the_clip_alone_to_the_bit(two_cores):
    """The order of sums does not depend on the batch, so params are equal, not only codes."""
    # without conditions: torch computes their biases, whose last bits depend on the batch
    model = tiny_model(tiny_config(2, conditions="none", widths=(40, 24, 50)), bits=8)
    prompts = prompts_of(model, *range(9))
    for precision in ("fp32", "bf16"):
        engine = CpuEngine(model, precision, 2)
        state = engine.start(conditioning_for(model, 9, 80))
        engine.prefill(state, prompts)
        codes = torch.arange(9)
        engine.accept(state, codes)
        together = engine.predict(state)
        for row in range(9):
            alone = engine.start(conditioning_for(model, 9, 80).select([row]))
            engine.prefill(alone, prompts[row : row + 1])
            engine.accept(alone, codes[row : row + 1])
            assert torch.equal(engine.predict(alone)[0], together[row])


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize(("batch", "guidance"), [(1, 1.0), (3, 1.0), (1, 2.0), (2, 2.0)])
def test_a_run_returns_its_last_prediction(precision, batch, guidance, two_cores):
    """It is checked for numbers that are not finite, so it must be that of the newest code."""
    model = tiny_model(tiny_config(3, conditions="none"))
    sampling = SamplingConfig(guidance=guidance)
    rows, noise = batch * rows_per_clip(sampling), noise_for(batch)
    for threads in (1, 2):
        engine = CpuEngine(model, precision, threads)
        state = engine.start(conditioning_for(model, rows, 200))
        engine.prefill(state, prompts_of(model, *range(rows)))
        before = engine.clone(state)
        engine.run(state, LONG, sampling, noise)
        engine.run(before, LONG - 1, sampling, noise[:, :-1])
        expected = engine.predict(before)
        guided = expected.clone()
        guided[:: rows_per_clip(sampling)] = apply_guidance(expected[:, :, None], sampling)[..., 0]
        torch.testing.assert_close(state.drawn_params, guided, atol=1e-5, rtol=1e-5)
        assert engine.clone(state).drawn_params is None
        # negative control: the prediction of the next code differs
        assert not torch.allclose(engine.predict(state), guided, atol=1e-2)


@pytest.mark.parametrize("threads", [1, 2])
def test_no_memory_is_read_before_it_is_written(threads, monkeypatch, two_cores):
    model = tiny_model(tiny_config(3, widths=(13, 7, 21)))
    noise, prompts = noise_for(2), prompts_of(model, 0, 9)
    expected = generate(CpuEngine(model, "fp32", threads), noise, prompts)
    clean = workspace._zeros
    monkeypatch.setattr(workspace, "_zeros", lambda size: np.full_like(clean(size), np.nan))
    assert torch.equal(generate(CpuEngine(model, "fp32", threads), noise, prompts), expected)


def test_unknown_settings_are_rejected():
    model = tiny_model()
    with pytest.raises(EngineUnavailable, match="1 or 2 threads, found 3"):
        make_engine("cpu", model, threads=3)
    with pytest.raises(EngineUnavailable, match=r"'int4' is not known.* fp32, bf16"):
        make_engine("cpu", model, precision="int4")
    with pytest.raises(EngineUnavailable, match="cached does not keep weights in bf16"):
        make_engine("cached", model, precision="bf16")


def soak(samples: int) -> None:
    """Compare the state after a long run with one rebuilt from the last receptive field."""
    model = tiny_model(tiny_config(2, (1, 2, 4, 8), "none"))
    engine = CpuEngine(model)
    state = engine.start(conditioning_for(model, 1, 200))
    generator = torch.Generator().manual_seed(3)
    tail = torch.empty(0, dtype=torch.int64)
    for done in range(0, samples, 100_000):
        n = min(100_000, samples - done)
        codes = engine.run(state, n, SamplingConfig(), torch.rand(1, n, generator=generator))
        tail = torch.cat([tail, codes[0]])[-4 * model.receptive_field :]
    assert int(state.position[0]) == samples
    rebuilt = engine.start(conditioning_for(model, 1, 200))
    engine.prefill(rebuilt, [tail])
    code = torch.zeros(1, dtype=torch.int64)
    for one in (state, rebuilt):
        engine.accept(one, code)
    longer, fresh = engine.predict(state), engine.predict(rebuilt)
    torch.testing.assert_close(longer, fresh, atol=1e-5, rtol=1e-5)
    # negative control: another past leads to other predictions
    engine.prefill(other := engine.start(conditioning_for(model, 1, 200)), [tail.flip(0)])
    engine.accept(other, code)
    assert (engine.predict(other) - fresh).abs().max() > 1e-2


def test_a_long_run_does_not_drift():
    soak(300_000)


@pytest.mark.slow
def test_ten_million_samples_do_not_drift():
    soak(10_000_000)
