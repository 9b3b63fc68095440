"""Renaming and deleting the checkpoints that the studio has added."""

import multiprocessing
import shutil
from pathlib import Path

import pytest

from tests.speech.tiny_voice import save_voice
from tests.ui.conftest import RATE, save_checkpoint
from wavenet.checkpoint import load
from wavenet.errors import ConditionError, FolderInUse
from wavenet.folder_lock import lock_folder
from wavenet.sharing.local_models import (
    check_model_name,
    delete_model,
    is_added,
    mark_added,
    rename_model,
)
from wavenet.speech.voice_folder import load_voice


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a checkpoint that belongs to the program, and one that was added."""
    for name in ("digits", "brass"):
        save_checkpoint(tmp_path, name, RATE, {"word": ("a", "b")})
    mark_added(tmp_path / "brass")
    return tmp_path


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


def test_an_added_model_is_renamed_with_its_config(root: Path) -> None:
    before = load(root / "brass")
    assert rename_model(root, "brass", " horn ") == "horn"
    assert names(root) == ["digits", "horn"]
    after = load(root / "horn")
    assert after.config.name == "horn"
    assert after.config.model == before.config.model
    assert is_added(root, root / "horn")


def test_an_added_model_is_deleted_completely(root: Path) -> None:
    delete_model(root, "brass")
    assert names(root) == ["digits"]


@pytest.mark.parametrize("name", ["digits", "none", "../brass", ".", ""])
def test_other_models_stay(root: Path, name: str) -> None:
    for change in (lambda: delete_model(root, name), lambda: rename_model(root, name, "new")):
        with pytest.raises(ConditionError):
            change()
    assert names(root) == ["brass", "digits"]


@pytest.mark.parametrize("name", [None, "", "digits", "Digits", "a/b", "..", "1st", "x" * 65])
def test_a_new_name_must_be_valid_and_free(root: Path, name: str | None) -> None:
    with pytest.raises(ConditionError):
        check_model_name(root, name)
    with pytest.raises(ConditionError):
        rename_model(root, "brass", name)
    assert names(root) == ["brass", "digits"]
    assert load(root / "brass").config.name == "brass"


def test_a_link_to_a_model_is_not_an_added_one(root: Path) -> None:
    (root / "link").symlink_to(root / "brass")
    with pytest.raises(ConditionError, match="stays"):
        delete_model(root, "link")
    assert is_added(root, root / "brass")


def test_a_folder_with_other_files_is_not_deleted(root: Path) -> None:
    (root / "brass" / "my_notes.txt").touch()
    with pytest.raises(ConditionError, match=r"contains my_notes\.txt"):
        delete_model(root, "brass")
    assert load(root / "brass").config.name == "brass"


def test_a_voice_is_renamed_and_deleted(
    root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shutil.copytree(save_voice(tmp_path_factory.mktemp("voice") / "tiny"), root / "tiny")
    mark_added(root / "tiny")
    before = load_voice(root / "tiny").acoustic.config
    rename_model(root, "tiny", "anna")
    after = load_voice(root / "anna").acoustic.config
    assert after == before.model_copy(update={"name": "anna"})
    assert load(root / "anna").config.name == "vocoder"
    (root / "anna" / "vocoder" / "my_notes.txt").touch()
    with pytest.raises(ConditionError, match=r"contains vocoder/my_notes\.txt"):
        delete_model(root, "anna")
    (root / "anna" / "vocoder" / "my_notes.txt").unlink()
    delete_model(root, "anna")
    assert names(root) == ["brass", "digits"]


@pytest.mark.parametrize("part", [pytest.param("", marks=pytest.mark.slow), "brass"])
def test_a_model_in_use_is_not_changed(root: Path, part: str) -> None:
    """A training that writes into the folder, or another change, has locked it."""
    context = multiprocessing.get_context("spawn")
    locked, end = context.Event(), context.Event()
    process = context.Process(target=hold_lock, args=(root / part, locked, end))
    process.start()
    try:
        assert locked.wait(60)
        with pytest.raises(FolderInUse):
            delete_model(root, "brass")
        with pytest.raises(FolderInUse):
            rename_model(root, "brass", "horn")
    finally:
        end.set()
        process.join()
    delete_model(root, "brass")
    assert names(root) == ["digits"]


def hold_lock(folder: Path, locked: object, end: object) -> None:
    with lock_folder(folder):
        locked.set()  # type: ignore[attr-defined]
        end.wait(60)  # type: ignore[attr-defined]
