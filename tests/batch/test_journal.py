"""The journal: finished clips remain finished if the file is damaged, truncated or extended."""

import json
import resource

import pytest

from wavenet.batch.clip_storage import LocalStorage
from wavenet.batch.journal import Journal, hash_file
from wavenet.batch.manifest import ManifestShard
from wavenet.errors import FolderError

PARAMS = "ab" * 32


def write_item(folder, identity="a", name="a.wav", params=PARAMS):
    """Write the file of a clip and return its record."""
    (folder / name).write_bytes(identity.encode())
    return {
        "id": identity,
        "status": "done",
        "file": name,
        "sha256": hash_file(folder / name),
        "params_hash": params,
    }


def is_finished(folder, identity="a", params=PARAMS, name="a.wav"):
    with Journal(folder) as journal:
        entry = journal.find_finished(identity, params)
        return entry is not None and LocalStorage(folder).is_unchanged(name, *entry)


def append(folder, *records):
    with Journal(folder) as journal:
        for record in records:
            journal.append(record)


def test_a_clip_is_finished_by_journal_file_hash_and_params(tmp_path):
    append(tmp_path, write_item(tmp_path))
    assert is_finished(tmp_path)
    assert not is_finished(tmp_path, identity="b")
    assert not is_finished(tmp_path, params="cd" * 32)
    (tmp_path / "a.wav").write_bytes(b"changed")
    assert not is_finished(tmp_path)
    (tmp_path / "a.wav").unlink()
    assert not is_finished(tmp_path)


def test_the_last_line_of_a_clip_counts(tmp_path):
    append(tmp_path, write_item(tmp_path), {"id": "a", "status": "failed"})
    assert not is_finished(tmp_path)
    append(tmp_path, write_item(tmp_path))
    assert is_finished(tmp_path)


@pytest.mark.parametrize("incomplete", [b'{"id": "b", "sta', b"{", b"\xff\xfe", b'{"id": "b"}'])
def test_an_incomplete_last_line_is_cut_off(tmp_path, incomplete):
    append(tmp_path, write_item(tmp_path))
    path = tmp_path / "results.jsonl"
    before = path.read_bytes()
    path.write_bytes(before + incomplete)
    assert is_finished(tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "line", ["7", "[]", "{}", "null", '{"id": 7, "status": "done"}', "\0" * 50, "[" * 50_000]
)
def test_a_line_of_another_program_stays_and_is_ignored(tmp_path, line):
    append(tmp_path, write_item(tmp_path))
    path = tmp_path / "results.jsonl"
    path.write_bytes(path.read_bytes() + line.encode() + b"\n")
    append(tmp_path, write_item(tmp_path, "b", "b.wav"))
    assert is_finished(tmp_path)
    assert is_finished(tmp_path, "b", name="b.wav")


def test_a_lone_surrogate_in_an_id_is_kept(tmp_path):
    append(tmp_path, {**write_item(tmp_path, "a"), "id": "\ud800é"})
    assert is_finished(tmp_path, "\ud800é")
    assert json.loads((tmp_path / "results.jsonl").read_bytes())["id"] == "\ud800é"


def test_an_invalid_row_is_recorded_once(tmp_path):
    record = {"id": None, "status": "failed", "line": 3, "error": "no"}
    append(tmp_path, record, record)
    append(tmp_path, record, {**record, "line": 4})
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [3, 4]


def test_a_failure_is_recorded_again_only_after_another_record_of_its_id(tmp_path):
    failure = {"id": "a", "status": "failed", "line": 3, "error": "no"}
    append(tmp_path, failure)
    append(tmp_path, failure, write_item(tmp_path), failure)
    append(tmp_path, failure, {**failure, "error": "another"})
    lines = (tmp_path / "results.jsonl").read_text().splitlines()
    found = [(record["status"], record.get("error")) for record in map(json.loads, lines)]
    assert found == [("failed", "no"), ("done", None), ("failed", "no"), ("failed", "another")]


def test_a_full_disk_leaves_complete_lines(tmp_path):
    append(tmp_path, write_item(tmp_path))
    path = tmp_path / "results.jsonl"
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(FolderError, match="cannot be written"), Journal(tmp_path) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, hard))
        try:
            journal.append({"id": "b", "status": "failed", "error": "x" * 100})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_a_journal_that_is_removed_during_the_batch_is_an_error(tmp_path):
    with Journal(tmp_path) as journal, pytest.raises(FolderError, match="removed"):
        (tmp_path / "results.jsonl").unlink()
        journal.append({"id": "a", "status": "failed"})


def test_a_journal_that_is_a_link_or_a_folder_is_refused(tmp_path):
    (tmp_path / "results.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderError, match="link"):
        Journal(tmp_path)
    (tmp_path / "results-1-of-2.jsonl").mkdir()
    with pytest.raises(FolderError, match="cannot be written"):
        Journal(tmp_path, ManifestShard(1, 2))
    assert not (tmp_path / "elsewhere").exists()
