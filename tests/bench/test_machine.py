"""The ceilings of the machine: figures with a simulated clock, and one real measurement of each."""

import itertools
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from wavenet.bench import machine
from wavenet.devices import available_cores


def test_rates_are_positive_and_the_threads_of_torch_are_restored():
    torch.set_num_threads(2)
    ceilings = machine.measure_ceilings([1000], [1])
    assert torch.get_num_threads() == 2
    assert list(ceilings.read_bandwidth) == [(1000, 1)]
    assert list(ceilings.multiply_rate) == [1]
    assert min(*ceilings.read_bandwidth.values(), *ceilings.multiply_rate.values()) > 0


def test_two_threads_read_and_multiply():
    assert machine.measure_read_bandwidth(4096, 2, seconds=1e-4) > 0
    assert machine.measure_multiply_rate(2, seconds=1e-4) > 0


@pytest.mark.parametrize(("threads", "read"), [(1, 4096), (2, 4096), (2, 4100), (2, 1)])
def test_reading_counts_the_words_of_all_threads(monkeypatch, threads, read):
    shares = []

    def fake(calls):
        shares[:] = [(call.args[0].nbytes, call.args[1]) for call in calls]
        return 0.25 * calls[0].args[1]  # 0.25 s per pass

    monkeypatch.setattr(machine, "time_in_parallel", fake)
    rate = machine.measure_read_bandwidth(read, threads, seconds=2.0)
    whole = max(read // 64 * 64, 64)  # 4 words of 8 bytes in each of two threads
    assert shares == [(whole // threads, 8)] * threads
    assert rate == whole / 0.25


@pytest.mark.parametrize("threads", [1, 2])
def test_multiplying_counts_the_products_of_all_threads(monkeypatch, threads):
    counts = []

    def fake(calls):
        counts.append((len(calls), calls[0].args[-1]))
        return 0.5 * calls[0].args[-1]

    monkeypatch.setattr(machine, "time_in_parallel", fake)
    assert machine.measure_multiply_rate(threads, seconds=3.0) == threads * 512**3 / 0.5
    assert counts[-1] == (threads, 6)


def test_every_pass_reads_the_whole_buffer():
    buffer = torch.arange(64).numpy()
    assert machine._sum_buffer(buffer, 3) == 3 * 64 * 63 / 2


def test_the_best_attempt_counts():
    durations = iter([9.0, 1.0, *[3.0] * (machine.ATTEMPTS - 1), 0.5])
    # The first two are the warm-up and the calibration, which decides for one repetition.
    assert machine.best_rate(lambda times: next(durations), amount=10, seconds=1.0) == 10 / 0.5
    assert next(durations, None) is None


@pytest.mark.parametrize(("each", "times"), [(0.001, 500), (0.1, 5), (0.5, 1), (7.0, 1)])
def test_calibration_fills_the_requested_seconds(each, times):
    calls = []

    def run(n):
        calls.append(n)
        # The first run compiles and must not count.
        return 100.0 if len(calls) == 1 else n * each

    assert machine.calibrate(run, 0.5) == times
    assert sum(calls) <= 2 * times + 1


def test_calls_run_in_parallel_and_the_longest_determines_the_time():
    barrier = threading.Barrier(2)  # neither call can end without the other

    def call():
        barrier.wait(timeout=60)
        time.sleep(0.01)

    assert 0.01 <= machine.time_in_parallel([call, call]) < 60


@pytest.mark.skipif(available_cores() < 2, reason="needs two cores")
def test_the_core_latency_is_that_of_one_way(monkeypatch):
    assert 1e-9 < machine.measure_core_latency() < 1e-2
    repetitions = []

    def run_in_parallel(first, second, counters):
        repetitions.append(first.args[1])
        assert second.args[1] == repetitions[-1]
        assert (first.args[0].thread, second.args[0].thread) == (0, 1)

    ticks = itertools.count()  # each run takes one second
    monkeypatch.setattr(machine, "run_in_parallel", run_in_parallel)
    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    assert machine.measure_core_latency() == pytest.approx(1 / repetitions[-1] / 2)


def test_more_threads_never_have_a_lower_limit(monkeypatch):
    assert machine.running_maximum([3.0, 2.0, 5.0]) == [3.0, 3.0, 5.0]
    monkeypatch.setattr(machine, "measure_read_bandwidth", lambda size, threads: size / threads)
    monkeypatch.setattr(machine, "measure_multiply_rate", lambda threads: 10.0 * threads)
    ceilings = machine.measure_ceilings([8, 16, 8], [2, 1, 2])
    assert ceilings.read_bandwidth == {(8, 1): 8, (8, 2): 8, (16, 1): 16, (16, 2): 16}
    assert ceilings.multiply_rate == {1: 10, 2: 20}


def test_the_machine_is_described():
    described = machine.describe_machine()
    assert set(described) == {
        "processor", "cores", "load", "system", "python", "torch", "numba", "date",
    }  # fmt: skip
    assert described["torch"] == torch.__version__
    assert described["processor"]
