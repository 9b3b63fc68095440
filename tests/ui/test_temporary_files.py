"""Temporary files of the studio: private, deleted by age, at the end, and after a kill."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from wavenet.errors import FolderError
from wavenet.folder_lock import lock_folder, lock_holder
from wavenet.ui.server import request_limits, temporary_files
from wavenet.ui.server.request_limits import MAX_BODY_BYTES, RequestLimits
from wavenet.ui.server.temporary_files import (
    FOLDER_PREFIX,
    delete_abandoned_folders,
    delete_old_files,
    free_bytes,
    use_private_folder,
)

from .studio_process import COMMAND, ROOT, studio_process

# `wavenet ui`, except that files are old after seconds.
SHORT_TIMER = """
from wavenet.ui.server import temporary_files as files
files.SWEEP_SECONDS, files.FILE_SECONDS, files.UNFINISHED_SECONDS = 0.1, 4, 1
"""
# `app.py` with the port of `wavenet ui --port PORT`.
SPACE_COMMAND = f"""
import os, runpy, sys
os.environ["GRADIO_SERVER_PORT"] = sys.argv[-1]
runpy.run_path({str(ROOT / "app.py")!r}, run_name="__main__")
"""
MULTIPART = "multipart/form-data; boundary=x"
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'


def stored_bytes(parent: Path) -> int:
    """Return the size of the files in the private folders of all studios."""
    found = parent.glob(f"{FOLDER_PREFIX}*/files/**/*")
    return sum(path.stat().st_size for path in found if path.is_file())


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until a condition holds; fail if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def break_off_upload(url: str, parent: Path, size: int = 200_000) -> None:
    """Send the beginning of an upload, and close the connection when the studio has stored it."""
    host, before = url.removeprefix("http://"), stored_bytes(parent)
    head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {host}\r\nContent-Type: {MULTIPART}\r\n"
    head += f"Content-Length: {2 * size}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(host.partition(":")[2])), 30) as connection:
        connection.sendall(head.encode() + PART + bytes(size))
        wait_for(lambda: stored_bytes(parent) > before + size // 2)


@pytest.mark.slow
def test_a_timer_deletes_unfinished_and_old_uploads(root: Path, tmp_path: Path) -> None:
    with studio_process(root.parent, SHORT_TIMER + COMMAND, GRADIO_TEMP_DIR=str(tmp_path)) as url:
        for _ in range(3):
            break_off_upload(url, tmp_path)
        upload = {"files": ("kept.wav", b"RIFF" * 1000)}
        (stored,) = httpx.post(f"{url}/gradio_api/upload", files=upload).json()
        wait_for(lambda: stored_bytes(tmp_path) <= 4000)
        assert Path(stored).read_bytes() == b"RIFF" * 1000
        wait_for(lambda: not Path(stored).exists())
        wait_for(lambda: not Path(stored).parent.exists())


@pytest.mark.slow  # test_launch.py checks the same of `wavenet ui`
def test_all_temporary_files_of_a_space_are_in_the_private_folder(
    root: Path, tmp_path: Path
) -> None:
    with studio_process(root.parent, SPACE_COMMAND, TMPDIR=str(tmp_path)):
        (folder,) = tmp_path.iterdir()
    assert folder.name.startswith(FOLDER_PREFIX)


@pytest.mark.slow
def test_the_next_start_deletes_what_a_killed_studio_left(root: Path, tmp_path: Path) -> None:
    running = tmp_path / f"{FOLDER_PREFIX}running"
    (running / "files").mkdir(parents=True)
    (running / "files" / "b.wav").write_bytes(b"RIFF" * 1000)
    with lock_folder(running):  # as a studio does
        with studio_process(root.parent, GRADIO_TEMP_DIR=str(tmp_path)) as killed:
            break_off_upload(killed, tmp_path)
            (left,) = set(tmp_path.glob(f"{FOLDER_PREFIX}*")) - {running}
            os.kill(lock_holder(left) or 0, signal.SIGKILL)
        assert stored_bytes(tmp_path) > 100_000
        for folder in tmp_path.glob(f"{FOLDER_PREFIX}*"):
            os.utime(folder, (0, 0))
        with studio_process(root.parent, GRADIO_TEMP_DIR=str(tmp_path)):
            assert stored_bytes(tmp_path) == 4000  # of the studio that runs
            assert len(list(tmp_path.glob(f"{FOLDER_PREFIX}*"))) == 2
        # SIGTERM, by which the fixture ends a studio, removes its folder
        assert list(tmp_path.glob(f"{FOLDER_PREFIX}*")) == [running]


def test_the_folder_is_private_and_removed_at_the_end(tmp_path: Path) -> None:
    program = """
