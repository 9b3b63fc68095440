"""Wrong numbers of a table: each recording is named with its row before any is read.

Regression: the first wrong number ended the training without its file and line.
"""

import pytest
import soundfile

from wavenet.corpus.prepare import prepare_corpus
from wavenet.errors import DataError
from wavenet.model.conditions import NumberCondition
from wavenet.training.dataset import read_dataset
from wavenet.training.recipe import DataConfig, load_recipe
from wavenet.training.resolve_config import check_fields

from . import RATE, make_config, sine

LEVEL = NumberCondition(name="level", low=-60, high=0, unit="dB")
GOOD = ["-20", "-20.5", "0", "-60"]
BAD = ["loud", "", "-300", "nan", "1e9"]


def write_folder(folder, levels):
    folder.mkdir()
    rows = ["file_name,level"]
    for n, level in enumerate(levels):
        soundfile.write(folder / f"{n}.wav", sine(400).numpy(), RATE)
        rows.append(f"{n}.wav,{level}")
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    return folder


def recipe_of(folder, condition=LEVEL):
    recipe = load_recipe("tiny")
    model = recipe.model.model_copy(update={"conditions": (condition,)})
    data = DataConfig(folder=str(folder))
    return recipe.model_copy(update={"model": model, "data": data})


def refusals(folder):
    """Return the message of the check before reading, and that of reading."""
    for call in (
        lambda: check_fields(recipe_of(folder)),
        lambda: read_dataset(DataConfig(folder=str(folder)), RATE, make_config((LEVEL,)).model),
    ):
        with pytest.raises(DataError) as caught:
            call()
        yield str(caught.value)


@pytest.mark.parametrize("wrong, found", [("loud", "'loud'"), ("", "''"), ("-300", "-300")])
def test_a_wrong_number_is_named_with_its_file_and_row(wrong, found, tmp_path):
    folder = write_folder(tmp_path / "audio", [*GOOD, wrong, *GOOD])
    for message in refusals(folder):
        assert message == (
            f"metadata.csv line 6 (4.wav): level: expected a number from -60 to 0 dB; found "
            f"{found}; correct the values in metadata.csv"
        )


def test_all_wrong_numbers_are_counted_and_the_first_named(tmp_path):
    folder = write_folder(tmp_path / "audio", [*GOOD, *BAD])
    for message in refusals(folder):
        assert message.startswith("metadata.csv line 6 (4.wav): level")
        assert "; 4 more recordings have a wrong number: metadata.csv line 7 (5.wav)," in message
        assert "line 9 (7.wav), ..; " in message


def test_a_corpus_names_the_recordings(tmp_path):
    folder = write_folder(tmp_path / "audio", [*GOOD, "loud", "-300"])
    prepare_corpus(folder, tmp_path / "corpus", workers=1)
    for message in refusals(tmp_path / "corpus"):
        assert message.startswith("4.wav: level: expected a number from -60 to 0 dB")
        assert "1 more recording has a wrong number: 5.wav" in message
        assert "prepare the corpus again" in message


def test_right_numbers_and_computed_ones_are_accepted(tmp_path):
    check_fields(recipe_of(write_folder(tmp_path / "good", GOOD)))
    derived = LEVEL.model_copy(update={"derived_from": "loudness"})
    check_fields(recipe_of(write_folder(tmp_path / "bad", BAD), derived))
