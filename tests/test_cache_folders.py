"""Caches where the home folder, the package or the temporary folder cannot be written."""

import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from wavenet import cache_folders
from wavenet.cache_folders import private_temporary_folder, use_writable_caches, user_cache
from wavenet.engines.cpu import jit

NAMES = ("NUMBA_CACHE_DIR", "MPLCONFIGDIR", "TRITON_CACHE_DIR")


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """Use a temporary folder of this test, and restore all variables afterwards."""
    for name in (*NAMES, "XDG_CACHE_HOME", "HF_TOKEN_PATH", "HF_HOME"):
        monkeypatch.setenv(name, "x")  # so that it is restored
        monkeypatch.delenv(name)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def test_a_writable_home_changes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    use_writable_caches()
    assert user_cache() == tmp_path / ".cache"
    assert [name for name in NAMES if name in os.environ] == []
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/home", "relative"])
def test_without_a_home_a_private_temporary_folder_is_used(monkeypatch, tmp_path, home):
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("MPLCONFIGDIR", "/chosen")
    use_writable_caches()
    (folder,) = (tmp_path / "tmp").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert user_cache() == folder
    assert os.environ["NUMBA_CACHE_DIR"] == str(folder / "numba")
    assert os.environ["MPLCONFIGDIR"] == "/chosen"
    use_writable_caches()
    assert list((tmp_path / "tmp").iterdir()) == [folder]


def test_the_token_of_the_hub_is_still_found_in_a_home_that_cannot_be_written(
    monkeypatch, tmp_path
):
    token = tmp_path / ".cache/huggingface/token"
    token.parent.mkdir(parents=True)
    token.write_text("secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(cache_folders, "is_writable", lambda path: "tmp/wave" in str(path))
    use_writable_caches()
    assert os.environ["HF_TOKEN_PATH"] == str(token)


def test_a_folder_that_others_can_write_is_not_used(monkeypatch, tmp_path):
    taken = private_temporary_folder()
    taken.chmod(0o777)
    other = private_temporary_folder()
    assert other != taken
    assert stat.S_IMODE(other.stat().st_mode) == 0o700
    taken.rmdir()
    (tmp_path / "elsewhere").mkdir()
    taken.symlink_to(tmp_path / "elsewhere")
    assert private_temporary_folder() != taken


def test_without_any_folder_nothing_changes(monkeypatch):
    def fail():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr(tempfile, "gettempdir", fail)
    use_writable_caches()
    assert "NUMBA_CACHE_DIR" not in os.environ


def test_a_full_disk_does_not_lose_a_compiled_function():
    class FullCache:
        def save_overload(self, signature, data):
            raise OSError(28, "No space left on device")

    cache = FullCache()
    jit._ignore_failed_writes(cache)
    cache.save_overload(None, None)


def import_engine(**variables):
    """Import the engine cpu in a process for which the package cannot be written."""
    code = (
        "import os; access = os.access; package = os.environ['PACKAGE'];"
        "os.access = lambda p, mode: not str(p).startswith(package) and access(p, mode);"
        "from wavenet.engines.cpu import cpu_engine, jit; import numba_add;"
        "print(jit.compiled(numba_add.add)(1, 2), jit._FOLDER)"
    )
    root, temporary = str(Path(__file__).parents[1]), tempfile.gettempdir()
    Path(temporary, "numba_add.py").write_text("def add(a, b):\n    return a + b\n")
    environment = {**os.environ, "HOME": "/dev/null", "PACKAGE": root, "TMPDIR": temporary}
    environment["PYTHONPATH"] = os.pathsep.join((root, temporary))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    result, folder = done.stdout.split()
    assert result == "3"
    return Path(folder), done.stderr


def test_the_engine_is_compiled_without_a_home_and_with_a_package_that_cannot_be_written():
    folder, message = import_engine()
    assert folder.parent == private_temporary_folder() / "numba"
    assert list(folder.rglob("numba_add*.nbc"))
    assert message == ""


def test_the_engine_is_compiled_although_no_place_for_machine_code_can_be_written():
    folder, message = import_engine(NUMBA_CACHE_DIR="/dev/null/numba")
    assert folder.parent == Path("/dev/null/numba")
    assert "set NUMBA_CACHE_DIR to a folder" in message
