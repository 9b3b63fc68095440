"""Checkpoints to and from a Hub: what arrives is whole and checked, every fault is one sentence."""

import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import refused
from wavenet import checkpoint
from wavenet.sharing import install as folders

from .conftest import COMMIT

NAMES = ["README.md", "config.json", "model.safetensors"]


@pytest.fixture
def published(hub, folder):
    """A repository with a checkpoint, and a pickle beside it."""
    files = {name: (folder / name).read_bytes() for name in NAMES}
    hub.files["them/tiny"] = files | {"pytorch_model.bin": pickle.dumps(print), "a/b.py": b"1/0"}
    return hub


def test_pull_asks_for_nothing_else(published, tmp_path):
    """The library once asked for a list of programs as well, to tell which one was at work."""
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
    asked = {request.partition("?")[0] for request in published.requests}
    files = {f"{how} /them/tiny/resolve/{COMMIT}/{n}" for n in NAMES for how in ("HEAD", "GET")}
    assert asked <= files | {"GET /api/models/them/tiny"}
    assert published.tokens == {None}


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_pull_fetches_the_files_of_a_checkpoint_and_no_others(
    published,
    wavenet,
    tmp_path,
    folder,
):
    out = tmp_path / "new" / "theirs"
    code, said, err = wavenet("hub", "pull", "them/tiny", "--out", out)
    assert (code, said) == (0, f"{out}\n"), err
    assert f"them/tiny at {COMMIT}; licence: cc-by-4.0" in err
    assert names(out) == NAMES
    assert all((out / name).read_bytes() == (folder / name).read_bytes() for name in NAMES)
    assert names(out.parent) == ["theirs"]
    assert out.stat().st_mode & 0o777 == out.parent.stat().st_mode & 0o777
    assert not [r for r in published.requests if "pytorch_model" in r or "b.py" in r]
    assert checkpoint.load(out).config.name == "tiny"


def test_pull_names_the_folder_after_the_repository(published, wavenet, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "tiny")
    assert wavenet("hub", "pull", "them/tiny", "--revision", COMMIT)[:2] == (0, "tiny\n")
    refused(wavenet("hub", "pull", "them/tiny", "--revision", "v2", "--out", "x"), "'v2'", code=1)


def test_pull_says_when_no_licence_is_named(published, wavenet, tmp_path):
    published.files["them/tiny"]["README.md"] = b"# tiny"
    err = wavenet("hub", "pull", "them/tiny", "--out", tmp_path / "out")[2]
    assert "licence: none named" in err
    del published.files["them/tiny"]["README.md"]
    assert wavenet("hub", "pull", "them/tiny", "--out", tmp_path / "other")[0] == 0


def test_pull_replaces_a_checkpoint_only_when_told_and_nothing_else_ever(
    published,
    wavenet,
    tmp_path,
    make_checkpoint,
):
    old = make_checkpoint(name="old").folder
    before = (old / "config.json").read_bytes()
    common = ("hub", "pull", "them/tiny", "--out", old)
    refused(wavenet(*common), "old exists already", "--overwrite")
    assert not published.requests, "it asked although it could not have kept the answer"
    assert (old / "config.json").read_bytes() == before
    (old / "thesis.txt").write_text("years of work")
    refused(wavenet(*common, "--overwrite"), "holds more than a checkpoint")
    (old / "thesis.txt").unlink()
    assert wavenet(*common, "--overwrite")[0] == 0
    assert checkpoint.load(old).config.name == "tiny"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []
    file = tmp_path / "file"
    file.write_text("words")
    refused(wavenet(*common[:-1], file, "--overwrite"), "holds more than a checkpoint")
    assert file.read_text() == "words"


def test_a_replacement_that_fails_leaves_the_old_checkpoint(folder, make_checkpoint, monkeypatch):
    old = make_checkpoint(name="old").folder
    rename = os.rename
    steps = []

    def full(source, target):
        steps.append(source)
        if len(steps) == 2:  # the old one is out of the way, the new one not yet in its place
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", full)
    with (
        pytest.raises(folders.ConditionError, match="the disk is full"),
        folders.staging_folder(old, "x", overwrite=True) as stage,
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
def test_what_is_no_checkpoint_is_not_kept(published, wavenet, tmp_path, damage, words):
    files = published.files["them/tiny"] | damage
    published.files["them/tiny"] = {n: d for n, d in files.items() if d is not None}
    out = tmp_path / "deep" / "out"
    result = wavenet("hub", "pull", "them/tiny", "--out", out)
    refused(result, "them/tiny", words, code=1)
    assert ".partial" not in result[2]
    assert not out.exists()
    assert not out.parent.exists() or names(out.parent) == []


def test_sizes_are_limited_before_and_after_the_download(published, wavenet, tmp_path, monkeypatch):
    out = tmp_path / "out"
    published.announced = {"model.safetensors": 1 << 40}
    refused(wavenet("hub", "pull", "them/tiny", "--out", out), "1,099,511,627,776 bytes", code=1)
    assert len(published.requests) == 1
    published.announced = {"config.json": 10}
    monkeypatch.setitem(folders.MAX_BYTES, "config.json", 50)
    refused(wavenet("hub", "pull", "them/tiny", "--out", out), "at most 50", code=1)
    assert not out.exists()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ((404, "RepoNotFound"), ["no model them/tiny", "hf auth login"]),
        ((401, "RepoNotFound"), ["no model them/tiny"]),
        ((403, "GatedRepo"), ["agree on its page", "hf auth login"]),
        ((404, "RevisionNotFound"), ["no revision 'v9'", "--revision"]),
        ((403, ""), ["your token may not"]),
        ((400, ""), ["answered 400"]),
        ((429, ""), ["too many requests"]),
        ((500, ""), ["in trouble", "500"]),
    ],
)
def test_a_fault_of_the_hub_is_one_sentence(published, wavenet, tmp_path, fault, words):
    published.fault = fault
    out = tmp_path / "out"
    result = wavenet("hub", "pull", "them/tiny", "--revision", "v9", "--out", out)
    refused(result, *words, code=1)
    assert not out.exists()


