"""A checkpoint of the Hub, fetched from the Models tab; the Hub is one on this machine."""

from pathlib import Path

import gradio as gr
import pytest

from tests.sharing.conftest import COMMIT, FakeHub, hub  # noqa: F401
from wavenet.ui import fetching, models

from .conftest import RATE, save_checkpoint

CARD = "---\nlicense: cc0-1.0\n---\n# Brass\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of checkpoints on somebody's own machine."""
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv(fetching.ALLOW_IMPORT, raising=False)
    save_checkpoint(tmp_path / "all", "digits", RATE, {"digit": ("0", "1")})
    return tmp_path / "all"


@pytest.fixture
def published(hub: FakeHub, tmp_path: Path) -> FakeHub:  # noqa: F811
    """A repository with a checkpoint."""
    save_checkpoint(tmp_path / "theirs", "brass", RATE, {"instrument": ("horn",)})
    files = {p.name: p.read_bytes() for p in (tmp_path / "theirs" / "brass").iterdir()}
    hub.files["them/Brass"] = files | {"README.md": CARD.encode()}
    return hub


def test_a_typed_name_brings_its_checkpoint(folder: Path, published: FakeHub) -> None:
    work = models.fetch(folder, " them/Brass ")
    first, unchanged = next(work)
    assert "Asking the Hub for them/Brass" in first
    assert unchanged == gr.skip()
    assert published.requests == [], "it asked before it said so"
    ((words, choices),) = list(work)
    assert "role='status'" in words
    assert f"Commit {COMMIT[:12]}; licence: cc0-1.0." in words
    assert "<a href='?checkpoint=Brass'>" in words
    assert (choices["choices"], choices["value"]) == (["digits", "Brass"], "Brass")
    assert "cc0-1.0" in models.show(folder, "Brass")[0]
    again, _ = list(models.fetch(folder, "them/brass"))[-1]
    assert "checkpoint brass exists already" in again


def test_a_name_typed_into_the_picker_brings_its_checkpoint_too(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, *others = fetching.choose(folder, "them/Brass")
    assert "Asking the Hub for them/Brass" in said
    assert set(map(str, others)) == {str(gr.skip())}
    assert published.requests == [], "it asked before it said so"
    names, about, seconds, *_ = fetching.fetch_chosen(folder, "them/Brass")
    assert (names["choices"], names["value"]) == (["digits", "Brass"], "Brass")
    assert "8,000 Hz" in about
    assert seconds["value"] == 0.5
    asked = len(published.requests)
    assert fetching.choose(folder, "Brass")[0] == about
    assert set(map(str, fetching.fetch_chosen(folder, "Brass"))) == {str(gr.skip())}
    unchanged, words, *_ = fetching.fetch_chosen(folder, "them/<Brass>")
    assert "role='alert'" in words and "OWNER/NAME" in words and "<Brass>" not in words
    assert unchanged == gr.skip()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert "role='alert'" in fetching.choose(folder, "them/Horn")[0]
    assert set(map(str, fetching.fetch_chosen(folder, "them/Horn"))) == {str(gr.skip())}
    assert len(published.requests) == asked


def test_a_revision_stands_behind_an_at(folder: Path, published: FakeHub) -> None:
    words, _ = list(models.fetch(folder, "them/Brass@v9"))[-1]
    assert "no revision &#x27;v9&#x27;; omit @REVISION" in words
    assert list(models.fetch(folder, f"them/Brass@{COMMIT}"))[-1][1]["value"] == "Brass"


@pytest.mark.parametrize(
    "wish", [None, "", "brass", "../x", "a/..", "<img src=x>/y", "https://x/y", "them/Brass/@x"]
)
def test_what_is_no_name_asks_nobody(folder: Path, published: FakeHub, wish: str | None) -> None:
    first, last = models.fetch(folder, wish)
    assert "role='alert'" in last[0]
    assert "OWNER/NAME" in last[0]
    assert "<img" not in first[0] + last[0]
    assert published.requests == []


def test_offline_is_a_sentence_without_our_paths(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    words, choices = list(models.fetch(folder, "them/Brass"))[-1]
    assert "HF_HUB_OFFLINE is set" in words
    assert choices == gr.skip()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    words, _ = list(models.fetch(folder, "them/Brass"))[-1]
    assert "The Hub cannot be reached" in words
    assert [path.name for path in folder.iterdir()] == ["digits"]


def test_on_a_space_only_where_it_is_allowed_and_without_its_token(
    folder: Path, published: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_field() -> bool:
        with gr.Blocks() as page:
            models.tab(folder)
        return any(block.elem_id == "model-repository" for block in page.blocks.values())

    assert has_field()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_field()
    assert list(models.fetch(folder, "them/Brass")) == [(models.NOT_HERE, gr.skip())]
    assert published.requests == []
    monkeypatch.setenv(fetching.ALLOW_IMPORT, "1")
    assert has_field()
    assert list(models.fetch(folder, "them/Brass"))[-1][1]["value"] == "Brass"
    assert published.tokens == {None}
