"""Measures, rows and the table of trained members."""

import json
from dataclasses import replace

import pytest
import soundfile

from tests.conftest import RATE
from wavenet.comparison import measure_members, train_members
from wavenet.comparison.comparison_table import (
    format_table,
    plot_bits_against_parameters,
    plot_bits_against_speed,
    plot_training,
    read_rows,
)
from wavenet.comparison.measure_members import PASTS, make_evaluator, measure_entry
from wavenet.comparison.plan import Entry
from wavenet.comparison.train_members import train_entry
from wavenet.errors import DataError

from .conftest import BUDGET, TINY


@pytest.fixture(scope="module")
def measured(tmp_path_factory, source):
    """Return an entry with all measures; the classifiers are those of two notes."""
    entry = Entry(tmp_path_factory.mktemp("measured"), BUDGET, TINY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_members, "measure_speed", lambda *arguments: 100.0)
        patch.setattr(measure_members, "CLIPS", 4)
        patch.setattr(measure_members, "SPEED_SECONDS", 0.01)
        patch.setattr(measure_members, "COST_SECONDS", 0.001)
        patch.setattr("wavenet.evaluation.classifiers.CNN_STEPS", 5)
        train_entry(entry, source)
        measure_entry(entry, source, make_evaluator(source))
    return entry


def test_measures_are_complete(measured):
    row = json.loads(measured.measures_file.read_text())
    assert 0 < row["interval"][0] <= row["bits_per_sample"] <= row["interval"][1] < 12
    assert row["perplexity"] == pytest.approx(2 ** row["bits_per_sample"])
    speeds = row["samples_per_second"]
    assert all(speeds[name] > 0 for name in ("naive", "cached"))
    assert [cost["past"] for cost in row["cost_by_past"]] == list(PASTS)
    assert all(cost["naive"] > 0 and cost["cached"] > 0 for cost in row["cost_by_past"])
    assert row["clips"]["count"] == 4
    assert 0 <= row["clips"]["accuracy"]["note"]["fraction"] <= 1
    files = sorted(measured.clips.glob("*.wav"))
    assert len(files) == 4
    assert soundfile.info(files[0]).samplerate == RATE


def test_measures_that_exist_are_kept(measured, source):
    before = measured.measures_file.stat().st_mtime_ns
    measure_entry(measured, source, None)
    assert measured.measures_file.stat().st_mtime_ns == before


@pytest.mark.parametrize("content", ["", "[]", '{"title": "WaveNet"}'])
def test_damaged_measures_are_one_sentence(entry, content):
    entry.folder.mkdir(parents=True)
    entry.measures_file.write_text(content)
    with pytest.raises(DataError, match=r"measures.json is damaged; delete it and run .* report"):
        read_rows([entry])


def test_the_table_has_a_line_per_member_with_the_best_first(measured):
    (row,) = read_rows([measured, replace(measured, member=replace(TINY, name="absent"))])
    worse = {**row, "title": "worse", "bits_per_sample": row["bits_per_sample"] + 1}
    lines = format_table([worse, row])
    members = [line for line in lines if line.startswith("| w") or line.startswith("| W")]
    assert [line.split("|")[1].strip() for line in members] == ["WaveNet", "worse"]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1


def test_figures(measured):
    rows = read_rows([measured])
    for figure in (plot_bits_against_speed(rows), plot_bits_against_parameters(rows)):
        assert figure.axes[0].get_legend_handles_labels()[1] == ["WaveNet"]
    (line,) = plot_training([measured]).axes[0].get_lines()
    assert len(line.get_xdata()) >= 3