def test_a_machine_without_network_is_one_sentence(hub, wavenet, tmp_path, monkeypatch):
    from huggingface_hub import constants

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        refused(wavenet("hub", "pull", "a/b", "--out", tmp_path / "o"), "connection", code=1)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(wavenet("hub", "pull", "a/b", "--out", tmp_path / "o"), "HF_HUB_OFFLINE", code=1)


def test_a_connection_lost_in_the_middle_leaves_nothing(published, wavenet, tmp_path, monkeypatch):
    from huggingface_hub import HfApi

    fetch = HfApi.hf_hub_download

    def lose(self, repository, name, **options):
        if name == "model.safetensors":
            raise ConnectionError("reset by peer")
        return fetch(self, repository, name, **options)

    monkeypatch.setattr(HfApi, "hf_hub_download", lose)
    out = tmp_path / "deep" / "out"
    refused(wavenet("hub", "pull", "them/tiny", "--out", out), "connection", code=1)
    assert names(out.parent) == []


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "../x", "a/..", "a b/c", "", "https://x/y"])
def test_a_bad_name_asks_nobody(hub, wavenet, tmp_path, folder, name):
    refused(wavenet("hub", "pull", name, "--out", tmp_path / "o"), "OWNER/NAME")
    refused(wavenet("hub", "push", folder, name), "OWNER/NAME")
    assert not hub.requests


def test_push_publishes_what_pull_fetches(hub, wavenet, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    code, said, err = wavenet("hub", "push", folder, "me/tiny", "--private")
    assert (code, said) == (0, f"{hub.url}/me/tiny/commit/{COMMIT}\n"), err
    assert hub.tokens == {"Bearer hf_secret"}
    assert "hf_secret" not in said + err
    assert sorted(hub.files["me/tiny"]) == NAMES
    assert wavenet("hub", "pull", "me/tiny", "--out", tmp_path / "again")[0] == 0
    assert all((tmp_path / "again" / n).read_bytes() == (folder / n).read_bytes() for n in NAMES)


def test_push_refuses_what_nobody_could_use(hub, wavenet, folder, monkeypatch):
    refused(wavenet("hub", "push", folder, "me/tiny"), "nobody is logged in", "HF_TOKEN", code=1)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (folder / "README.md").write_text("# A card without a licence")
    refused(wavenet("hub", "push", folder, "me/tiny"), "names no licence", "license:", code=1)
    (folder / "README.md").unlink()
    refused(wavenet("hub", "push", folder, "me/tiny"), "names no licence", code=1)
    (folder / "model.safetensors").write_bytes(b"damaged")
    refused(wavenet("hub", "push", folder, "me/tiny"), "model.safetensors", code=1)
    refused(wavenet("hub", "push", folder / "none", "me/tiny"), "not a checkpoint", code=1)
    assert not hub.requests


def test_a_token_without_rights_is_one_sentence(hub, wavenet, folder, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.fault = (403, "")
    refused(wavenet("hub", "push", folder, "them/tiny"), "your token may not", code=1)
    hub.fault = (401, "")
    refused(wavenet("hub", "push", folder, "them/tiny"), "hf auth login", code=1)


def test_without_the_package_it_says_what_to_install(wavenet, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    refused(wavenet("hub", "pull", "a/b"), "pip install huggingface_hub", code=1)


def test_the_commands_have_help_and_stand_in_the_readme(wavenet, request):
    readme = (request.config.rootpath / "README.md").read_text(encoding="utf-8")
    for name in ("pull", "push"):
        code, out, _ = wavenet("hub", name, "--help")
        assert (code, "OWNER/NAME" in out) == (0, True)
        assert f"wavenet hub {name}" in readme
