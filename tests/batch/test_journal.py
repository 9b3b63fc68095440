"""The journal: what it says is done is done, whatever happened to it in between."""

import json
import resource

import pytest

from wavenet.batch.clip_storage import LocalStorage
from wavenet.batch.journal import Journal, hash_file
from wavenet.errors import FolderError

PARAMS = "ab" * 32


def done(folder, identity="a", name="a.wav", params=PARAMS):
    (folder / name).write_bytes(identity.encode())
    return {
        "id": identity,
        "status": "done",
        "file": name,
        "sha256": hash_file(folder / name),
        "params_hash": params,
    }


def is_done(folder, identity="a", params=PARAMS, name="a.wav"):
    with Journal(folder) as journal:
        found = journal.recall(identity, params)
        return found is not None and LocalStorage(folder).holds(name, *found)


def append(folder, *records):
    with Journal(folder) as journal:
        for record in records:
            journal.append(record)


def test_done_means_the_journal_the_hash_and_what_determines_it(tmp_path):
    append(tmp_path, done(tmp_path))
    assert is_done(tmp_path)
    assert not is_done(tmp_path, identity="b")
    assert not is_done(tmp_path, params="cd" * 32)
    (tmp_path / "a.wav").write_bytes(b"changed")
    assert not is_done(tmp_path)
    (tmp_path / "a.wav").unlink()
    assert not is_done(tmp_path)


def test_the_last_line_of_an_item_counts(tmp_path):
    append(tmp_path, done(tmp_path), {"id": "a", "status": "failed"})
    assert not is_done(tmp_path)
    append(tmp_path, done(tmp_path))
    assert is_done(tmp_path)


@pytest.mark.parametrize("torn", [b'{"id": "b", "sta', b"{", b"\xff\xfe", b'{"id": "b"}'])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    append(tmp_path, done(tmp_path))
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    assert is_done(tmp_path)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line", ["7", "[]", "{}", "null", '{"id": 7, "status": "done"}', "\0" * 50, "[" * 50_000]
)
def test_a_strange_line_is_left_and_means_nothing(tmp_path, line):
    append(tmp_path, done(tmp_path))
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    append(tmp_path, done(tmp_path, "b", "b.wav"))
    assert is_done(tmp_path)
    assert is_done(tmp_path, "b", name="b.wav")


def test_half_a_character_in_an_id_comes_back(tmp_path):
    append(tmp_path, {**done(tmp_path, "a"), "id": "\ud800é"})
    assert is_done(tmp_path, "\ud800é")
    assert json.loads((tmp_path / "results.jsonl").read_bytes())["id"] == "\ud800é"


def test_a_row_that_cannot_be_used_is_told_once(tmp_path):
    fault = {"id": None, "status": "failed", "line": 3, "error": "no"}
    append(tmp_path, fault, fault)
    append(tmp_path, fault, {**fault, "line": 4})
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [3, 4]


def test_a_full_disk_leaves_whole_lines_and_one_sentence(tmp_path):
    append(tmp_path, done(tmp_path))
    path = tmp_path / "results.jsonl"
    whole = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(FolderError, match="cannot be written"), Journal(tmp_path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, hard))
        try:
            journal.append({"id": "b", "status": "failed", "error": "x" * 100})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole


def test_a_journal_that_was_removed_is_missed(tmp_path):
    with Journal(tmp_path) as journal, pytest.raises(FolderError, match="removed"):
        (tmp_path / "results.jsonl").unlink()
        journal.append({"id": "a", "status": "failed"})


def test_a_journal_that_is_a_link_or_a_folder_is_refused(tmp_path):
    (tmp_path / "results.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="link"):
        Journal(tmp_path)
    (tmp_path / "results-1-of-2.jsonl").mkdir()
    with pytest.raises(FolderError, match="cannot be written"):
        Journal(tmp_path, (1, 2))
    assert not (tmp_path / "elsewhere").exists()
