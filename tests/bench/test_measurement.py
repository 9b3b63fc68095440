"""The plan of a benchmark and the figures of a speed, with a simulated clock."""

from types import SimpleNamespace

import pytest
import torch

from tests.conftest import tiny_config, tiny_model
from wavenet.bench import measurement
from wavenet.bench.configurations import BenchmarkModel
from wavenet.bench.machine import Ceilings
from wavenet.bench.measurement import (
    BenchmarkCase,
    make_measurement,
    measure_all,
    measure_case,
    plan_cases,
)
from wavenet.errors import ConfigError, EngineUnavailable


@pytest.fixture(autouse=True)
def two_cores(monkeypatch):
    monkeypatch.setattr(measurement, "available_cores", lambda: 2)
    monkeypatch.setattr(measurement, "TWO_THREADS_SUPPORTED", True)


@pytest.fixture
def subject():
    return BenchmarkModel("tiny", tiny_model(tiny_config(conditions="label")))


def test_a_plan_omits_unsupported_combinations():
    cases = plan_cases(["A"], ["cpu", "cached"], [1, 64], ["fp32", "bf16"], [1, 2])
    assert [(c.streams, c.engine, c.precision, c.threads) for c in cases] == [
        (streams, *rest)
        for streams in (1, 64)
        for rest in (
            ("cached", "fp32", 1),
            ("cpu", "fp32", 1),
            ("cpu", "fp32", 2),
            ("cpu", "bf16", 1),
            ("cpu", "bf16", 2),
        )
    ]


def test_a_plan_has_no_duplicates():
    cases = plan_cases(["S", "S"], ["cpu", "cpu"], [1, 1], ["fp32"], [1, 1])
    assert cases == [BenchmarkCase("cpu", "S", 1, "fp32", 1)]


def test_a_second_thread_needs_a_second_core(monkeypatch):
    monkeypatch.setattr(measurement, "available_cores", lambda: 1)
    assert [c.threads for c in plan_cases(["A"], ["cpu"], [1], ["fp32"], [1, 2])] == [1]
    with pytest.raises(EngineUnavailable, match="nothing to measure: cpu cannot run in fp32 on 2"):
        plan_cases(["A"], ["cpu"], [1], ["fp32"], [2])


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"engines": ["tpu"]}, EngineUnavailable, "'tpu'.*reference, cached, cpu"),
        ({"precisions": ["int4"]}, EngineUnavailable, "'int4'.*fp32, bf16, int8"),
        ({"streams": [1, 0]}, ConfigError, "--streams must be 1 to 1,024, found 0"),
        ({"streams": [2000]}, ConfigError, "found 2,000"),
        ({"threads": [3]}, ConfigError, "--threads must be 1 to 2, found 3"),
        ({"engines": ["cached"], "precisions": ["bf16"]}, EngineUnavailable, "cached cannot run"),
        ({"engines": ["reference"], "threads": [2]}, EngineUnavailable, "nothing to measure"),
    ],
)
def test_a_plan_refuses_invalid_options(change, error, words):
    options = {"engines": ["cpu"], "streams": [1], "precisions": ["fp32"], "threads": [1]}
    with pytest.raises(error, match=words):
        plan_cases(["A"], **(options | change))


def simulate_model(sample_rate):
    """Return a model with a million weights."""
    return BenchmarkModel("A", SimpleNamespace(macs_per_sample=1_000_000, sample_rate=sample_rate))


def test_one_stream_is_limited_by_reading():
    ceilings = Ceilings({(4_000_000, 2): 80e9}, {2: 50e9})
    case = BenchmarkCase("cpu", "A", 1, "fp32", 2)
    row = make_measurement(case, simulate_model(16_000), 16_000.0, ceilings, baseline=500.0)
    assert (row.engine, row.configuration, row.streams) == ("cpu", "A", 1)
    assert (row.precision, row.threads) == ("fp32", 2)
    assert row.samples_per_second == 16_000
    assert row.times_real_time == 1
    assert row.macs_per_second == 16e9
    assert row.weight_bytes_per_second == 64e9
    assert row.share_of_ceiling == 0.8  # 64 of 80 GB/s; 16 of 50 GMAC/s would be 0.32
    assert row.ratio_to_cached == 32