import os, stat, tempfile
from pathlib import Path
from gradio.utils import get_upload_folder
from wavenet.ui.server.temporary_files import use_private_folder
files = use_private_folder()
assert str(files) == get_upload_folder()
assert stat.S_IMODE(files.parent.stat().st_mode) == 0o700
assert Path(tempfile.mkdtemp()).is_relative_to(files.parent)
(files / "left.wav").write_bytes(b"RIFF")
if os.fork() == 0:
    raise SystemExit  # a forked process removes nothing
os.wait()
assert (files / "left.wav").exists()
"""
    environment = os.environ | {"GRADIO_TEMP_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_for_temporary_files_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(FolderError, match="set the variable TMPDIR"):
        use_private_folder()
    monkeypatch.delenv("GRADIO_TEMP_DIR")

    def fail() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", fail)
    with pytest.raises(FolderError, match="no usable temporary directory found; set"):
        use_private_folder()


def test_only_abandoned_folders_are_deleted(tmp_path: Path) -> None:
    running, ended, new = (tmp_path / f"{FOLDER_PREFIX}{n}" for n in ("running", "ended", "new"))
    target = tmp_path / "target"
    for folder in (running, ended, new, target):
        folder.mkdir()
        (folder / "a.wav").touch()
    (tmp_path / f"{FOLDER_PREFIX}link").symlink_to(target)
    with lock_folder(running):
        for folder in (running, ended, target):
            os.utime(folder, (0, 0))
        delete_abandoned_folders(tmp_path)
        kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {running.name, new.name, "target", f"{FOLDER_PREFIX}link"}
    assert (target / "a.wav").exists()


def test_files_are_deleted_by_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hash").mkdir()
    paths = [tmp_path / name for name in ("unfinished", "hash/result.wav", "hash/example.wav")]
    for path in paths:
        path.touch()
    now = time.time()

    def names_after(seconds: float) -> list[str]:
        monkeypatch.setattr(time, "time", lambda: now + seconds)
        delete_old_files(tmp_path, {str(paths[2])})
        return [path.name for path in paths if path.exists()]

    assert names_after(240) == ["unfinished", "result.wav", "example.wav"]
    assert names_after(360) == ["result.wav", "example.wav"]
    assert names_after(1740) == ["result.wav", "example.wav"]
    assert names_after(1860) == ["example.wav"]


def limits_client(folder: Path) -> TestClient:
    """Return a client of the limits alone, in front of an app that answers 200."""
    return TestClient(RequestLimits(PlainTextResponse("ok"), folder))


def test_large_requests_are_refused_before_they_are_read(tmp_path: Path) -> None:
    client = limits_client(tmp_path)
    path = "/gradio_api/queue/join"
    assert client.post(path, content=bytes(1000)).text == "ok"
    refused = client.post(path, headers={"Content-Length": str(MAX_BODY_BYTES + 1)})
    assert refused.status_code == 413
    assert refused.text == "A request may have 32 MB; upload recordings as files."
    chunked = client.post(path, content=iter([b"a", b"b"]))
    assert chunked.status_code == 411


def test_uploads_are_refused_if_the_folder_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary_files, "MAX_STORED_BYTES", 10_000_000)
    (tmp_path / "hash").mkdir()
    (tmp_path / "hash" / "old.wav").write_bytes(bytes(6_000_000))
    assert free_bytes(tmp_path) == 4_000_000
    client = limits_client(tmp_path)
    for path in ("/gradio_api/upload", "/gradio_api/upload/"):
        refused = client.post(path, headers={"Content-Length": "5000000"})
        assert refused.status_code == 507
        assert refused.text.startswith("The uploaded files have 5 MB, but the studio has space for")
        assert client.post(path, headers={"Content-Length": "3000000"}).text == "ok"


def test_uploads_that_are_being_received_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "free_bytes", lambda folder: 1000)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if "second" not in scope["query_string"].decode():
            assert limits.pending_bytes == 600
            second = httpx.AsyncClient(transport=httpx.ASGITransport(limits))
            headers = {"Content-Length": "600"}
            answer = await second.post("http://a/gradio_api/upload?second", headers=headers)
            assert answer.status_code == 507
        await PlainTextResponse("ok")(scope, receive, send)

    limits = RequestLimits(app, tmp_path)
    answer = TestClient(limits).post("/gradio_api/upload", headers={"Content-Length": "600"})
    assert answer.text == "ok"
    assert limits.pending_bytes == 0
