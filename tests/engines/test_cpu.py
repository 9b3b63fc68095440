"""The compiled engine: both precisions and one or two threads against the reference."""

import threading
import time

import numpy as np
import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.test_engines import SAMPLINGS, conditioning_for, prompts_of
from wavenet.config import SamplingConfig
from wavenet.engines import cpu, cpu_room, cpu_threads
from wavenet.engines.cpu import CpuEngine
from wavenet.engines.cpu_choice import Choice
from wavenet.engines.cpu_room import make_team
from wavenet.engines.cpu_threads import make_counters, run_side_by_side
from wavenet.engines.cpu_weights import shape_of
from wavenet.engines.reference import ReferenceEngine
from wavenet.engines.registry import make_engine
from wavenet.errors import EngineUnavailable

LONG = 80  # samples: enough that a second thread is started
SETTINGS = [("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)]


def generate(engine, noise, prompts, sampling=None):
    state = engine.start(conditioning_for(engine.model, noise.shape[0], 200))
    engine.prefill(state, prompts)
    return engine.run(state, noise.shape[1], sampling or SamplingConfig(), noise)


def noise_for(batch, seed=0, n=LONG):
    return torch.rand(batch, n, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def two_cores(monkeypatch):
    """Two threads even where there is one core."""
    monkeypatch.setattr(cpu, "available_cores", lambda: 2)


@pytest.mark.parametrize(("precision", "threads"), SETTINGS)
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 16])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_every_setting_draws_the_codes_of_the_reference(
    precision, threads, kernel_size, batch, two_cores
):
    model = tiny_model(tiny_config(kernel_size))
    engine = CpuEngine(model, precision, threads)
    noise, prompts = noise_for(batch), prompts_of(model, 0, 4, 50, 1, 7)[:batch]
    expected = generate(ReferenceEngine(engine.model), noise, prompts)
    assert torch.equal(generate(engine, noise, prompts), expected)
    # the control: other noise, other codes
    assert not torch.equal(generate(engine, 1 - noise, prompts), expected)


@pytest.mark.parametrize(("precision", "threads"), SETTINGS)
@pytest.mark.parametrize("conditions", ["none", "label", "position", "all"])
@pytest.mark.parametrize("kind", SAMPLINGS)
def test_conditions_and_ways_to_draw(precision, threads, conditions, kind, two_cores):
    model = tiny_model(tiny_config(3, conditions=conditions))
    engine = CpuEngine(model, precision, threads)
    noise, prompts = noise_for(2, seed=1), prompts_of(model, 3, 0)
    expected = generate(ReferenceEngine(engine.model), noise, prompts, SAMPLINGS[kind])
    assert torch.equal(generate(engine, noise, prompts, SAMPLINGS[kind]), expected)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("widths", [(1, 1, 1), (13, 7, 21), (33, 17, 65), (16, 48, 96)])
@pytest.mark.parametrize("bits", [4, 8])
def test_odd_widths_predict_what_the_reference_does(precision, widths, bits):
    model = tiny_model(tiny_config(3, dilations=(1, 9, 3, 16), widths=widths), bits)
    engine = CpuEngine(model, precision, 1)
    reference = ReferenceEngine(engine.model)
    codes = torch.randint(0, model.n_classes, (2, 40), generator=torch.Generator().manual_seed(2))
    params = []
    for chosen in (engine, reference):
        state = chosen.start(conditioning_for(model, 2, 80))
        params.append(torch.stack([chosen.step(state, codes[:, t]) for t in range(40)], dim=2))
    torch.testing.assert_close(params[0], params[1], atol=3e-5, rtol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("batch", [2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("conditions", ["none", "all"])
def test_streams_shared_or_divided_draw_what_they_draw_alone(
    precision, batch, conditions, two_cores
):
    """Few go through two threads together, of many an odd one is halved: no code may change."""
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


def test_the_second_half_of_an_odd_stream_waits_for_the_first(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(3), prompts_of(model, 0, 0, 0)
    expected = generate(CpuEngine(model, "bf16", 1), noise, prompts)
    real = cpu.cpu_kernels.run

    def slow_first_half(*arguments):
        if arguments[7].shape == (1, LONG // 2) and arguments[5] == 0:
            time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(cpu.cpu_kernels, "run", slow_first_half)
    assert torch.equal(generate(CpuEngine(model, "bf16", 2), noise, prompts), expected)


@pytest.mark.parametrize(
    "sizes", [(2, 64, 64, 256), (3, 128, 128, 128), (1, 8, 8, 8), (16, 9, 70, 33)]
)
def test_two_threads_have_every_panel_once(sizes):
    kernel_size, *widths = sizes
    shape = shape_of(tiny_model(tiny_config(kernel_size, widths=tuple(widths))))
    lead, follow, alone = (
        make_team(shape, part, parts, make_counters(1)) for part, parts in ((0, 2), (1, 2), (0, 1))
    )
    for field in ("old", "skip", "hidden", "output"):
        whole = getattr(alone, field)
        assert whole[0] == 0 == getattr(lead, field)[0]
        assert getattr(lead, field)[1] == getattr(follow, field)[0]
        assert getattr(follow, field)[1] == whole[1] > 0


def test_two_threads_draw_what_one_does_at_a_real_size(two_cores):
    config = tiny_config(2, tuple(2**n for n in range(8)) * 2, "none", widths=(64, 64, 256))
    model = tiny_model(config, bits=8)
    noise = noise_for(1, n=3000)
    for precision in ("fp32", "bf16"):
        one, two = (
            generate(CpuEngine(model, precision, threads), noise, prompts_of(model, 0))
            for threads in (1, 2)
        )
        assert torch.equal(one, two)
    # the control: a weight that is off by little is noticed
    model.blocks[3].conv.linear.weight[0] += 0.05
    other = generate(CpuEngine(model, "bf16", 2), noise, prompts_of(model, 0))
    assert not torch.equal(other, two)


def test_a_row_of_many_equals_the_clip_alone_to_the_bit(two_cores):
    """Sums keep their order, so that rows agree beyond what drawing shows."""
    # without conditions: torch computes their biases, which differ in the last bit by batch
    model = tiny_model(tiny_config(2, conditions="none", widths=(40, 24, 50)), bits=8)
    prompts = prompts_of(model, *range(9))
    for precision in ("fp32", "bf16"):
        engine = CpuEngine(model, precision, 2)
        state = engine.start(conditioning_for(model, 9, 80))
        engine.prefill(state, prompts)
        codes = torch.arange(9)
        together = engine.step(state, codes)
        for row in range(9):
            alone = engine.start(conditioning_for(model, 9, 80).select([row]))
            engine.prefill(alone, prompts[row : row + 1])
            assert torch.equal(engine.step(alone, codes[row : row + 1])[0], together[row])


@pytest.mark.parametrize("threads", [1, 2])
def test_no_memory_is_read_before_it_is_written(threads, monkeypatch, two_cores):
    model = tiny_model(tiny_config(3, widths=(13, 7, 21)))
    noise, prompts = noise_for(2), prompts_of(model, 0, 9)
    expected = generate(CpuEngine(model, "fp32", threads), noise, prompts)
    clean = cpu_room._zeros
    monkeypatch.setattr(cpu_room, "_zeros", lambda size: np.full_like(clean(size), np.nan))
    assert torch.equal(generate(CpuEngine(model, "fp32", threads), noise, prompts), expected)


def test_only_one_stream_at_a_time_takes_the_second_core(two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    with cpu._second_core:  # somebody else has it
        assert torch.equal(generate(engine, noise, prompts), expected)
    assert not cpu._second_core.locked()


def test_two_streams_at_once_are_both_right(two_cores):
    model = tiny_model()
    engine = CpuEngine(model, threads=2)
    prompts, noises = prompts_of(model, 0), [noise_for(1, seed, 4000) for seed in range(3)]
    expected = [generate(engine, noise, prompts) for noise in noises]
    got: list[torch.Tensor] = [torch.empty(0)] * 3

    def work(n: int) -> None:
        got[n] = generate(engine, noises[n], prompts)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_second_thread_in_the_way_is_given_up(monkeypatch, two_cores):
    """Waits that are often long mean that something else wants the cores: one goes on alone."""
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    engine._alone_until = 0.0  # whatever this machine did to the run above

    def impatient(places):
        counters = make_counters(places)
        if places:
            counters[cpu_threads.SLEEPS] = 1000
        return counters

    monkeypatch.setattr(cpu, "make_counters", impatient)
    assert torch.equal(generate(engine, noise, prompts), expected)
    assert engine._alone_until > time.monotonic()


def test_nobody_waits_for_a_thread_that_is_no_more(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    real = cpu.cpu_kernels.run

    def dies(*arguments):
        team = arguments[9]
        if team.parts > 1 and team.part == 1:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(cpu.cpu_kernels, "run", dies)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(EngineUnavailable, match="ended early; use the engine on one thread"):
        generate(engine, noise, prompts)
    assert not cpu._second_core.locked()


def test_an_error_here_calls_off_the_thread_there():
    counters = make_counters(1)
    seen = threading.Event()

    def here() -> int:
        raise KeyboardInterrupt

    def there() -> int:
        while counters[cpu_threads.ABORT] == 0:
            time.sleep(0.001)
        seen.set()
        return -1

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(here, there, counters)
    assert seen.is_set()


def test_one_core_gets_one_thread(monkeypatch):
    monkeypatch.setattr(cpu, "available_cores", lambda: 1)
    assert CpuEngine(tiny_model()).threads == 1
    assert CpuEngine(tiny_model(), threads=2).threads == 1


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("max 100000", 2), ("5 9", 1)])
def test_a_quota_counts_as_cores(monkeypatch, tmp_path, quota, cores):
    monkeypatch.setattr(cpu_threads.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(cpu_threads, "_QUOTA", tmp_path / "cpu.max")
    assert cpu_threads.available_cores() == 2
    (tmp_path / "cpu.max").write_text(quota)
    assert cpu_threads.available_cores() == cores


def test_cores_are_given_back(two_cores):
    """A run keeps two threads apart, and leaves the caller where it may run as before."""
    before = cpu_threads.os.sched_getaffinity(0)
    generate(CpuEngine(tiny_model(), threads=2), noise_for(1), prompts_of(tiny_model(), 0))
    assert cpu_threads.os.sched_getaffinity(0) == before


def test_settings_that_are_not_to_be_had_are_refused():
    model = tiny_model()
    with pytest.raises(EngineUnavailable, match="runs on 1 or 2 threads; found 3"):
        make_engine("cpu", model, threads=3)
    with pytest.raises(EngineUnavailable, match="'int4' is not known; choose one of fp32, bf16"):
        make_engine("cpu", model, precision="int4")
    with pytest.raises(EngineUnavailable, match="cached keeps weights in fp32 only"):
        make_engine("cached", model, precision="bf16")


def soak(samples: int) -> None:
    """The state after a long run equals the state rebuilt from the last receptive field."""
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
    longer, fresh = engine.step(state, code), engine.step(rebuilt, code)
    torch.testing.assert_close(longer, fresh, atol=1e-5, rtol=1e-5)
    # the control: another past is told apart
    engine.prefill(other := engine.start(conditioning_for(model, 1, 200)), [tail.flip(0)])
    assert (engine.step(other, code) - fresh).abs().max() > 1e-2


def test_a_long_run_does_not_drift():
    soak(300_000)


@pytest.mark.slow
def test_ten_million_samples_do_not_drift():
    soak(10_000_000)


def test_the_faster_way_is_taken_and_the_slower_one_tried_again():
    costs = {True: 2.0, False: 1.0}
    choice, ways = Choice(), []
    for run in range(300):
        if run == 200:
            costs[True] = 0.5  # whatever was in the way of two is gone
        ways.append(choice.pick())
        choice.note(ways[-1], costs[ways[-1]])
    assert ways[0] and ways[:10].count(False) >= 5
    assert 1 <= ways[100:200].count(True) <= 3  # looks
    assert ways[290:].count(True) >= 9


def test_one_slow_run_changes_little():
    choice, ways = Choice(), []
    for run in range(100):
        ways.append(choice.pick())
        choice.note(ways[-1], 1.0 if ways[-1] else 2.0)
        if run in (40, 70):
            choice.note(choice.best, 9.0)  # an accident
    assert ways.count(False) <= 10 and choice.best


def test_long_runs_learn_nothing_from_short_ones(two_cores):
    engine = CpuEngine(tiny_model(), threads=2)
    generate(engine, noise_for(1), prompts_of(engine.model, 0))
    generate(engine, noise_for(1, n=4 * LONG), prompts_of(engine.model, 0))
    assert len(engine._choices) == 2
