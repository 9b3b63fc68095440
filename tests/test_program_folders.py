"""The folders of an installed package: its checkpoints are found, and nothing is written there."""

from pathlib import Path

import pytest

from wavenet import program_folders
from wavenet.checkpoint_folders import (
    default_root,
    list_in_studio,
    list_known,
    resolve_checkpoint,
)
from wavenet.engines.cpu import jit
from wavenet.errors import ConditionError
from wavenet.sharing.install import check_name_is_free
from wavenet.sharing.local_models import delete_model, mark_added, rename_model
from wavenet.sharing.run_checkpoint import copy_run_checkpoint, listed_name
from wavenet.ui.checkpoint_library import list_checkpoints, load_checkpoint
from wavenet.ui.models.model_shelf import shelf_html
from wavenet.user_input.user_folders import checkpoints_folder

from .ui.conftest import RATE, save_checkpoint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package with one checkpoint, used from an empty folder by a new user."""
    package = tmp_path / "site/wavenet"
    save_checkpoint(package / "checkpoints", "digits", RATE, {"digit": ("0", "1")})
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(program_folders, "_PACKAGE", package)
    return package


@pytest.mark.parametrize("name", ["digits", "checkpoints/digits"])
def test_a_checkpoint_of_the_package_is_found_from_any_folder(package: Path, name: str) -> None:
    assert resolve_checkpoint(name) == package / "checkpoints/digits"
    assert list(list_known()) == ["digits"]


def test_the_studio_reads_the_package_and_adds_models_to_the_folder_of_the_user(
    package: Path,
) -> None:
    root = default_root()
    assert root == checkpoints_folder()
    assert list_checkpoints(root) == ["digits"]
    save_checkpoint(root, "brass", RATE, {"digit": ("0", "1")})
    assert list_in_studio(root) == {
        "brass": root / "brass",
        "digits": package / "checkpoints/digits",
    }
    assert list_known() == list_in_studio(root)


def test_models_of_the_working_folder_come_before_those_of_the_package(package: Path) -> None:
    save_checkpoint(Path("checkpoints"), "digits", RATE, {"digit": ("0", "1")})
    root = default_root()
    assert root == Path("checkpoints").absolute()
    assert list_in_studio(root)["digits"] == root / "digits"


def test_a_new_model_cannot_have_the_name_of_a_shipped_one(package: Path) -> None:
    root = default_root()
    with pytest.raises(ConditionError, match="exists already"):
        check_name_is_free(root, "Digits")
    save_checkpoint(Path("runs/digits"), "checkpoint", RATE, {"digit": ("0", "2")})
    with pytest.raises(ConditionError, match="not from this run"):
        copy_run_checkpoint(Path("runs/digits"), root)
    assert not root.exists()


def test_a_checkpoint_of_the_package_cannot_be_deleted(package: Path) -> None:
    with pytest.raises(ConditionError, match="was not trained or imported in this studio"):
        delete_model(default_root(), "digits")
    assert (package / "checkpoints/digits/config.json").is_file()


def test_a_model_that_a_studio_added_to_another_folder_is_listed_and_stays(package: Path) -> None:
    own = default_root()
    save_checkpoint(own, "brass", RATE, {"digit": ("0", "1")})
    mark_added(own / "brass")
    Path("checkpoints").mkdir()
    root = default_root()
    assert root == Path("checkpoints").absolute()
    assert list_checkpoints(root) == ["digits", "brass"]
    assert load_checkpoint(root, "digits").folder == package / "checkpoints/digits"
    assert shelf_html(root, True).count('data-action="delete"') == 0
    assert shelf_html(own, True).count('data-action="delete"') == 1
    for change in (delete_model, lambda *given: rename_model(*given, "horn")):
        with pytest.raises(ConditionError, match="was not trained or imported in this studio"):
            change(root, "brass")
    assert list_in_studio(root)["brass"] == own / "brass"


def test_a_checkpoint_of_a_run_is_found_in_all_listed_folders(package: Path) -> None:
    own, run = default_root(), Path("runs/brass")
    save_checkpoint(run, "checkpoint", RATE, {"digit": ("0", "1")})
    assert copy_run_checkpoint(run, own)
    Path("checkpoints").mkdir()
    assert listed_name(run, default_root()) == "brass"


def test_compiled_code_is_stored_in_the_cache_of_the_user(
    package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert jit.kernels_folder().parent == tmp_path / "cache/wavenet-studio"
