"""`wavenet bench`, run in this process."""

import json

import pytest
import torch

from wavenet.bench import machine, measurement
from wavenet.bench.machine import Ceilings
from wavenet.cli.bench_command import build_report
from wavenet.cli.main import run


@pytest.fixture
def bench(capsys, monkeypatch):
    """Return a function that runs the command and returns exit code, stdout and stderr."""
    monkeypatch.setattr(machine, "ATTEMPTS", 1)

    def call(*arguments):
        code = run(["bench", *(str(a) for a in arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_last_line_is_one_document_with_consistent_numbers(bench, make_checkpoint):
    folder = make_checkpoint().folder
    code, out, err = bench(
        "--checkpoint", folder, "--streams", 1, "--threads", 1, "--precision", "fp32", "--runs", 1
    )
    assert code == 0, err
    header, *table, last = out.splitlines()
    assert "samples/s" in header
    assert [line.split()[:3] for line in table] == [["tiny", "1", "cached"], ["tiny", "1", "cpu"]]
    report = json.loads(last)
    assert set(report) == {"machine", "runs", "ceilings", "rows"}
    assert report["runs"] == 1
    cached, cpu = report["rows"]
    assert (cached["engine"], cpu["engine"]) == ("cached", "cpu")
    assert cached["ratio_to_cached"] == 1
    assert cpu["ratio_to_cached"] == cpu["samples_per_second"] / cached["samples_per_second"]
    (read,) = report["ceilings"]["read"]
    (multiply,) = report["ceilings"]["multiply"]
    assert cpu["share_of_ceiling"] == max(
        cpu["weight_bytes_per_second"] / read["bytes_per_second"],
        cpu["macs_per_second"] / multiply["macs_per_second"],
    )
    assert "GMAC/s" in err


def test_the_document_contains_every_ceiling():
    ceilings = build_report({}, 1, Ceilings({(8, 1): 3.0, (8, 2): 4.0}, {1: 5.0}), [])["ceilings"]
    assert ceilings == {
        "read": [
            {"bytes": 8, "threads": 1, "bytes_per_second": 3.0},
            {"bytes": 8, "threads": 2, "bytes_per_second": 4.0},
        ],
        "multiply": [{"threads": 1, "macs_per_second": 5.0}],
    }


def test_with_json_only_the_document_is_printed(bench, make_checkpoint):
    code, out, _ = bench(
        "--checkpoint", make_checkpoint().folder, "--engine", "cpu", "--streams", 1, "--streams", 2,
        "--threads", 1, "--precision", "bf16", "--runs", 1, "--json",
    )  # fmt: skip
    assert code == 0
    assert out.count("\n") == 1
    rows = json.loads(out)["rows"]
    assert [(r["streams"], r["precision"], r["ratio_to_cached"]) for r in rows] == [
        (1, "bf16", None), (2, "bf16", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--configuration", "Z"), "unknown configuration 'Z'; expected one of A, B, S"),
        (
            ("--engine", "tpu"),
            "unknown engine 'tpu'; expected one of reference, cached, cpu, gpu, graph",
        ),
        (("--engine", "gpu"), "the engine gpu needs a CUDA GPU"),
        (("--engine", "cpu", "--engine", "graph"), "the engine graph needs a CUDA GPU"),
        (("--precision", "int4"), "unknown precision 'int4'"),
        (("--streams", 0), "--streams must be 1 to"),
        (("--threads", 3), "--threads must be 1 to 2"),
        (("--engine", "cached", "--precision", "bf16"), "nothing to measure"),
        (("--configuration", "S", "--checkpoint", "here"), "exclude each other"),
    ],
)
def test_invalid_values_are_refused(bench, arguments, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("wavenet: ")
    assert words in err


def test_a_gpu_engine_is_measured_without_ceilings(bench, make_checkpoint, monkeypatch):
    """Without a GPU, the engine graph runs its step from Python, not from a recorded graph."""
    monkeypatch.setattr(measurement, "device_for", lambda *_: torch.device("cpu"))
    folder = make_checkpoint().folder
    code, out, err = bench(
        "--checkpoint", folder, "--engine", "graph", "--streams", 2000, "--runs", 1
    )
    assert code == 0, err
    row = out.splitlines()[1].split()
    assert row[:5] == ["tiny", "2000", "graph", "fp32", "1"] and "%" not in out.splitlines()[1]
    (found,) = json.loads(out.splitlines()[-1])["rows"]
    assert found["share_of_ceiling"] is None and found["samples_per_second"] > 0
    assert json.loads(out.splitlines()[-1])["ceilings"] == {"read": [], "multiply": []}


def test_the_engine_gpu_supports_both_precisions(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cases = measurement.plan_cases(["A"], ["gpu", "graph"], [1, 8192], ["fp32", "bf16"], [1, 2])
    assert {(c.engine, c.precision, c.threads) for c in cases} == {
        ("gpu", "fp32", 1),
        ("gpu", "bf16", 1),
        ("graph", "fp32", 1),
    }
    assert {c.streams for c in cases} == {1, 8192}
