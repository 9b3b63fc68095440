"""A file is complete or absent, also after an error during the write."""

import errno
import os
import stat
import sys

import pytest

from audio_utils.atomic_files import TEMPORARY_PREFIX, atomic_file, os_error_reason


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_new_content_replaces_the_old_file_and_no_temporary_file_remains(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"
        assert temporary.parent == target.parent
        assert temporary.name.startswith(TEMPORARY_PREFIX)
        assert temporary.suffix == ".txt"
    assert target.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_an_error_in_the_block_leaves_the_old_file_and_no_temporary_file(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_content_is_synced_before_the_rename(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
    assert calls[:2] == ["fsync", "replace"]


def test_a_failed_sync_is_a_failed_write(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(OSError, match="No space") as caught,
        atomic_file(tmp_path / "a") as temporary,
    ):
        temporary.write_bytes(b"x")
    assert names(tmp_path) == []
    assert (
        os_error_reason(caught.value) == "the disk is full; free some space or choose another disk"
    )


def test_invalid_targets_raise_before_the_block_runs(tmp_path):
    (tmp_path / "file").write_text("x")
    cases = [
        (tmp_path, "is a folder"),
        (tmp_path / "missing" / "a", "does not exist"),
        (tmp_path / "file" / "a", "does not exist"),
    ]
    for path, words in cases:
        with pytest.raises(OSError) as caught, atomic_file(path):
            pytest.fail("the block ran")
        assert words in os_error_reason(caught.value)
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_or_device_is_never_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="device or a pipe"), atomic_file(tmp_path / "pipe"):
        pytest.fail("the block ran")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links and a umask")
def test_links_stay_links_and_the_umask_sets_the_mode(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    before = os.umask(0o027)
    try:
        with atomic_file(link) as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert link.is_symlink()
    real = tmp_path / "real" / "a.txt"
    assert real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_file_name_of_maximum_length_works(tmp_path):
    target = tmp_path / ("n" * 251 + ".wav")
    with atomic_file(target) as temporary:
        temporary.write_bytes(b"x")
    assert target.read_bytes() == b"x"
