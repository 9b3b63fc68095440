"""Locking a folder: errors name the process that locked it, and no file remains."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from wavenet import folder_lock
from wavenet.errors import FolderError, FolderInUse, WaveNetError
from wavenet.folder_lock import LOCK_NAME, check_unlocked, lock_folder, lock_holder

HOLDER = """
import sys, pathlib
from wavenet.folder_lock import lock_folder
with lock_folder(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(folder):
    """Lock a folder in a real process until the block ends; yield the process."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def refusal(folder, kind=FolderError):
    with pytest.raises(WaveNetError) as caught, lock_folder(folder):
        pass
    assert type(caught.value) is kind
    sentence = str(caught.value)
    assert sentence.isprintable()
    assert str(folder) in sentence
    return sentence


def test_a_folder_is_locked_inside_the_block_only(tmp_path):
    (tmp_path / "kept").touch()
    assert lock_holder(tmp_path) is None
    with lock_folder(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        assert (tmp_path / LOCK_NAME).read_text() == f"{os.getpid()}\n"
    assert lock_holder(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    with lock_folder(tmp_path):
        pass


def test_a_missing_folder_is_created_and_removed_again_if_empty(tmp_path):
    with lock_folder(tmp_path / "deep" / "run"):
        assert lock_holder(tmp_path / "deep" / "run") == os.getpid()
    assert not (tmp_path / "deep" / "run").exists()
    with lock_folder(tmp_path / "run"):
        (tmp_path / "run" / "result").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["result"]


def test_an_error_inside_the_block_unlocks_the_folder(tmp_path):
    with pytest.raises(KeyError), lock_folder(tmp_path):
        raise KeyError
    assert lock_holder(tmp_path) is None


def test_the_other_process_is_named_and_nothing_is_changed(tmp_path):
    with another_process(tmp_path) as process:
        before = (tmp_path / LOCK_NAME).read_bytes()
        assert lock_holder(tmp_path) == process.pid
        assert f"(process {process.pid})" in refusal(tmp_path, FolderInUse)
        with pytest.raises(FolderInUse, match=str(process.pid)):
            check_unlocked(tmp_path)
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert lock_holder(tmp_path) is None
    check_unlocked(tmp_path)


def test_a_killed_process_leaves_the_folder_unlocked(tmp_path):
    with another_process(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=60)
    assert (tmp_path / LOCK_NAME).exists()
    assert lock_holder(tmp_path) is None
    with lock_folder(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()


def test_one_process_cannot_lock_a_folder_twice(tmp_path):
    with lock_folder(tmp_path):
        refusal(tmp_path, FolderInUse)
        assert lock_holder(tmp_path) == os.getpid()


def test_asking_for_the_holder_does_not_prevent_locking(tmp_path, monkeypatch):
    """Regression: a run that started during `lock_holder`, which locks briefly, was refused."""
    (tmp_path / LOCK_NAME).touch()
    answers = [False, False]
    lock_descriptor = folder_lock.lock_descriptor

    def lock_after_two_attempts(descriptor, *, blocking):
        return answers.pop() if answers else lock_descriptor(descriptor, blocking=blocking)

    monkeypatch.setattr(folder_lock, "lock_descriptor", lock_after_two_attempts)
    with lock_folder(tmp_path):
        assert answers == []


def test_a_lock_file_removed_between_opening_and_locking_is_created_again(tmp_path, monkeypatch):
    (tmp_path / LOCK_NAME).touch()
    lock_descriptor, removed = folder_lock.lock_descriptor, []

    def remove_and_lock(descriptor, *, blocking):
        if not removed:
            removed.append((tmp_path / LOCK_NAME).unlink())
        return lock_descriptor(descriptor, blocking=blocking)

    monkeypatch.setattr(folder_lock, "lock_descriptor", remove_and_lock)
    with lock_folder(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()


@pytest.mark.parametrize("kind", ["symlink", "dangling", "hard link", "text", "pipe"])
def test_a_file_that_is_not_a_lock_file_is_refused_and_stays_unchanged(tmp_path, kind):
    folder, precious = tmp_path / "run", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("1234")
    lock = folder / LOCK_NAME
    if kind == "symlink":
        lock.symlink_to(precious)
    elif kind == "dangling":
        lock.symlink_to(tmp_path / "new")
    elif kind == "hard link":
        lock.hardlink_to(precious)
    elif kind == "text":
        lock.write_text("12 monkeys")
    else:
        os.mkfifo(lock)
    assert f"{lock} is not a lock file of this program" in refusal(folder)
    assert precious.read_text() == "1234"
    assert not (tmp_path / "new").exists()
    assert lock.is_symlink() or kind not in ("symlink", "dangling")
    assert kind != "text" or lock.read_text() == "12 monkeys"


def test_a_folder_that_cannot_be_created_or_written_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    assert "cannot be written: file exists" in refusal(tmp_path / "file")
    assert "cannot be written: not a directory" in refusal(tmp_path / "file" / "run")

    def refuse(*_):
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        assert "cannot be written: permission denied" in refusal(tmp_path)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        assert "the disk is full" in refusal(tmp_path)
    assert lock_holder(tmp_path) is None


def test_work_continues_on_a_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folder_lock, "lock_descriptor", no_locks)
    with lock_folder(tmp_path):
        assert lock_holder(tmp_path) is None
    check_unlocked(tmp_path)
