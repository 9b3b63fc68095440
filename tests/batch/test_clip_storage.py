"""Clips kept elsewhere: whole or not at all, known again, and one sentence when it cannot be."""

import sys

import fsspec
import pytest

from tests.batch.conftest import hashes, make, records, rows_of
from wavenet.batch import clip_storage
from wavenet.batch.clip_storage import RemoteStorage, open_remote_storage
from wavenet.errors import ConditionError, ConfigError, FolderError


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Forget addresses, and do not wait."""
    monkeypatch.setattr(clip_storage, "RETRY_PAUSES", (0.0, 0.0))
    open_remote_storage.cache_clear()
    fsspec.filesystem("memory").store.clear()


def write(text):
    """Give what writes a text and counts 3."""

    def to(path):
        path.write_text(text)
        return 3

    return to


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_file_is_kept_and_known_again(tmp_path, kind):
    place = RemoteStorage(f"{kind}://{tmp_path}/clips")
    assert not place.has("a/b.wav")
    kept = place.keep("a/b.wav", write("hello"))
    assert (kept.clipped, kept.size) == (3, 5)
    assert not place.has("a/b.wav")  # as at the last look
    place.look()
    assert place.has("a/b.wav")
    assert place.holds("a/b.wav", kept.sha256, 5)
    assert place.holds("a/b.wav", kept.sha256, None)
    assert not place.holds("a/b.wav", kept.sha256, 6)
    assert not place.holds("b.wav", kept.sha256, 5)
    place.keep("a/b.wav", write("again"))
    with fsspec.open(f"{kind}://{tmp_path}/clips/a/b.wav", "rt") as file:
        assert file.read() == "again"


def test_it_goes_through_a_temporary_name_that_is_swept(tmp_path, monkeypatch):
    place = RemoteStorage(f"local://{tmp_path}")
    moved = []
    move = place._files.mv

    def fail_once(source, target):
        moved.append((source.rpartition("/")[2], target.rpartition("/")[2]))
        if len(moved) == 1:
            raise RuntimeError("gone for a moment")
        move(source, target)

    monkeypatch.setattr(place._files, "mv", fail_once)
    place.keep("a.wav", write("hello"))
    assert [target for _, target in moved] == ["a.wav", "a.wav"]
    assert all(source.startswith(".partial-") for source, _ in moved)
    (tmp_path / ".partial-mine.wav").touch()
    assert len(list(tmp_path.iterdir())) == 3
    place.sweep()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".partial-mine.wav", "a.wav"]


def test_an_object_store_gets_whole_objects_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_storage, "OBJECT_STORES", {"memory"})
    place = RemoteStorage("memory://bucket/clips")
    monkeypatch.setattr(place._files, "mv", None)
    place.keep("a.wav", write("hello"))
    assert list(fsspec.filesystem("memory").store) == ["/bucket/clips/a.wav"]


def test_what_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    place = RemoteStorage("memory://bucket/clips")

    def refuse(*_, **__):
        raise RuntimeError("no  credentials\nat all")

    monkeypatch.setattr(place._files, "put_file", refuse)
    with pytest.raises(FolderError, match="cannot be written: no credentials at all; see"):
        place.keep("a.wav", write("hello"))
    monkeypatch.setattr(place._files, "find", refuse)
    with pytest.raises(FolderError, match="cannot be read: no credentials at all; see"):
        place.has("a.wav")


def test_places_that_nobody_knows():
    with pytest.raises(ConditionError, match=r"nope://x is no place .*nope"):
        RemoteStorage("nope://x")


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"needs a package that is missing .*s3fs"):
        RemoteStorage("s3://bucket/clips")


def test_a_batch_elsewhere_is_the_same_and_goes_on(tiny, tmp_path):
    make(tmp_path / "plain", rows_of(), tiny)
    there = f"local://{tmp_path}/there"
    tally = make(tmp_path / "out", rows_of(), tiny, remote=there, limit=4)
    assert tally.done == 4
    (made,) = {r["file"] for r in records(tmp_path / "out") if r["id"] == "clip 3"}
    (tmp_path / "there" / made).write_bytes(b"short")
    tally = make(tmp_path / "out", rows_of(), tiny, remote=there)
    assert (tally.done, tally.before) == (6, 3)
    tally = make(tmp_path / "out", rows_of(), tiny, remote=there)
    assert (tally.done, tally.before) == (0, 9)
    assert hashes(tmp_path / "there") == hashes(tmp_path / "plain")
    assert hashes(tmp_path / "out") == {}
    assert records(tmp_path / "there") == records(tmp_path / "out")
