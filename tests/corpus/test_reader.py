"""A corpus that is cut, forged or of another version is refused in one sentence, never read."""

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
def made(tmp_path_factory):
    """Make a corpus of several shards once."""
    place = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wavenet.corpus.file_listing.MAX_BLOCK_FILES", 6)
        prepare_corpus(write_recordings(place / "audio"), place / "out", pattern=PATTERN, workers=1)
    return place / "out"


@pytest.fixture
def corpus(made, tmp_path):
    """Give a copy of it to damage."""
    return shutil.copytree(made, tmp_path / "out")


def header(corpus, **changes):
    path = corpus / "corpus.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def forge(corpus, name, change):
    """Change an array of the index."""
    path = array_path(corpus, name)
    array = np.load(path)
    found = change(array)
    np.save(path, array if found is None else found)


def cut(path, keep=-1):
    path.write_bytes(path.read_bytes()[:keep])


def put(field, row, value):
    def change(array):
        array[field][row] = value

    return change


def shard(corpus):
    return min((corpus / "shards").iterdir())


HOSTILE = {
    "another version": (lambda c: header(c, format_version=2), "corpus.json: format_version"),
    "another format": (lambda c: header(c, format="x"), "corpus.json: format"),
    "an unknown key": (lambda c: header(c, speed=3), "the key speed is not known"),
    "a path in a name": (
        lambda c: header(c, shards=[{"name": "../../etc/passwd", "samples": 3}]),
        "shards.0.name",
    ),
    "no JSON": (lambda c: cut(c / "corpus.json", 50), "corpus.json"),
    "a cut shard": (lambda c: cut(shard(c)), "has .* bytes, expected"),
    "no shard": (lambda c: shard(c).unlink(), "is missing, expected"),
    "a cut index": (lambda c: cut(array_path(c, "records")), "records.npy cannot be read"),
    "no index": (lambda c: array_path(c, "records").unlink(), "records.npy cannot be read"),
    "a cut header of an array": (lambda c: cut(array_path(c, "records"), 9), "cannot be read"),
    "rows too few": (lambda c: forge(c, "records", lambda a: a[:-1]), "has 19 rows, expected 20"),
    "objects": (
        lambda c: forge(c, "records", lambda a: np.array([{}] * 20, object)),
        "cannot be read",
    ),
    "another type": (
        lambda c: forge(c, "records", lambda a: np.zeros(20)),
        "is no array of",
    ),
    "an offset outside": (
        lambda c: forge(c, "records", put("offset", 3, 10**12)),
        "puts recording 3 outside its shard",
    ),
    "a negative offset": (
        lambda c: forge(c, "records", put("offset", 3, -1)),
        "puts recording 3 outside",
    ),
    "a length that overflows": (
        lambda c: forge(c, "records", put("samples", 3, 2**63 - 1)),
        "puts recording 3 outside",
    ),
    "a shard that is not": (
        lambda c: forge(c, "records", put("shard", 19, 4)),
        "puts recording 19 outside",
    ),
    "numbers out of order": (
        lambda c: forge(c, "records", put("number", 3, 9)),
        "contradict each other",
    ),
    "a wrong sum": (lambda c: header(c, samples=5), "contradict each other"),
    "a label that is not": (
        lambda c: forge(c, "field-0.codes", lambda a: a + 3),
        "the labels 'digit' point nowhere",
    ),
    "texts that end before": (
        lambda c: forge(c, "names.ends", lambda a: a[::-1].copy()),
        "names.npy contradicts itself",
    ),
    "texts that end beyond": (
        lambda c: forge(c, "names.content", lambda a: a[:-1]),
        "names.npy contradicts itself",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_damaged_or_forged_is_refused_in_one_sentence(corpus, name):
    damage, words = HOSTILE[name]
    assert len(Corpus(corpus)) == 20  # the control
    damage(corpus)
    with pytest.raises(DataError, match=words) as caught:
        Corpus(corpus)
    assert len(str(caught.value).splitlines()) == 1
    assert "prepare it again with --overwrite" in str(caught.value)


def test_a_shard_that_is_cut_or_gone_while_it_is_read_ends_with_a_sentence(corpus):
    opened = Corpus(corpus)
    cut(shard(corpus), 100)
    with pytest.raises(DataError, match="cannot be read any more: it is too short"):
        opened.read(5)
    shard(corpus).unlink()
    with pytest.raises(DataError, match="cannot be read any more: no such file"):
        opened.read(0)


def test_a_folder_of_audio_with_files_of_such_names_is_no_corpus(folder, corpus):
    for name in ("corpus.json", "settings.json"):
        (folder / name).write_text("{}")
    assert not is_corpus(folder)
    assert is_corpus(corpus)


def test_labels_are_those_that_it_was_prepared_with(corpus):
    opened = Corpus(corpus)
    opened.check_labels(None, None)
    opened.check_labels(PATTERN, None)
    with pytest.raises(ConfigError, match=r"was prepared with pattern .*, asked is {a}; leave out"):
        opened.check_labels("{a}", None)
    with pytest.raises(ConfigError, match=r"was prepared with metadata none, asked is labels.csv"):
        opened.check_labels(None, "labels.csv")


def test_any_text_comes_back():
    texts = ["", "a", "", "naïve \ud800\udcff", "\n"]
    packed = TextArray.of(texts)
    assert list(packed) == texts
    assert list(TextArray.of([])) == []
