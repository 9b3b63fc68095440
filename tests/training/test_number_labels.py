"""Labels that are numbers: one number in two spellings is one label, in training and in reports.

Regression: pandas writes 3.0 for 3 if the column has an empty cell, which made two labels.
"""

import json

import pytest
import soundfile

from wavenet.cli.data_command import format_report
from wavenet.corpus.prepare import prepare_corpus
from wavenet.corpus.reader import Corpus
from wavenet.model.conditions import LabelCondition
from wavenet.training.dataset import read_dataset
from wavenet.training.dataset_report import scan_dataset
from wavenet.training.label_checks import ALIKE
from wavenet.training.recipe import DataConfig
from wavenet.ui.train.training_recordings import describe_report

from . import RATE, make_config, sine

MODEL = make_config((LabelCondition(name="digit", values=("x",)),)).model


@pytest.fixture
def write_folder(tmp_path):
    """Return a function that writes recordings with the given values of `Digit`."""

    def write(values):
        folder = tmp_path / "audio"
        folder.mkdir()
        for n in range(len(values)):
            soundfile.write(folder / f"{n}.wav", sine(400).numpy(), RATE)
        rows = [f"{n}.wav,{value}" for n, value in enumerate(values)]
        (folder / "metadata.csv").write_text("\n".join(["file_name,Digit", *rows]) + "\n")
        return folder

    return write


def read_labels(source):
    dataset = read_dataset(DataConfig(folder=str(source)), RATE, MODEL)
    clips = [*dataset.train, *dataset.validation]
    return {clip.fields["digit"] for clip in clips}, dataset


def test_one_number_in_two_spellings_is_one_label_everywhere(write_folder, tmp_path):
    folder = write_folder(["3", "3.0", "3", "4.0", "3.0", "4.0", "03", "03"])
    prepared = prepare_corpus(folder, tmp_path / "corpus", workers=1)
    assert prepared.merged == {"Digit": {"3.0": "3"}}
    assert Corpus(tmp_path / "corpus").count_values() == {"Digit": {"3": 4, "4.0": 2, "03": 2}}
    for source in (folder, tmp_path / "corpus"):
        labels, dataset = read_labels(source)
        assert labels == {"3", "4.0", "03"}
        notices = [text for text in dataset.notices if "'3.0' is used as '3'" in text]
        assert len(notices) == 1 and "digit" in notices[0]
        *_, report = scan_dataset(source)
        assert report.fields == {"Digit": ("03", "3", "4.0")}
        (line,) = (line for line in format_report(report) if line.startswith("merged"))
        assert "'3.0' is used as '3'" in line
        assert "Merged: Digit has equal numbers" in describe_report(report)
        for doubts in (report.doubts, dataset.doubts):
            (alike,) = (doubt for doubt in doubts if doubt.kind == ALIKE)
            assert alike.examples == ("03", "3"), "zeros in front may belong to a name"


@pytest.mark.parametrize("values", [["007", "008"], ["1e3", "1000"], ["3.0", "4.0"], ["a", "b"]])
def test_other_values_stay_as_they_are(values, write_folder):
    folder = write_folder(values * 4)
    labels, dataset = read_labels(folder)
    assert labels == set(values)
    assert dataset.notices == []


def test_an_earlier_corpus_without_merged_values_is_called_doubtful(write_folder, tmp_path):
    """A corpus of an earlier version has no `merged` in its report, and may have both spellings."""
    folder = write_folder(["3", "03"] * 4)
    prepare_corpus(folder, tmp_path / "corpus", workers=1)
    path = tmp_path / "corpus/report.json"
    report = json.loads(path.read_text())
    del report["merged"]
    path.write_text(json.dumps(report))
    _, dataset = read_labels(tmp_path / "corpus")
    assert [doubt.kind for doubt in dataset.doubts] == [ALIKE]
    (*_, again) = scan_dataset(tmp_path / "corpus")
    assert again.merged == {}
