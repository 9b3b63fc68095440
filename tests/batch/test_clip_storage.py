"""Remote storage: files are complete or absent and found again; errors are one sentence."""

import sys

import fsspec
import pytest

from tests.batch.conftest import file_hashes, make_rows, read_journal, run_rows
from wavenet.batch import clip_storage
from wavenet.batch.clip_storage import RemoteStorage, open_remote_storage
from wavenet.errors import ConditionError, ConfigError, FolderError


@pytest.fixture(autouse=True)
def reset_storage(monkeypatch):
    """Clear the cache of opened storages; retry without a pause."""
    monkeypatch.setattr(clip_storage, "RETRY_PAUSES", (0.0, 0.0))
    open_remote_storage.cache_clear()
    fsspec.filesystem("memory").store.clear()


def text_writer(text):
    """Return a function that writes a text and counts 3 clipped samples."""

    def write(path):
        path.write_text(text)
        return 3

    return write


@pytest.mark.parametrize("kind", ["local", "memory"])
def test_a_stored_file_is_found_again(tmp_path, kind):
    storage = RemoteStorage(f"{kind}://{tmp_path}/clips")
    assert not storage.exists("a/b.wav")
    stored = storage.write("a/b.wav", text_writer("hello"))
    assert (stored.clipped_samples, stored.size) == (3, 5)
    assert not storage.exists("a/b.wav")  # the listing is cached
    storage.refresh()
    assert storage.exists("a/b.wav")
    assert storage.is_unchanged("a/b.wav", stored.sha256, 5)
    assert storage.is_unchanged("a/b.wav", stored.sha256, None)
    assert not storage.is_unchanged("a/b.wav", stored.sha256, 6)
    assert not storage.is_unchanged("b.wav", stored.sha256, 5)
    storage.write("a/b.wav", text_writer("again"))
    with fsspec.open(f"{kind}://{tmp_path}/clips/a/b.wav", "rt") as file:
        assert file.read() == "again"


def test_a_temporary_name_is_used_and_removed(tmp_path, monkeypatch):
    storage = RemoteStorage(f"local://{tmp_path}")
    moved = []
    move = storage._files.mv

    def fail_once(source, target):
        moved.append((source.rpartition("/")[2], target.rpartition("/")[2]))
        if len(moved) == 1:
            raise RuntimeError("gone for a moment")
        move(source, target)

    monkeypatch.setattr(storage._files, "mv", fail_once)
    storage.write("a.wav", text_writer("hello"))
    assert [target for _, target in moved] == ["a.wav", "a.wav"]
    assert all(source.startswith(".partial-") for source, _ in moved)
    (tmp_path / ".partial-mine.wav").touch()
    assert len(list(tmp_path.iterdir())) == 3
    storage.remove_partial_files()
    assert sorted(p.name for p in tmp_path.iterdir()) == [".partial-mine.wav", "a.wav"]


def test_an_object_store_receives_whole_objects(tmp_path, monkeypatch):
    monkeypatch.setattr(clip_storage, "OBJECT_STORES", {"memory"})
    storage = RemoteStorage("memory://bucket/clips")
    monkeypatch.setattr(storage._files, "mv", None)
    storage.write("a.wav", text_writer("hello"))
    assert list(fsspec.filesystem("memory").store) == ["/bucket/clips/a.wav"]


def test_errors_of_the_file_system_are_one_sentence(tmp_path, monkeypatch):
    storage = RemoteStorage("memory://bucket/clips")

    def refuse(*_, **__):
        raise RuntimeError("no  credentials\nat all")

    monkeypatch.setattr(storage._files, "put_file", refuse)
    with pytest.raises(FolderError, match="cannot be written: no credentials at all;"):
        storage.write("a.wav", text_writer("hello"))
    monkeypatch.setattr(storage._files, "find", refuse)
    with pytest.raises(FolderError, match="cannot be read: no credentials at all;"):
        storage.exists("a.wav")


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ConditionError, match=r"nope://x is not a location .*nope"):
        RemoteStorage("nope://x")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(ConfigError, match=r"needs a package that is missing .*s3fs"):
        RemoteStorage("s3://bucket/clips")


def test_a_remote_batch_is_the_same_and_resumes(tiny, tmp_path):
    run_rows(tmp_path / "plain", make_rows(), tiny)
    there = f"local://{tmp_path}/there"
    result = run_rows(tmp_path / "out", make_rows(), tiny, remote_url=there, limit=4)
    assert result.done == 4
    (file,) = {r["file"] for r in read_journal(tmp_path / "out") if r["id"] == "clip 3"}
    (tmp_path / "there" / file).write_bytes(b"short")
    result = run_rows(tmp_path / "out", make_rows(), tiny, remote_url=there)
    assert (result.done, result.already_done) == (6, 3)
    result = run_rows(tmp_path / "out", make_rows(), tiny, remote_url=there)
    assert (result.done, result.already_done) == (0, 9)
    assert file_hashes(tmp_path / "there") == file_hashes(tmp_path / "plain")
    assert file_hashes(tmp_path / "out") == {}
    assert read_journal(tmp_path / "there") == read_journal(tmp_path / "out")
