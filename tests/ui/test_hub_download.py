"""Downloads of checkpoints from the Hub, with a fake Hub on this machine."""

from pathlib import Path

import gradio as gr
import pytest

from tests.sharing.conftest import COMMIT, FakeHub, hub  # noqa: F401
from wavenet.ui.hub_download import ALLOW_IMPORT, download_chosen, show_chosen
from wavenet.ui.models_tab import IMPORT_DISABLED, import_from_hub, show_model, tab

from .conftest import RATE, save_checkpoint

CARD = "---\nlicense: cc0-1.0\n---\n# Brass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints on a user's own machine."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv(ALLOW_IMPORT, raising=False)
    save_checkpoint(tmp_path / "all", "digits", RATE, {"digit": ("0", "1")})
    return tmp_path / "all"


@pytest.fixture
def published(hub: FakeHub, tmp_path: Path) -> FakeHub:  # noqa: F811
    """The fake Hub with a repository of a checkpoint."""
    save_checkpoint(tmp_path / "theirs", "brass", RATE, {"instrument": ("horn",)})
    files = {p.name: p.read_bytes() for p in (tmp_path / "theirs" / "brass").iterdir()}
    hub.files["them/Brass"] = files | {"README.md": CARD.encode()}
    return hub


def test_models_tab_downloads_a_checkpoint_by_name(folder: Path, published: FakeHub) -> None:
    updates = import_from_hub(folder, " them/Brass ")
    first, unchanged = next(updates)
    assert "Downloading them/Brass" in first
    assert unchanged == gr.skip()
    assert published.requests == [], "the download started before it was announced"
    ((message, choices),) = list(updates)
    assert "role='status'" in message
    assert f"Commit {COMMIT[:12]}; licence: cc0-1.0." in message
    assert "<a href='?checkpoint=Brass'>" in message
    assert (choices["choices"], choices["value"]) == (["digits", "Brass"], "Brass")
    assert "cc0-1.0" in show_model(folder, "Brass")[0]
    repeated, _ = list(import_from_hub(folder, "them/brass"))[-1]
    assert "role='alert'" in repeated and "brass" in repeated


def test_dropdown_of_the_generate_tab_downloads_a_checkpoint_by_name(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    message, *others = show_chosen(folder, "them/Brass")
    assert "Downloading them/Brass" in message
    assert set(map(str, others)) == {str(gr.skip())}
    assert published.requests == [], "the download started before it was announced"
    names, about, seconds, *_ = download_chosen(folder, "them/Brass")
    assert (names["choices"], names["value"]) == (["digits", "Brass"], "Brass")
    assert "8,000 Hz" in about
    assert seconds["value"] == 0.5
    requests = len(published.requests)
    assert show_chosen(folder, "Brass")[0] == about
    assert set(map(str, download_chosen(folder, "Brass"))) == {str(gr.skip())}
    unchanged, error, *_ = download_chosen(folder, "them/<Brass>")
    assert "role='alert'" in error and "OWNER/NAME" in error and "<Brass>" not in error
    assert unchanged == gr.skip()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert "role='alert'" in show_chosen(folder, "them/Horn")[0]
    assert set(map(str, download_chosen(folder, "them/Horn"))) == {str(gr.skip())}
    assert len(published.requests) == requests


def test_revision_follows_an_at_sign(folder: Path, published: FakeHub) -> None:
    message, _ = list(import_from_hub(folder, "them/Brass@v9"))[-1]
    assert "v9" in message and "@REVISION" in message
    assert list(import_from_hub(folder, f"them/Brass@{COMMIT}"))[-1][1]["value"] == "Brass"


@pytest.mark.parametrize(
    "repository",
    [None, "", "brass", "../x", "a/..", "<img src=x>/y", "https://x/y", "them/Brass/@x"],
)
def test_invalid_name_sends_no_request(
    folder: Path, published: FakeHub, repository: str | None
) -> None:
    first, last = import_from_hub(folder, repository)
    assert "role='alert'" in last[0]
    assert "OWNER/NAME" in last[0]
    assert "<img" not in first[0] + last[0]
    assert published.requests == []


def test_offline_is_an_error_without_server_paths(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    message, choices = list(import_from_hub(folder, "them/Brass"))[-1]
    assert "HF_HUB_OFFLINE" in message
    assert choices == gr.skip()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message, _ = list(import_from_hub(folder, "them/Brass"))[-1]
    assert "cannot be reached" in message and str(folder) not in message
    assert [path.name for path in folder.iterdir()] == ["digits"]


def test_space_downloads_only_if_allowed_and_without_its_token(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_field() -> bool:
        with gr.Blocks() as page:
            tab(folder)
        return any(block.elem_id == "model-repository" for block in page.blocks.values())

    assert has_field()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_field()
    assert list(import_from_hub(folder, "them/Brass")) == [(IMPORT_DISABLED, gr.skip())]
    assert published.requests == []
    monkeypatch.setenv(ALLOW_IMPORT, "1")
    assert has_field()
    assert list(import_from_hub(folder, "them/Brass"))[-1][1]["value"] == "Brass"
    assert published.tokens == {None}
