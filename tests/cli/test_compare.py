"""`wavenet compare`: train and report."""

import json

import pytest

from tests.cli.conftest import assert_refused
from tests.comparison.conftest import RECIPE, write_tones


@pytest.fixture
def arguments(tmp_path):
    write_tones(tmp_path / "tones")
    recipe = tmp_path / "tones.toml"
    recipe.write_text(RECIPE)
    own = ("--parameters", "10000", "--training-seconds", "0.1", "--member", "wavenet")
    return (tmp_path / "tones", "--recipe", recipe, *own, "--out", tmp_path / "out")


@pytest.mark.slow
def test_train_then_report(run_command, arguments, tmp_path, monkeypatch):
    monkeypatch.setattr("wavenet.comparison.measure_members.CLIPS", 2)
    monkeypatch.setattr("wavenet.comparison.measure_members.SPEED_SECONDS", 0.01)
    monkeypatch.setattr("wavenet.comparison.measure_members.COST_SECONDS", 0.001)
    monkeypatch.setattr("wavenet.comparison.train_members.SPEED_SECONDS", 0.1)
    monkeypatch.setattr("wavenet.evaluation.classifiers.CNN_STEPS", 5)
    assert_refused(run_command("compare", "report", *arguments), "compare train", code=1)
    assert run_command("compare", "train", *arguments)[0] == 0
    code, out, _ = run_command("compare", "report", *arguments)
    assert code == 0
    assert "| WaveNet |" in out
    (row,) = json.loads((tmp_path / "out" / "metrics.json").read_text())["rows"]
    assert row["member"] == "wavenet"
    assert (tmp_path / "out" / "speed.png").exists()
    assert_refused(run_command("compare", "report", *arguments), "--overwrite", code=2)


def test_an_unknown_member_is_refused(run_command, arguments):
    changed = ["gruu" if value == "wavenet" else value for value in arguments]
    assert_refused(run_command("compare", "train", *changed), "gruu", "did you mean gru")


def test_a_budget_far_below_the_smallest_model_is_refused_before_the_training(
    run_command, arguments, tmp_path
):
    few = ["2000" if value == "10000" else value for value in arguments]
    both = (*few, "--member", "histogram")
    assert_refused(run_command("compare", "train", *both), "2,000 parameters", "for wavenet")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_held_out_recordings_is_refused(run_command, arguments):
    arguments[2].write_text(RECIPE.replace("test = {", "#"))
    assert_refused(run_command("compare", "train", *arguments), "held out for test", code=1)
