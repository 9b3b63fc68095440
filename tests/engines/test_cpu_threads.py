"""Two threads of the engine cpu: partition, synchronisation, and return to one thread."""

import os
import threading
import time

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from tests.engines.conftest import LONG, generate, noise_for
from tests.engines.test_engines import prompts_of
from wavenet.engines.cpu import cpu_engine, threads
from wavenet.engines.cpu.cpu_engine import CpuEngine
from wavenet.engines.cpu.packed_weights import make_cpu_shape
from wavenet.engines.cpu.threads import (
    ThreadCountTuner,
    make_counters,
    make_partition,
    run_in_parallel,
)
from wavenet.errors import EngineUnavailable


def test_the_second_half_of_an_odd_row_waits_for_the_first(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(3), prompts_of(model, 0, 0, 0)
    expected = generate(CpuEngine(model, "bf16", 1), noise, prompts)
    real = cpu_engine.sample_loop.generate_samples

    def slow_first_half(*arguments):
        if arguments[7].shape == (1, LONG // 2) and arguments[5] == 0:
            time.sleep(0.2)
        return real(*arguments)

    monkeypatch.setattr(cpu_engine.sample_loop, "generate_samples", slow_first_half)
    assert torch.equal(generate(CpuEngine(model, "bf16", 2), noise, prompts), expected)


@pytest.mark.parametrize(
    "sizes", [(2, 64, 64, 256), (3, 128, 128, 128), (1, 8, 8, 8), (16, 9, 70, 33)]
)
def test_two_threads_process_every_panel_once(sizes):
    kernel_size, *widths = sizes
    shape = make_cpu_shape(tiny_model(tiny_config(kernel_size, widths=tuple(widths))))
    leader, follower, alone = (
        make_partition(shape, thread, count, make_counters(1))
        for thread, count in ((0, 2), (1, 2), (0, 1))
    )
    for field in ("past_taps", "skip", "hidden", "output"):
        whole = getattr(alone, field)
        assert whole[0] == 0 == getattr(leader, field)[0]
        assert getattr(leader, field)[1] == getattr(follower, field)[0]
        assert getattr(follower, field)[1] == whole[1] > 0


def test_only_one_run_at_a_time_uses_the_second_core(two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    with cpu_engine._second_thread:  # as if another run used it
        assert torch.equal(generate(engine, noise, prompts), expected)
    assert not cpu_engine._second_thread.locked()


def test_simultaneous_runs_are_all_correct(two_cores):
    model = tiny_model()
    engine = CpuEngine(model, threads=2)
    prompts, noises = prompts_of(model, 0), [noise_for(1, seed, 4000) for seed in range(3)]
    expected = [generate(engine, noise, prompts) for noise in noises]
    got: list[torch.Tensor] = [torch.empty(0)] * 3

    def generate_one(n: int) -> None:
        got[n] = generate(engine, noises[n], prompts)

    callers = [threading.Thread(target=generate_one, args=(n,)) for n in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


def test_two_slow_threads_continue_as_one(monkeypatch, two_cores):
    """Many long waits mean that another process needs the cores: one thread continues alone."""
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    expected = generate(engine, noise, prompts)
    # Clear the stored speeds: on a busy machine, the run above may have measured that one thread is
    # faster.
    engine._tuners.clear()
    engine._one_thread_until = 0.0
    began = time.monotonic()

    def with_many_sleeps(sync_points):
        counters = make_counters(sync_points)
        if sync_points:
            counters[threads.SLEEPS] = 1000
        return counters

    monkeypatch.setattr(cpu_engine, "make_counters", with_many_sleeps)
    assert torch.equal(generate(engine, noise, prompts), expected)
    assert engine._one_thread_until > began


def test_a_thread_that_ended_early_is_an_error(monkeypatch, two_cores):
    model = tiny_model()
    noise, prompts = noise_for(1), prompts_of(model, 0)
    engine = CpuEngine(model, threads=2)
    real = cpu_engine.sample_loop.generate_samples

    def dies(*arguments):
        partition = arguments[9]
        if partition.threads > 1 and partition.thread == 1:
            raise MemoryError
        return real(*arguments)

    monkeypatch.setattr(cpu_engine.sample_loop, "generate_samples", dies)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"ended early.* one thread"):
        generate(engine, noise, prompts)
    assert not cpu_engine._second_thread.locked()


def test_an_error_in_one_thread_stops_the_other():
    counters = make_counters(1)
    seen = threading.Event()

    def first_call() -> int:
        raise KeyboardInterrupt

    def second_call() -> int:
        while counters[threads.ABORT] == 0:
            time.sleep(0.001)
        seen.set()
        return -1

    with pytest.raises(KeyboardInterrupt):
        run_in_parallel(first_call, second_call, counters)
    assert seen.is_set()


def test_one_core_runs_one_thread(monkeypatch):
    monkeypatch.setattr(cpu_engine, "available_cores", lambda: 1)
    assert CpuEngine(tiny_model()).threads == 1
    assert CpuEngine(tiny_model(), threads=2).threads == 1


def test_the_affinity_of_the_caller_is_restored(two_cores):
    """During a run each thread has its own core."""
    before = os.sched_getaffinity(0)
    generate(CpuEngine(tiny_model(), threads=2), noise_for(1), prompts_of(tiny_model(), 0))
    assert os.sched_getaffinity(0) == before


def test_the_faster_thread_count_is_chosen_and_the_slower_one_tried_again():
    costs = {True: 2.0, False: 1.0}
    tuner, choices = ThreadCountTuner(), []
    for run in range(300):
        if run == 200:
            costs[True] = 0.5  # two threads are no longer disturbed
        choices.append(tuner.choose())
        tuner.record(choices[-1], costs[choices[-1]])
    assert choices[0] and choices[:10].count(False) >= 5
    assert 1 <= choices[100:200].count(True) <= 3  # trials
    assert choices[290:].count(True) >= 9


def test_one_slow_run_changes_little():
    tuner, choices = ThreadCountTuner(), []
    for run in range(100):
        choices.append(tuner.choose())
        tuner.record(choices[-1], 1.0 if choices[-1] else 2.0)
        if run in (40, 70):
            tuner.record(tuner.two_threads, 9.0)  # an outlier
    assert choices.count(False) <= 10 and tuner.two_threads


def test_short_and_long_runs_have_their_own_choice(two_cores):
    engine = CpuEngine(tiny_model(), threads=2)
    generate(engine, noise_for(1), prompts_of(engine.model, 0))
    generate(engine, noise_for(1, n=4 * LONG), prompts_of(engine.model, 0))
    assert len(engine._tuners) == 2
