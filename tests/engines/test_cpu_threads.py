"""Two threads of the engine cpu: they share the work, wait for each other, or give up."""

import threading
import time

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import LONG, generate, noise_for
from tests.engines.test_engines import prompts_of
from wavenet.engines.cpu import cpu_engine, thread_sync
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.cpu.packed_weights import shape_of
from wavenet.engines.cpu.thread_count_tuner import Choice
from wavenet.engines.cpu.thread_sync import make_counters, run_side_by_side
from wavenet.engines.cpu.workspace import make_team
from wavenet.errors import EngineUnavailable


def test_the_second_half_of_an_odd_row_waits_for_the_first(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(3), prompts_of(model, 0, 0, 0)
    expected = generate(CpuEngine(model, "bf16", 1), noise, prompts)
    real = cpu_engine.sample_loop.run

    def slow_first_half(*arguments):
        if arguments[7].shape == (1, LONG // 2) and arguments[5] == 0:
            time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(cpu_engine.sample_loop, "run", slow_first_half)
    assert torch.equal(generate(CpuEngine(model, "bf16", 2), noise, prompts), expected)


@pytest.mark.parametrize(
    "sizes", [(2, 64, 64, 256), (3, 128, 128, 128), (1, 8, 8, 8), (16, 9, 70, 33)]
)
def test_two_threads_process_every_panel_once(sizes):
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


def test_only_one_run_at_a_time_uses_the_second_core(two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    with cpu_engine._second_core:  # as if another run used it
        assert torch.equal(generate(engine, noise, prompts), expected)
    assert not cpu_engine._second_core.locked()


def test_simultaneous_runs_are_all_correct(two_cores):
    model = tiny_model()
    engine = CpuEngine(model, threads=2)
    prompts, noises = prompts_of(model, 0), [noise_for(1, seed, 4000) for seed in range(3)]
    expected = [generate(engine, noise, prompts) for noise in noises]
    got: list[torch.Tensor] = [torch.empty(0)] * 3

    def generate_one(n: int) -> None:
        got[n] = generate(engine, noises[n], prompts)

    threads = [threading.Thread(target=generate_one, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_a_slow_second_thread_is_given_up(monkeypatch, two_cores):
    """Many long waits mean that another process needs the cores: one thread continues alone."""
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    # forget what the run above learned: on a busy machine that one thread is faster
    engine._choices.clear()
    engine._alone_until = 0.0
    began = time.monotonic()

    def impatient(places):
        counters = make_counters(places)
        if places:
            counters[thread_sync.SLEEPS] = 1000
        return counters

    monkeypatch.setattr(cpu_engine, "make_counters", impatient)
    assert torch.equal(generate(engine, noise, prompts), expected)
    assert engine._alone_until > began


def test_a_thread_that_ended_early_is_an_error(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    real = cpu_engine.sample_loop.run

    def dies(*arguments):
        team = arguments[9]
        if team.parts > 1 and team.part == 1:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(cpu_engine.sample_loop, "run", dies)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"ended early.* one thread"):
        generate(engine, noise, prompts)
    assert not cpu_engine._second_core.locked()


def test_an_error_in_one_thread_stops_the_other():
    counters = make_counters(1)
    seen = threading.Event()

    def here() -> int:
        raise KeyboardInterrupt

    def there() -> int:
        while counters[thread_sync.ABORT] == 0:
            time.sleep(0.001)
        seen.set()
        return -1

    with pytest.raises(KeyboardInterrupt):
        run_side_by_side(here, there, counters)
    assert seen.is_set()


def test_one_core_runs_one_thread(monkeypatch):
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 1)
    assert CpuEngine(tiny_model()).threads == 1
    assert CpuEngine(tiny_model(), threads=2).threads == 1


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("max 100000", 2), ("5 9", 1)])
def test_a_cpu_quota_limits_the_cores(monkeypatch, tmp_path, quota, cores):
    monkeypatch.setattr(thread_sync.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(thread_sync, "_QUOTA", tmp_path / "cpu.max")
    assert thread_sync.available_cores() == 2
    (tmp_path / "cpu.max").write_text(quota)
    assert thread_sync.available_cores() == cores


def test_the_affinity_of_the_caller_is_restored(two_cores):
    """During a run each thread has its own core."""
    before = thread_sync.os.sched_getaffinity(0)
    generate(CpuEngine(tiny_model(), threads=2), noise_for(1), prompts_of(tiny_model(), 0))
    assert thread_sync.os.sched_getaffinity(0) == before


def test_the_faster_thread_count_is_chosen_and_the_slower_one_tried_again():
    costs = {True: 2.0, False: 1.0}
    choice, ways = Choice(), []
    for run in range(300):
        if run == 200:
            costs[True] = 0.5  # two threads are no longer disturbed
        ways.append(choice.pick())
        choice.note(ways[-1], costs[ways[-1]])
    assert ways[0] and ways[:10].count(False) >= 5
    assert 1 <= ways[100:200].count(True) <= 3  # trials
    assert ways[290:].count(True) >= 9


def test_one_slow_run_changes_little():
    choice, ways = Choice(), []
    for run in range(100):
        ways.append(choice.pick())
        choice.note(ways[-1], 1.0 if ways[-1] else 2.0)
        if run in (40, 70):
            choice.note(choice.best, 9.0)  # an outlier
    assert ways.count(False) <= 10 and choice.best


def test_short_and_long_runs_have_their_own_choice(two_cores):
    engine = CpuEngine(tiny_model(), threads=2)
    generate(engine, noise_for(1), prompts_of(engine.model, 0))
    generate(engine, noise_for(1, n=4 * LONG), prompts_of(engine.model, 0))
    assert len(engine._choices) == 2