def test_many_streams_read_once_per_step_and_are_limited_by_multiplying():
    ceilings = Ceilings({(2_000_000, 1): 80e9}, {1: 50e9})
    case = BenchmarkCase("cpu", "A", 64, "bf16", 1)
    row = make_measurement(case, simulate_model(8_000), 32_000.0, ceilings, baseline=None)
    assert row.times_real_time == 4
    assert row.macs_per_second == 32e9
    assert row.weight_bytes_per_second == 1e9  # 500 steps a second of 2 MB
    assert row.share_of_ceiling == 0.64
    assert row.ratio_to_cached is None


def test_the_speed_is_the_median_of_runs_after_a_warm_up(monkeypatch, subject):
    """The simulated engine takes 100 s to compile, 0.01 s per step, then 0.8, 2.4 and 1.6 s."""
    clock, runs, calls, durations = [0.0], [], [], iter([0.8, 2.4, 1.6])

    class Engine:
        model = subject.model

        def start(self, conditioning):
            assert conditioning.labels.tolist() == [[0], [0]]  # the first label
            return SimpleNamespace(memory=None)

        def run(self, state, n, sampling, noise):
            assert noise.shape == (2, n)
            assert torch.get_num_threads() == 1
            runs.append(n)
            clock[0] += 100 if len(runs) == 1 else next(durations) if n == 80 else 0.01 * n

    monkeypatch.setattr(measurement, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(measurement, "make_engine", lambda *given: calls.append(given) or Engine())
    torch.set_num_threads(2)
    latencies = iter([3e-7, 1e-7, 2e-7])
    monkeypatch.setattr(measurement, "measure_core_latency", lambda: next(latencies))
    speed, core_latency = measure_case(
        BenchmarkCase("cpu", "tiny", 2, "bf16", 2), subject, runs=3, seconds=0.8
    )
    assert calls == [("cpu", subject.model, "bf16", 2)]
    assert runs[-3:] == [80, 80, 80]
    assert speed == pytest.approx(2 * 80 / 1.6)
    assert core_latency == 2e-7
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("engine", ["reference", "cached"])
@pytest.mark.parametrize("streams", [1, 3])
def test_the_torch_engines_are_measured(subject, engine, streams):
    case = BenchmarkCase(engine, "tiny", streams, "fp32", 1)
    speed, core_latency = measure_case(case, subject, runs=1, seconds=1e-3)
    assert speed > 0
    assert core_latency is None


def test_the_reference_starts_with_a_whole_receptive_field(monkeypatch, subject):
    seen = []
    engine = measurement.make_engine("reference", subject.model)
    run = engine.run
    engine.run = lambda state, *rest: seen.append(state.position.tolist()) or run(state, *rest)
    monkeypatch.setattr(measurement, "make_engine", lambda *arguments: engine)
    measure_case(BenchmarkCase("reference", "tiny", 2, "fp32", 1), subject, runs=1, seconds=1e-3)
    assert seen[0] == [subject.model.receptive_field] * 2


def test_each_engine_is_compared_to_cached_with_as_many_streams(monkeypatch, subject):
    speeds = {("cached", 1): 10.0, ("cached", 2): 30.0, ("cpu", 1): 40.0, ("cpu", 2): 90.0}
    monkeypatch.setattr(
        measurement, "measure_case", lambda case, *_: (speeds[case.engine, case.streams], 1e-7)
    )
    ceilings, shown = Ceilings({(subject.weight_bytes("fp32"), 1): 1e9}, {1: 1e9}), []
    monkeypatch.setattr(measurement, "measure_ceilings", lambda sizes, threads: ceilings)
    cases = [BenchmarkCase(e, "tiny", n, "fp32", 1) for e in ("cached", "cpu") for n in (1, 2)]
    found, rows = measure_all({"tiny": subject}, cases, 1, shown.append, shown.append)
    assert found is ceilings
    assert shown == [ceilings, *rows]
    assert {r.core_latency for r in rows} == {1e-7}
    assert [(r.engine, r.streams, r.ratio_to_cached) for r in rows] == [
        ("cached", 1, 1.0), ("cached", 2, 1.0), ("cpu", 1, 4.0), ("cpu", 2, 3.0),
    ]  # fmt: skip
