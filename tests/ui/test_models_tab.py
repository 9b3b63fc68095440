"""The Models tab without a browser: its callbacks, called as Gradio calls them."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from wavenet.sharing import zip_archive
from wavenet.ui import jobs, models
from wavenet.ui.studio import build_studio

from .conftest import RATE, save_checkpoint

CARD = "---\nlicense: cc0-1.0\n---\n# Notes <img src=x onerror=alert(1)>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Checkpoints of its own, for a test that adds to them."""
    save_checkpoint(tmp_path / "all", "digits", RATE, {"digit": ("0", "1")})
    (tmp_path / "all" / "digits" / "README.md").write_text(CARD)
    return tmp_path / "all"


@pytest.fixture
def brass(tmp_path: Path) -> Path:
    """An archive of another checkpoint."""
    save_checkpoint(tmp_path / "theirs", "brass", 2 * RATE, {"instrument": ("horn",)})
    zip_archive.pack(tmp_path / "theirs" / "brass", tmp_path / "brass.zip")
    return tmp_path / "brass.zip"


@pytest.fixture(autouse=True)
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.delenv(models.ALLOW_IMPORT, raising=False)


def test_a_checkpoint_is_described_with_its_card(folder: Path) -> None:
    facts, card = models.show(folder, "digits")
    for words in ("cc0-1.0", "8,000 Hz", "32 samples", "4.0 ms", "Condition: digit", "0, 1"):
        assert words in facts
    model = jobs.load_named(folder, "digits").model
    assert f"{model.parameter_count:,}" in facts
    assert "<h3>Notes &lt;img" in card
    (folder / "digits" / "README.md").unlink()
    facts, card = models.show(folder, "digits")
    assert "none named" in facts
    assert card == models.NO_CARD


def test_every_kind_of_condition_is_put_into_words() -> None:
    from tests.conftest import tiny_config
    from wavenet.model.conditions import LabelCondition

    words = [models.values_of(condition) for condition in tiny_config(conditions="all").conditions]
    assert words == [
        "frames of 3",
        "a, b, c",
        "-40 to 0 dB",
        "4 numbers",
        "frames of 2",
        "in the clip",
    ]
    many = LabelCondition(name="word", values=tuple(str(n) for n in range(1234)))
    assert models.values_of(many).endswith("19, and 1,214 more")


@pytest.mark.parametrize("name", [None, "none", "../all/digits", ""])
def test_what_is_not_there_is_a_sentence_without_our_paths(folder: Path, name: str | None) -> None:
    facts, card = models.show(folder, name)
    assert "role='alert'" in facts
    assert str(folder) not in facts
    assert card == ""
    with pytest.raises(gr.Error):
        next(models.pack(folder, name))


def test_a_damaged_card_is_a_sentence(folder: Path) -> None:
    (folder / "digits" / "README.md").write_bytes(b"\xff")
    facts, _ = models.show(folder, "digits")
    assert "README.md is not text" in facts
    assert str(folder) not in facts


def test_the_download_can_be_imported_elsewhere(folder: Path, tmp_path: Path) -> None:
    (folder / "digits" / "private.txt").write_text("not to be given away")
    packed = models.pack(folder, "digits")
    path = Path(next(packed))
    with zipfile.ZipFile(path) as file:
        names = ["digits/config.json", "digits/model.safetensors", "digits/README.md"]
        assert file.namelist() == names
    (tmp_path / "other").mkdir()
    _, news, choices = models.take_in(tmp_path / "other", str(path))
    assert "role='status'" in news
    assert (choices["choices"], choices["value"]) == (["digits"], "digits")
    assert list(packed) == []
    assert not path.exists(), "the temporary file stays"


def test_a_new_checkpoint_is_in_all_pickers_at_the_next_page_load(
    folder: Path, brass: Path
) -> None:
    page = build_studio(folder)
    pickers = {
        block._id: str(block.elem_id)
        for block in page.blocks.values()
        if isinstance(block, gr.Dropdown) and "digits" in str(block.choices)
    }
    assert {"checkpoint", "judge", "preset", "model-choice"} <= set(pickers.values())
    models.take_in(folder, str(brass))
    for load in page.fns.values():
        if (page._id, "load") in load.targets and not load.inputs and load.outputs:
            for block, update in zip(load.outputs, as_list(call(load.fn)), strict=True):
                if isinstance(update, dict) and "brass" in str(update.get("choices")):
                    pickers.pop(block._id, None)
    assert pickers == {}


def call(fn: Any) -> Any:
    """Call what runs at a page load, with a request where it takes one."""
    try:
        return fn()
    except TypeError:
        return fn(gr.Request(query_params={}))


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no zip", "not a zip"), (None, "checkpoint brass exists already")],
)
def test_a_refused_archive_is_a_sentence(
    folder: Path, brass: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        brass.write_bytes(content)
    else:
        shutil.copytree(folder / "digits", folder / "brass")
    upload, news, choices = models.take_in(folder, str(brass))
    assert upload is None
    assert "role='alert'" in news
    assert words in news
    assert str(folder) not in news
    assert choices == gr.skip()


def test_names_in_an_archive_are_no_html(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("<img src=x onerror=alert(1)>", b"")
    news = models.take_in(folder, str(path))[1]
    assert "&lt;img" in news
    assert "<img" not in news


def test_a_public_space_takes_nothing_in_unless_it_is_told_to(
    folder: Path, brass: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_upload() -> bool:
        blocks = build_studio(folder).blocks.values()
        return any(block.elem_id == "model-upload" for block in blocks)

    assert has_upload()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_upload()
    assert models.take_in(folder, str(brass))[1] == models.NOT_HERE
    assert not (folder / "brass").exists()
    monkeypatch.setenv(models.ALLOW_IMPORT, "1")
    assert has_upload()
    models.take_in(folder, str(brass))
    assert (folder / "brass").exists()
    assert models.take_in(folder, None)[1] == ""
