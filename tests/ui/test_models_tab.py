"""The Models tab without a browser: its callbacks, called as Gradio calls them."""

import shutil
import zipfile
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.datastructures import QueryParams

from wavenet.sharing import zip_archive
from wavenet.ui.checkpoint_library import load_checkpoint
from wavenet.ui.hub_download import ALLOW_IMPORT
from wavenet.ui.models_tab import (
    IMPORT_DISABLED,
    NO_CARD,
    describe_values,
    import_archive,
    pack_model,
    show_model,
)
from wavenet.ui.studio_app import build_studio

from .conftest import RATE, save_checkpoint

CARD = "---\nlicense: cc0-1.0\n---\n# Notes <img src=x onerror=alert(1)>\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of checkpoints that a test may change."""
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
    monkeypatch.delenv(ALLOW_IMPORT, raising=False)


def test_checkpoint_is_shown_with_facts_and_card(folder: Path) -> None:
    facts, card = show_model(folder, "digits")
    for text in ("cc0-1.0", "8,000 Hz", "32 samples", "4.0 ms", "Condition: digit", "0, 1"):
        assert text in facts
    model = load_checkpoint(folder, "digits").model
    assert f"{model.parameter_count:,}" in facts
    assert "<h3>Notes &lt;img" in card
    (folder / "digits" / "README.md").unlink()
    facts, card = show_model(folder, "digits")
    assert "not stated" in facts
    assert card == NO_CARD


def test_values_of_every_kind_of_condition_are_described() -> None:
    from tests.conftest import tiny_config
    from wavenet.model.conditions import LabelCondition

    config = tiny_config(conditions="all")
    assert [describe_values(condition) for condition in config.conditions] == [
        "3 numbers per frame",
        "a, b, c",
        "-40 to 0 dB",
        "4 numbers",
        "2 numbers per frame",
        "computed from the position in the clip",
    ]
    many = LabelCondition(name="word", values=tuple(str(n) for n in range(1234)))
    assert describe_values(many).endswith("19, and 1,214 more")


@pytest.mark.parametrize("name", [None, "none", "../all/digits", ""])
def test_missing_checkpoint_is_an_error_without_server_paths(
    folder: Path, name: str | None
) -> None:
    facts, card = show_model(folder, name)
    assert "role='alert'" in facts
    assert str(folder) not in facts
    assert card == ""
    with pytest.raises(gr.Error):
        next(pack_model(folder, name))


def test_damaged_card_is_an_error(folder: Path) -> None:
    (folder / "digits" / "README.md").write_bytes(b"\xff")
    facts, _ = show_model(folder, "digits")
    assert "role='alert'" in facts and "README.md" in facts
    assert str(folder) not in facts


def test_download_can_be_imported_again(folder: Path, tmp_path: Path) -> None:
    (folder / "digits" / "private.txt").write_text("must not be packed")
    packed = pack_model(folder, "digits")
    path = Path(next(packed))
    with zipfile.ZipFile(path) as file:
        names = ["digits/config.json", "digits/model.safetensors", "digits/README.md"]
        assert file.namelist() == names
    (tmp_path / "other").mkdir()
    _, message, choices = import_archive(tmp_path / "other", str(path))
    assert "role='status'" in message
    assert (choices["choices"], choices["value"]) == (["digits"], "digits")
    assert list(packed) == []
    assert not path.exists(), "the temporary file was not deleted"


def test_imported_checkpoint_is_in_all_dropdowns_after_reload(folder: Path, brass: Path) -> None:
    page = build_studio(folder)
    dropdowns = {
        block._id: str(block.elem_id)
        for block in page.blocks.values()
        if isinstance(block, gr.Dropdown) and "digits" in str(block.choices)
    }
    assert {"checkpoint", "score-checkpoint", "preset", "model-choice"} <= set(dropdowns.values())
    import_archive(folder, str(brass))
    for load in page.fns.values():
        if (page._id, "load") in load.targets and not load.inputs and load.outputs:
            for block, update in zip(load.outputs, as_list(call(load.fn)), strict=True):
                if isinstance(update, dict) and "brass" in str(update.get("choices")):
                    dropdowns.pop(block._id, None)
    assert dropdowns == {}


def call(fn: Any) -> Any:
    """Call a callback of a page load, with a request if it needs one."""
    try:
        return fn()
    except TypeError:
        return fn(gr.Request(query_params=QueryParams("")))


def as_list(result: Any) -> list[Any]:
    return list(result) if isinstance(result, list | tuple) else [result]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no zip", "zip"), (None, "brass")],
)
def test_invalid_archive_is_an_error(
    folder: Path, brass: Path, content: bytes | None, words: str
) -> None:
    if content is not None:
        brass.write_bytes(content)
    else:
        shutil.copytree(folder / "digits", folder / "brass")
    upload, message, choices = import_archive(folder, str(brass))
    assert upload is None
    assert "role='alert'" in message
    assert words in message
    assert str(folder) not in message
    assert choices == gr.skip()


def test_names_in_an_archive_are_escaped(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("<img src=x onerror=alert(1)>", b"")
    message = import_archive(folder, str(path))[1]
    assert "&lt;img" in message
    assert "<img" not in message


def test_space_imports_only_if_allowed(
    folder: Path, brass: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def has_upload() -> bool:
        blocks = build_studio(folder).blocks.values()
        return any(block.elem_id == "model-upload" for block in blocks)

    assert has_upload()
    monkeypatch.setenv("SPACE_ID", "me/studio")
    assert not has_upload()
    assert import_archive(folder, str(brass))[1] == IMPORT_DISABLED
    assert not (folder / "brass").exists()
    monkeypatch.setenv(ALLOW_IMPORT, "1")
    assert has_upload()
    import_archive(folder, str(brass))
    assert (folder / "brass").exists()
    assert import_archive(folder, None)[1] == ""
