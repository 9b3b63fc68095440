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
    """Run the command: exit code, stdout, stderr."""
    monkeypatch.setattr(machine, "TRIES", 1)

    def call(*arguments):
        code = run(["bench", *(str(a) for a in arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_last_line_is_one_document_whose_numbers_agree(bench, make_checkpoint):
    folder = make_checkpoint().folder
    code, out, err = bench(
        "--checkpoint", folder, "--streams", 1, "--threads", 1, "--precision", "fp32", "--runs", 1
    )
    assert code == 0, err
    header, *table, last = out.splitlines()
    assert "samples/s" in header
    assert [line.split()[:3] for line in table] == [["tiny", "1", "cached"], ["tiny", "1", "cpu"]]
    found = json.loads(last)
    assert set(found) == {"machine", "runs", "ceilings", "rows"}
    assert found["runs"] == 1
    cached, cpu = found["rows"]
    assert (cached["engine"], cpu["engine"]) == ("cached", "cpu")
    assert cached["ratio_to_cached"] == 1
    assert cpu["ratio_to_cached"] == cpu["samples_per_second"] / cached["samples_per_second"]
    (read,) = found["ceilings"]["read"]
    (multiply,) = found["ceilings"]["multiply"]
    assert cpu["share_of_ceiling"] == max(
        cpu["weight_bytes_per_second"] / read["bytes_per_second"],
        cpu["macs_per_second"] / multiply["macs_per_second"],
    )
    assert "GMAC/s" in err


def test_the_document_carries_every_ceiling():
    ceilings = build_report({}, 1, Ceilings({(8, 1): 3.0, (8, 2): 4.0}, {1: 5.0}), [])["ceilings"]
    assert ceilings == {
        "read": [
            {"bytes": 8, "threads": 1, "bytes_per_second": 3.0},
            {"bytes": 8, "threads": 2, "bytes_per_second": 4.0},
        ],
        "multiply": [{"threads": 1, "macs_per_second": 5.0}],
    }


def test_with_json_there_is_nothing_but_the_document(bench, make_checkpoint):
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
        (("--configuration", "Z"), "'Z' is not known; choose one of A, B, S"),
        (
            ("--engine", "tpu"),
            "'tpu' is not known; choose one of reference, cached, cpu, gpu, graph",
        ),
        (("--engine", "gpu"), "the engine gpu needs a CUDA GPU, and none was found here"),
        (("--engine", "cpu", "--engine", "graph"), "the engine graph needs a CUDA GPU"),
        (("--precision", "int8"), "'int8' is not known"),
        (("--streams", 0), "--streams takes 1"),
        (("--threads", 3), "--threads takes 1 to 2"),
        (("--engine", "cached", "--precision", "bf16"), "nothing to measure"),
        (("--configuration", "S", "--checkpoint", "here"), "exclude each other"),
    ],
)
def test_bad_values_are_refused_with_one_sentence(bench, arguments, words, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    code, out, err = bench(*arguments)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("wavenet: ")
    assert words in err


def test_an_engine_for_a_gpu_is_measured_without_the_ceilings_of_the_processor(
    bench, make_checkpoint, monkeypatch
):
    """There is no GPU here: the step of `graph` runs from Python."""
    monkeypatch.setattr(measurement, "device_for", lambda *_: torch.device("cpu"))
    folder = make_checkpoint().folder
    code, out, err = bench(
        "--checkpoint", folder, "--engine", "graph", "--streams", 2000, "--runs", 1
    )
    assert code == 0, err
    row = out.splitlines()[1].split()
    assert row[:5] == ["tiny", "2000", "graph", "fp32", "1"] and "%" not in out
    (found,) = json.loads(out.splitlines()[-1])["rows"]
    assert found["share_of_ceiling"] is None and found["samples_per_second"] > 0
    assert json.loads(out.splitlines()[-1])["ceilings"] == {"read": [], "multiply": []}


def test_a_gpu_takes_both_precisions_where_its_engine_does(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    cases = measurement.plan_cases(["A"], ["gpu", "graph"], [1, 8192], ["fp32", "bf16"], [1, 2])
    assert {(c.engine, c.precision, c.threads) for c in cases} == {
        ("gpu", "fp32", 1),
        ("gpu", "bf16", 1),
        ("graph", "fp32", 1),
    }
    assert {c.streams for c in cases} == {1, 8192}
