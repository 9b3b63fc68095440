"""Downloads of checkpoints from the Hub, with a fake Hub on this machine."""

from pathlib import Path

import gradio as gr
import pytest

from tests.sharing.conftest import COMMIT, FakeHub, hub  # noqa: F401
from wavenet.sharing.local_models import is_added
from wavenet.ui.hub_download import ALLOW_IMPORT
from wavenet.ui.model_bar.model_bar import choose_model
from wavenet.ui.models.models_events import IMPORT_DISABLED, import_from_hub
from wavenet.ui.page import Page
from wavenet.ui.studio_app import build_studio

from .bare_page import Values, bare_page, merge
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


@pytest.fixture
def page(folder: Path) -> Page:
    return bare_page(folder)


def download(page: Page, repository: str | None) -> Values:
    """Return the newest outputs of a download."""
    return merge(import_from_hub(page, repository=repository))


def test_models_tab_downloads_a_checkpoint_by_name(page: Page, published: FakeHub) -> None:
    updates = import_from_hub(page, repository=" them/Brass ")
    first = next(updates)
    assert list(first) == ["message"]
    assert "Downloading them/Brass" in first["message"]
    assert published.requests == [], "the download started before it was announced"
    (shown,) = updates
    assert "role='status'" in shown["message"]
    assert f"Commit {COMMIT[:12]}; licence: cc0-1.0." in shown["message"]
    assert shown["model"]["choices"] == ["digits", "Brass"]
    assert 'data-model="Brass"' in shown["shelf"]
    assert "Licence: cc0-1.0" in shown["shelf"]
    assert is_added(page.root, page.root / "Brass")
    repeated = download(page, "them/brass")
    assert "role='alert'" in repeated["message"] and "brass" in repeated["message"]
    assert "model" not in repeated


def test_model_bar_downloads_a_checkpoint_by_name(
    page: Page, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    updates = choose_model(page, "them/Brass")
    first = next(updates)
    assert list(first) == ["about"]
    assert "Downloading them/Brass" in first["about"]
    assert published.requests == [], "the download started before it was announced"
    assert merge(updates)["model"] == gr.update(choices=["digits", "Brass"], value="Brass")
    requests = len(published.requests)
    assert merge(choose_model(page, "Brass"))["model"]["value"] == "Brass"
    refused = merge(choose_model(page, "them/<Brass>"))
    assert "role='alert'" in refused["about"] and "OWNER/NAME" in refused["about"]
    assert "<Brass>" not in refused["about"]
    assert "model" not in refused
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert "role='alert'" in merge(choose_model(page, "them/Horn"))["about"]
    assert len(published.requests) == requests


def test_revision_follows_an_at_sign(page: Page, published: FakeHub) -> None:
    message = download(page, "them/Brass@v9")["message"]
    assert "v9" in message and "@REVISION" in message
    assert "Brass" in download(page, f"them/Brass@{COMMIT}")["model"]["choices"]


@pytest.mark.parametrize(
    "repository",
    [None, "", "brass", "../x", "a/..", "<img src=x>/y", "https://x/y", "them/Brass/@x"],
)
def test_invalid_name_sends_no_request(
    page: Page, published: FakeHub, repository: str | None
) -> None:
    first, last = (update["message"] for update in import_from_hub(page, repository=repository))
    assert "role='alert'" in last
    assert "OWNER/NAME" in last
    assert "<img" not in first + last
    assert published.requests == []


def test_offline_is_an_error_without_server_paths(
    page: Page, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    found = download(page, "them/Brass")
    assert "HF_HUB_OFFLINE" in found["message"]
    assert list(found) == ["message"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    message = download(page, "them/Brass")["message"]
    assert "cannot be reached" in message and str(page.root) not in message
    assert [path.name for path in page.root.iterdir()] == ["digits"]


@pytest.mark.slow
def test_space_downloads_only_if_allowed_and_without_its_token(
    page: Page, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_field() -> bool:
        blocks = build_studio(page.root).blocks.values()
        return any(block.elem_id == "model-repository" for block in blocks)

    assert has_field()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_field()
    assert IMPORT_DISABLED in download(page, "them/Brass")["message"]
    assert published.requests == []
    monkeypatch.setenv(ALLOW_IMPORT, "1")
    assert has_field()
    assert "Brass" in download(page, "them/Brass")["model"]["choices"]
    assert published.tokens == {None}
