"""`wavenet effects check`: its table, its files, its exit codes."""

import json

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import assert_refused
from tests.effects.pair_sounds import RATE, delayed, overdrive, plucked


@pytest.fixture
def pair(tmp_path):
    dry = plucked(8)
    paths = (tmp_path / "dry.wav", tmp_path / "wet.wav")
    for path, samples in zip(paths, (dry, delayed(-overdrive(dry), 5)), strict=True):
        soundfile.write(path, samples, RATE, subtype="PCM_24")
    return paths


def test_the_table_names_each_check(run_command, pair):
    code, out, err = run_command("effects", "check", *pair)
    assert (code, err) == (0, "")
    rows = {line[13:29].strip(): line for line in out.splitlines()}
    assert rows["polarity"].startswith("warn ")
    assert rows["latency"].startswith("pass ")
    assert "5 samples" in rows["latency"]
    assert out.splitlines()[-1].endswith("8.0 s, latency 5 samples")


def test_one_file_is_no_pair(run_command, pair):
    dry, _ = pair
    assert_refused(run_command("effects", "check", dry, dry), "both the dry and the wet")


def test_a_failed_check_sets_the_exit_code(run_command, pair):
    dry, wet = pair
    code, out, _ = run_command("effects", "check", wet, dry, "--json")
    report = json.loads(out)
    assert code == 1
    assert report["verdict"] == "fail"
    assert {c["name"]: c["verdict"] for c in report["checks"]}["order"] == "fail"


@pytest.mark.slow
def test_plots_and_report_are_written_and_kept(run_command, pair, tmp_path):
    out = tmp_path / "report"
    assert run_command("effects", "check", *pair, "--out", out)[0] == 0
    report = json.loads((out / "report.json").read_text())
    assert len(list(out.glob("*.png"))) == len(report["checks"]) == 14
    assert report["latency"] == 5
    assert_refused(run_command("effects", "check", *pair, "--out", out), "exists already")
    assert run_command("effects", "check", *pair, "--out", out, "--overwrite")[0] == 0


def test_another_rate_is_resampled_and_named(run_command, pair, tmp_path):
    dry, wet = pair
    samples, _ = soundfile.read(wet)
    other = tmp_path / "other.wav"
    soundfile.write(other, np.repeat(samples, 2), 2 * RATE)
    code, out, err = run_command("effects", "check", dry, other)
    assert code == 0
    assert "resampled 16000 Hz to 8000 Hz" in err
    assert "warn         format" in out


def test_an_unreadable_file_is_one_sentence(run_command, pair, tmp_path):
    missing = tmp_path / "none.wav"
    assert_refused(run_command("effects", "check", pair[0], missing), "Cannot read", code=1)
