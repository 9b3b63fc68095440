"""Names and values of columns: other spellings are accepted, similar names are refused."""

import unicodedata

import pytest
import soundfile

from tests.conftest import RATE, sine, tiny_config
from wavenet.batch.batch_config import BatchOptions, BatchSettings, ExecutionConfig
from wavenet.batch.manifest import ManifestRow
from wavenet.batch.manifest_check import check_manifest
from wavenet.batch.tasks import make_task
from wavenet.errors import ConditionError
from wavenet.model.conditions import LabelCondition, NumberCondition


@pytest.fixture
def spoken(make_checkpoint, tmp_path):
    """Settings of a batch with a model of digits and speakers, all optional."""
    conditions = (
        LabelCondition(name="digit", values=tuple("0123456789"), dropout=0.1),
        LabelCondition(name="speaker", values=("theo", "george"), dropout=0.1),
        NumberCondition(name="level", low=-40.0, high=0.0, unit="dB", default=-20.0),
    )
    config = tiny_config().model_copy(update={"conditions": conditions})
    return BatchSettings(str(make_checkpoint(config).folder), str(tmp_path))


def task_of(settings, **values):
    return make_task(ManifestRow(5, values), settings)


def test_case_and_separators_of_columns_do_not_matter(spoken):
    row = {"ID": "x", "Digit": "7", "SPEAKER": "Theo ", "Top K": "5", "Duration": "0.02"}
    task = task_of(spoken, **row, **{"audio-filepath": "on/x"})
    assert task.conditions == {"digit": "7", "speaker": "theo"}
    assert (task.identity, task.samples, task.sampling.top_k) == ("x", 0.02 * RATE, 5)
    assert (task.output, task.extra) == ("on/x.wav", {})


@pytest.mark.parametrize("digit", [7, 7.0, "7", " 7", "7.0"])
def test_one_value_has_one_hash_however_it_is_written(spoken, digit):
    expected = task_of(spoken, id="x", digit="7")
    for row in ({"digit": digit}, {"labels": {"digit": digit}}, {"labels": {"Digit": digit}}):
        assert task_of(spoken, id="x", **row) == expected


def test_settings_may_be_numbers_or_text(spoken):
    row = {"seed": 7.0, "seconds": "0.02 ", "top_k": "5.0", "temperature": " 0.5"}
    task = task_of(spoken, digit=1, **row)
    assert (task.seed, task.samples) == (7, 160)
    assert (task.sampling.top_k, task.sampling.temperature) == (5, 0.5)
    assert type(task.seed) is type(task.sampling.top_k) is int


def test_a_number_keeps_its_spelling_and_its_hash(spoken):
    """The spelling is part of file names and hashes of earlier versions."""
    for value, kept in ((-20, "-20"), ("-20.0", "-20.0"), (-20.0, -20.0), ("-20 dB", "-20 dB")):
        assert task_of(spoken, Level=value).conditions == {"level": kept}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"digti": "7"}, "'digti' is unknown, did you mean 'digit'"),
        ({"speakers": "theo"}, "did you mean 'speaker'"),
        ({"temprature": 0.9}, "did you mean 'temperature'"),
        ({"filename": "x.wav"}, "did you mean 'file_name'"),
        ({"speaker": "theoo"}, "did you mean 'theo'"),
        ({"labels": {"digti": 7}}, "did you mean 'digit'"),
        ({"labels": {"color": "red"}}, "has no condition 'color'"),
        ({"seconds": 1, "duration": 2}, "'seconds' and 'duration' both set seconds"),
        ({"digit": "7", "Digit": "8"}, "'digit' and 'Digit' both set digit"),
        ({"output": "a", "path": "b"}, "both set output"),
        ({"digit": "7", "labels": {"digit": "8"}}, "'digit' and 'labels.digit' both set digit"),
        ({"seconds": "0,5"}, "such as 0.5"),
        ({"temperature": "0,9"}, "such as 0.9"),
        ({"level": "-20,5"}, "such as -20.5"),
        ({"level": True}, "text or a number"),
    ],
)
def test_a_row_that_may_mean_something_else_is_refused(spoken, row, words):
    with pytest.raises(ConditionError) as caught:
        task_of(spoken, id="x", **row)
    assert words in str(caught.value)


def test_equal_values_of_two_columns_do_not_contradict(spoken):
    task = task_of(spoken, digit="7", labels={"digit": "7"}, seconds=0.02, duration=0.02)
    assert (task.conditions, task.samples) == ({"digit": "7"}, 160)


@pytest.mark.parametrize(
    "row",
    [
        {"labels": {"digit": 7}, "digit": "7"},
        {"labels": {"digit": 7.0, "Digit": " 7"}},
        {"digit": 7, "Digit": "7.0"},
        {"speaker": "theo", "Speaker": "THEO", "digit": "7"},
        {"level": -20, "labels": {"level": "-20 dB"}, "digit": 7},
        {"seconds": "0.02", "duration": 0.02, "digit": 7},
    ],
)
def test_two_spellings_of_one_value_do_not_contradict(spoken, row):
    """Regression: 7 and "7" were refused as two values."""
    task = task_of(spoken, **({"seconds": 0.02} | row))
    assert (task.conditions["digit"], task.samples) == ("7", 160)


def test_close_columns_are_extra_if_chosen_or_if_the_known_one_is_set(spoken, tmp_path):
    row = {"speaker": "theo", "speaker_id": 60}
    assert task_of(spoken, **row).extra == {"speaker_id": 60}
    chosen = BatchSettings(spoken.checkpoint, str(tmp_path), ignore_unknown_columns=True)
    task = task_of(chosen, speaker_id="60")
    assert (task.extra, task.conditions) == ({"speaker_id": "60"}, {})
    assert task_of(spoken, digti=None, mood="x").extra == {"digti": None, "mood": "x"}


def test_unknown_columns_and_rows_without_labels_are_counted(spoken, tmp_path):
    manifest = tmp_path / "m.csv"
    manifest.write_text("id;ziffer;mood\na;7;x\nb;8;\n")
    execution = ExecutionConfig(tmp_path / "out")
    summary = check_manifest(manifest, spoken, BatchOptions(), execution)
    assert (summary.valid_count, summary.unlabelled_count) == (2, 2)
    assert summary.unknown_columns == {"ziffer": 2, "mood": 1}
    assert summary.labels == ["digit", "speaker"]
    manifest.write_text("id;Speaker;mood\na;theo;x\nb;;\n")
    summary = check_manifest(manifest, spoken, BatchOptions(), execution)
    assert (summary.unlabelled_count, summary.unknown_columns) == (0, {"mood": 1})


def test_the_composition_of_letters_in_the_name_of_a_prompt_does_not_matter(spoken, tmp_path):
    for form, other in (("NFC", "NFD"), ("NFD", "NFC")):
        path = tmp_path / f"{unicodedata.normalize(form, f'é{form}')}.wav"
        soundfile.write(path, sine(0.1), RATE)
        task = task_of(spoken, prompt=unicodedata.normalize(other, path.name))
        assert task.prompt_file == str(path)
