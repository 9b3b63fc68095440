"""Download from and publish to a Hub: complete and checked folders, one sentence per error."""

import os
import pickle
import re
import socket
import subprocess
import sys
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

import wavenet
from tests.cli.conftest import assert_refused
from tests.speech.tiny_voice import save_voice
from wavenet import checkpoint, disk_space
from wavenet.errors import CheckpointError
from wavenet.sharing import install

from .conftest import COMMIT

NAMES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def published(hub, folder):
    """Publish a checkpoint, a pickle and a Python file in one repository."""
    files = {name: (folder / name).read_bytes() for name in NAMES}
    hub.files["them/tiny"] = files | {"pytorch_model.bin": pickle.dumps(print), "a/b.py": b"1/0"}
    return hub


def test_pull_requests_only_the_checkpoint(published, tmp_path):
    """Regression: the library also requested a list of programs, to report the running one."""
    code = "from wavenet.cli.main import run; raise SystemExit(run(['hub', 'pull', 'them/tiny']))"
    environment = {"PATH": "", "HOME": str(tmp_path), "HF_ENDPOINT": published.url}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "tiny",
        env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "tiny\n"), done.stderr
    assert done.stderr.count("\n") == 1
    requested = {request.partition("?")[0] for request in published.requests}
    files = {f"{m} /them/tiny/resolve/{COMMIT}/{n}" for n in NAMES for m in ("HEAD", "GET")}
    assert requested <= files | {"GET /api/models/them/tiny"}
    assert published.tokens == {None}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_pull_downloads_only_the_files_of_a_checkpoint(
    published,
    run_command,
    tmp_path,
    folder,
):
    out = tmp_path / "new" / "theirs"
    code, printed, err = run_command("hub", "pull", "them/tiny", "--out", out)
    assert (code, printed) == (0, f"{out}\n"), err
    assert f"them/tiny at {COMMIT}; licence: cc-by-4.0" in err
    assert names(out) == NAMES
    assert all((out / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)
    assert names(out.parent) == ["theirs"]
    assert out.stat().st_mode & 0o777 == out.parent.stat().st_mode & 0o777
    assert not [r for r in published.requests if "pytorch_model" in r or "b.py" in r]
    assert checkpoint.load(out).config.name == "tiny"


def test_load_downloads_a_model_once(published, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    model = wavenet.load("them/tiny", engine="cached")
    assert model.checkpoint.folder == tmp_path / "data/wavenet-studio/checkpoints/them--tiny"
    before = len(published.requests)
    assert wavenet.load("them/tiny", engine="cached").name == model.name
    assert "them--tiny" in wavenet.list_models()
    assert len(published.requests) == before > 0, "the second load sends no request"


def test_load_never_asks_the_hub_for_a_local_path(published, tmp_path, monkeypatch):
    """A mistyped path such as runs/mine is no name of a repository."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "them").mkdir()
    with pytest.raises(CheckpointError):
        wavenet.load("them/tiny")
    with pytest.raises(CheckpointError):
        wavenet.load("tiny-model")
    assert not published.requests


def test_pull_refuses_a_disk_with_too_little_space(published, run_command, tmp_path, monkeypatch):
    size = sum(len(published.files["them/tiny"][name]) for name in NAMES)
    out = tmp_path / "new" / "theirs"
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage(10**9, 0, size - 1))
    code, printed, err = run_command("hub", "pull", "them/tiny", "--out", out)
    assert (code, printed) == (1, "")
    assert re.fullmatch(r"wavenet: the files of them/tiny need .* MB, and the disk of .*\n", err)
    assert not any("resolve" in request for request in published.requests)
    assert not out.parent.exists()
    monkeypatch.setattr(disk_space.shutil, "disk_usage", lambda _: usage(10**9, 0, size))
    assert run_command("hub", "pull", "them/tiny", "--out", out)[0] == 0


def test_pull_names_the_folder_after_the_repository(published, run_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "tiny")
    assert run_command("hub", "pull", "them/tiny", "--revision", COMMIT)[:2] == (0, "tiny\n")
    assert_refused(
        run_command("hub", "pull", "them/tiny", "--revision", "v2", "--out", "x"), "'v2'", code=1
    )


def test_pull_reports_a_missing_licence(published, run_command, tmp_path):
    published.files["them/tiny"]["README.md"] = b"# tiny"
    err = run_command("hub", "pull", "them/tiny", "--out", tmp_path / "out")[2]
    assert "licence: not stated" in err
    del published.files["them/tiny"]["README.md"]
    assert run_command("hub", "pull", "them/tiny", "--out", tmp_path / "other")[0] == 0


def test_pull_replaces_only_checkpoints_and_only_with_overwrite(
    published,
    run_command,
    tmp_path,
    make_checkpoint,
):
    old = make_checkpoint(name="old").folder
    before = (old / "config.json").read_bytes()
    common = ("hub", "pull", "them/tiny", "--out", old)
    assert_refused(run_command(*common), "old exists already", "--overwrite")
    assert not published.requests, "it must not download what it cannot store"
    assert (old / "config.json").read_bytes() == before
    (old / "thesis.txt").write_text("important")
    assert_refused(run_command(*common, "--overwrite"), "more than a checkpoint")
    (old / "thesis.txt").unlink()
    assert run_command(*common, "--overwrite")[0] == 0
    assert checkpoint.load(old).config.name == "tiny"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    file = tmp_path / "file"
    file.write_text("words")
    assert_refused(run_command(*common[:-1], file, "--overwrite"), "more than a checkpoint")
    assert file.read_text() == "words"


def test_a_failed_replacement_keeps_the_old_checkpoint(folder, make_checkpoint, monkeypatch):
    old = make_checkpoint(name="old").folder
    rename = os.rename
    steps = []

    def rename_on_full_disk(source, target):
        steps.append(source)
        if len(steps) == 2:  # the old folder is moved, the new one not yet in place
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_on_full_disk)
    with (
        pytest.raises(install.ConditionError, match="the disk is full"),
        install.staging_folder(old, "x", overwrite=True) as stage,
    ):
        for name in NAMES:
            (stage / name).write_bytes((folder / name).read_bytes())
    assert len(steps) == 3
    assert checkpoint.load(old).config.name == "old"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"model.safetensors": pickle.dumps({"a": 1})}, "is a pickle"),
        ({"model.safetensors": b""}, "truncated"),
        ({"config.json": b"{}"}, "is missing"),
        ({"config.json": None}, "has no config.json"),
        ({"model.safetensors": None}, "has no model.safetensors"),
    ],
)
def test_an_invalid_checkpoint_is_not_installed(published, run_command, tmp_path, damage, words):
    files = published.files["them/tiny"] | damage
    published.files["them/tiny"] = {n: d for n, d in files.items() if d is not None}
    out = tmp_path / "deep" / "out"
    result = run_command("hub", "pull", "them/tiny", "--out", out)
    assert_refused(result, "them/tiny", words, code=1)
    assert ".partial" not in result[2]
    assert not out.exists()
    assert not out.parent.exists() or names(out.parent) == []


def test_sizes_are_limited_before_and_after_the_download(
    published, run_command, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    published.announced = {"model.safetensors": 1 << 40}
    assert_refused(
        run_command("hub", "pull", "them/tiny", "--out", out), "1,099,511,627,776 bytes", code=1
    )
    assert len(published.requests) == 1
    published.announced = {"config.json": 10}
    monkeypatch.setitem(install.MAX_BYTES, "config.json", 50)
    assert_refused(run_command("hub", "pull", "them/tiny", "--out", out), "limit is 50", code=1)
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ((404, "RepoNotFound"), ["no model them/tiny", "hf auth login"]),
        ((401, "RepoNotFound"), ["no model them/tiny"]),
        ((403, "GatedRepo"), ["accept its terms", "hf auth login"]),
        ((404, "RevisionNotFound"), ["no revision 'v9'", "--revision"]),
        ((403, ""), ["no permission"]),
        ((400, ""), ["status 400"]),
        ((429, ""), ["too many requests"]),
        ((500, ""), ["internal error", "500"]),
    ],
)
def test_errors_of_the_hub_are_one_sentence(published, run_command, tmp_path, error, words):
    published.error = error
    out = tmp_path / "out"
    result = run_command("hub", "pull", "them/tiny", "--revision", "v9", "--out", out)
    assert_refused(result, *words, code=1)
    assert not out.exists()


def test_a_missing_network_is_one_sentence(hub, run_command, tmp_path, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        assert_refused(
            run_command("hub", "pull", "a/b", "--out", tmp_path / "o"), "connection", code=1
        )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert_refused(
        run_command("hub", "pull", "a/b", "--out", tmp_path / "o"), "HF_HUB_OFFLINE", code=1
    )


def test_a_lost_connection_leaves_no_files(published, run_command, tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    download = HfApi.hf_hub_download

    def lose_connection(self, repository, name, **options):
        if name == "model.safetensors":
            raise ConnectionError("reset by peer")
        return download(self, repository, name, **options)

    monkeypatch.setattr(HfApi, "hf_hub_download", lose_connection)
    out = tmp_path / "deep" / "out"
    assert_refused(run_command("hub", "pull", "them/tiny", "--out", out), "connection", code=1)
    assert names(out.parent) == []


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../x", "a/..", "a b/c", "", "https://x/y"])
def test_an_invalid_name_sends_no_request(hub, run_command, tmp_path, folder, name):
    assert_refused(run_command("hub", "pull", name, "--out", tmp_path / "o"), "OWNER/NAME")
    assert_refused(run_command("hub", "push", folder, name), "OWNER/NAME")
    assert not hub.requests


def test_push_publishes_what_pull_downloads(hub, run_command, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, printed, err = run_command("hub", "push", folder, "me/tiny", "--private")
    assert (code, printed) == (0, f"{hub.url}/me/tiny/commit/{COMMIT}\n"), err
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in printed + err
    assert sorted(hub.files["me/tiny"]) == NAMES
    assert run_command("hub", "pull", "me/tiny", "--out", tmp_path / "again")[0] == 0
    assert all((tmp_path / "again" / n).read_bytes() == (folder / n).read_bytes() for n in NAMES)


def test_push_refuses_invalid_folders_and_missing_licences(hub, run_command, folder, monkeypatch):
    assert_refused(
        run_command("hub", "push", folder, "me/tiny"), "no user is logged in", "HF_TOKEN", code=1
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (folder / "README.md").write_text("# A card without a licence")
    assert_refused(
        run_command("hub", "push", folder, "me/tiny"), "states no licence", "license:", code=1
    )
    (folder / "README.md").unlink()
    assert_refused(run_command("hub", "push", folder, "me/tiny"), "states no licence", code=1)
    (folder / "model.safetensors").write_bytes(b"damaged")
    assert_refused(run_command("hub", "push", folder, "me/tiny"), "model.safetensors", code=1)
    assert_refused(
        run_command("hub", "push", folder / "none", "me/tiny"), "not a checkpoint", code=1
    )
    assert not hub.requests


def test_push_refuses_a_voice_whose_vocoder_it_would_leave_out(hub, run_command, tmp_path):
    voice = save_voice(tmp_path / "anna")
    assert_refused(run_command("hub", "push", voice, "me/anna"), "is a voice", "zip", code=1)
    assert not hub.requests


def test_a_token_without_permission_is_one_sentence(hub, run_command, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.error = (403, "")
    assert_refused(run_command("hub", "push", folder, "them/tiny"), "no permission", code=1)
    hub.error = (401, "")
    assert_refused(run_command("hub", "push", folder, "them/tiny"), "hf auth login", code=1)


@pytest.mark.parametrize("answer", [b"<html>log in</html>", b"{}", b"[]"])
def test_an_answer_that_is_not_of_the_hub_is_one_sentence(tmp_path, answer):
    """Regression: a login page of the network in place of the Hub ended with a traceback."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        code = "from wavenet.cli.main import run; raise SystemExit(run(['hub', 'pull', 'a/b']))"
        address = f"http://127.0.0.1:{server.server_port}"
        environment = {"PATH": "", "HOME": str(tmp_path), "HF_ENDPOINT": address}
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env=environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
        )
        server.shutdown()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "HF_ENDPOINT" in done.stderr


def test_a_missing_package_is_named(run_command, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert_refused(run_command("hub", "pull", "a/b"), "pip install huggingface_hub", code=1)


def test_the_commands_have_help(run_command):
    for name in ("pull", "push"):
        code, out, _ = run_command("hub", name, "--help")
        assert (code, "OWNER/NAME" in out) == (0, True)
