"""A damaged or forged corpus, or one of another version, is refused in one sentence."""

import json
import shutil

import numpy as np
import pytest

from wavenet.corpus.format import TextArray, array_path, is_corpus
from wavenet.corpus.prepare import prepare_corpus
from wavenet.corpus.reader import Corpus
from wavenet.errors import ConfigError, DataError

from . import write_recordings
from .conftest import PATTERN


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Prepare a corpus of several shards for all tests."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavenet.corpus.file_listing.MAX_BLOCK_FILES", 6)
        prepare_corpus(write_recordings(place / "audio"), place / "out", pattern=PATTERN, workers=1)
    return place / "out"


def test_a_shard_whose_content_changed_is_refused(corpus):
    """The size is the same, so opening the corpus does not detect it."""
    Corpus(corpus).check_content()  # control: undamaged
    last = max((corpus / "shards").iterdir())
    samples = bytearray(last.read_bytes())
    samples[-1] ^= 1
    last.write_bytes(samples)
    with pytest.raises(DataError, match=rf"{last.name} has changed since .* --overwrite$"):
        Corpus(corpus).check_content()
    opened = Corpus(corpus)
    last.unlink()
    with pytest.raises(DataError, match=f"{last.name} cannot be read"):
        opened.check_content()


@pytest.fixture
def corpus(prepared, tmp_path):
    """Return a copy of the corpus for tests that damage it."""
    return shutil.copytree(prepared, tmp_path / "out")


def change_header(corpus, **changes):
    path = corpus / "corpus.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_array(corpus, name, change):
    """Change an array of the index."""
    path = array_path(corpus, name)
    array = np.load(path)
    found = change(array)
    np.save(path, array if found is None else found)


def truncate(path, keep=-1):
    path.write_bytes(path.read_bytes()[:keep])


def set_value(field, row, value):
    def change(array):
        array[field][row] = value

    return change


def first_shard(corpus):
    return min((corpus / "shards").iterdir())


DAMAGES = {
    "another version": (
        lambda c: change_header(c, format_version=2),
        "corpus.json: format_version",
    ),
    "another format": (lambda c: change_header(c, format="x"), "corpus.json: format"),
    "an unknown key": (lambda c: change_header(c, speed=3), "the key speed is not known"),
    "a path in a name": (
        lambda c: change_header(c, shards=[{"name": "../../etc/passwd", "samples": 3}]),
        "shards.0.name",
    ),
    "incomplete JSON": (lambda c: truncate(c / "corpus.json", 50), "corpus.json"),
    "a truncated shard": (lambda c: truncate(first_shard(c)), "has .* bytes, expected"),
    "no shard": (lambda c: first_shard(c).unlink(), "is missing, expected"),
    "a truncated index": (
        lambda c: truncate(array_path(c, "records")),
        "records.npy cannot be read",
    ),
    "no index": (lambda c: array_path(c, "records").unlink(), "records.npy cannot be read"),
    "a truncated header of an array": (
        lambda c: truncate(array_path(c, "records"), 9),
        "cannot be read",
    ),
    "rows too few": (
        lambda c: change_array(c, "records", lambda a: a[:-1]),
        "has 19 rows, expected 20",
    ),
    "objects": (
        lambda c: change_array(c, "records", lambda a: np.array([{}] * 20, object)),
        "cannot be read",
    ),
    "another type": (
        lambda c: change_array(c, "records", lambda a: np.zeros(20)),
        "is not an array of",
    ),
    "an offset outside": (
        lambda c: change_array(c, "records", set_value("offset", 3, 10**12)),
        "places recording 3 outside its shard",
    ),
    "a negative offset": (
        lambda c: change_array(c, "records", set_value("offset", 3, -1)),
        "places recording 3 outside",
    ),
    "a length that overflows": (
        lambda c: change_array(c, "records", set_value("samples", 3, 2**63 - 1)),
        "places recording 3 outside",
    ),
    "a shard that does not exist": (
        lambda c: change_array(c, "records", set_value("shard", 19, 4)),
        "places recording 19 outside",
    ),
    "numbers out of order": (
        lambda c: change_array(c, "records", set_value("number", 3, 9)),
        "are inconsistent",
    ),
    "a wrong sum": (lambda c: change_header(c, samples=5), "are inconsistent"),
    "a field value that does not exist": (
        lambda c: change_array(c, "field-0.codes", lambda a: a + 3),
        "the field 'digit' has invalid values",
    ),
    "texts that end before": (
        lambda c: change_array(c, "names.ends", lambda a: a[::-1].copy()),
        "names.npy is inconsistent",
    ),
    "texts that end beyond": (
        lambda c: change_array(c, "names.content", lambda a: a[:-1]),
        "names.npy is inconsistent",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_or_forged_corpus_is_refused_in_one_sentence(corpus, name):
    damage, words = DAMAGES[name]
    assert len(Corpus(corpus)) == 20  # control: undamaged
    damage(corpus)
    with pytest.raises(DataError, match=words) as caught:
        Corpus(corpus)
    assert len(str(caught.value).splitlines()) == 1
    assert "prepare it again with --overwrite" in str(caught.value)


def test_a_shard_that_is_truncated_or_removed_after_opening_is_an_error(corpus):
    opened = Corpus(corpus)
    truncate(first_shard(corpus), 100)
    with pytest.raises(DataError, match="can no longer be read: it is too short"):
        opened.read(5)
    first_shard(corpus).unlink()
    with pytest.raises(DataError, match="can no longer be read: no such file"):
        opened.read(0)


def test_a_folder_of_audio_with_files_of_the_same_names_is_not_a_corpus(folder, corpus):
    for name in ("corpus.json", "settings.json"):
        (folder / name).write_text("{}")
    assert not is_corpus(folder)
    assert is_corpus(corpus)


def test_other_fields_than_prepared_are_refused(corpus):
    opened = Corpus(corpus)
    opened.check_field_source(None, None)
    opened.check_field_source(PATTERN, None)
    with pytest.raises(ConfigError, match=r"was prepared with pattern .*, not {a}; omit"):
        opened.check_field_source("{a}", None)
    with pytest.raises(ConfigError, match=r"was prepared with metadata none, not labels.csv"):
        opened.check_field_source(None, "labels.csv")


def test_any_text_is_reproduced():
    texts = ["", "a", "", "naïve \ud800\udcff", "\n"]
    packed = TextArray.from_texts(texts)
    assert list(packed) == texts
    assert list(TextArray.from_texts([])) == []
