"""Checkpoints by path and by name, from any folder."""

import os
import sys
from pathlib import Path

import pytest

from wavenet import checkpoint
from wavenet.checkpoint_folders import (
    default_root,
    list_in_studio,
    list_known,
    list_members,
    resolve_checkpoint,
    studio_name,
)
from wavenet.errors import CheckpointError
from wavenet.user_input.user_folders import checkpoints_folder, settings_file

SHIPPED = Path(__file__).parents[1] / "checkpoints"


def make_folder(path, config=True):
    path.mkdir(parents=True)
    if config:
        (path / "config.json").write_text("{}")
    return path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, as a user without checkpoints."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_a_member_of_the_comparison_has_a_name():
    assert resolve_checkpoint("compare/gru") == SHIPPED / "compare" / "gru"
    assert resolve_checkpoint("compare/none") == Path("compare/none")


@pytest.mark.parametrize("name", ["checkpoints/digits", "digits", "digits/", SHIPPED / "digits"])
def test_a_shipped_checkpoint_is_found_from_any_folder(name):
    assert resolve_checkpoint(name) == SHIPPED / "digits"


def test_own_folders_come_before_the_shipped_ones():
    make_folder(Path("checkpoints/digits"))
    assert resolve_checkpoint("digits") == Path("checkpoints/digits")
    make_folder(Path("digits"))
    assert resolve_checkpoint("digits") == Path("digits")
    assert resolve_checkpoint("strings") == SHIPPED / "strings"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_the_folder_of_the_user_comes_last(tmp_path):
    own = tmp_path / "data/wavenet-studio/checkpoints"
    for name in ("digits", "mine"):
        make_folder(own / name)
    assert resolve_checkpoint("digits") == SHIPPED / "digits"
    assert resolve_checkpoint("mine") == own / "mine"
    make_folder(Path("checkpoints/strings"))
    expected = {"digits": SHIPPED / "digits", "kathleen": SHIPPED / "kathleen"}
    expected |= {"mine": own / "mine"}
    expected |= {"strings": Path("checkpoints/strings"), "vocoder": SHIPPED / "vocoder"}
    assert list(list_known().items()) == list(expected.items())


def test_without_a_home_folder_only_the_others_are_searched(monkeypatch):
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    assert (checkpoints_folder(), settings_file()) == (None, None)
    assert resolve_checkpoint("digits") == SHIPPED / "digits"
    assert list(list_known()) == ["digits", "kathleen", "strings", "vocoder"]


def test_a_folder_of_recordings_does_not_hide_a_checkpoint_of_its_name():
    make_folder(Path("digits"), config=False)
    assert resolve_checkpoint("digits") == SHIPPED / "digits"
    # a path means exactly that folder, also if it is damaged
    make_folder(Path("checkpoints/digits"), config=False)
    assert resolve_checkpoint("checkpoints/digits") == Path("checkpoints/digits")


def test_a_path_may_be_relative_to_a_base_folder_and_to_the_home_folder(tmp_path, monkeypatch):
    make_folder(tmp_path / "models/a")
    assert resolve_checkpoint("models/a", tmp_path) == tmp_path / "models/a"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_checkpoint("~/models/a") == tmp_path / "models/a"


UNKNOWN = ["none", "a/none", "x" * 5000, "\udcff", "a\0b", "~no one/x", ".."]


@pytest.mark.parametrize("name", UNKNOWN, ids=[*"abcdefg"])
def test_an_unknown_checkpoint_is_the_given_path(name):
    assert resolve_checkpoint(name) == Path(name)
    with pytest.raises(CheckpointError):
        checkpoint.load(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("digit", "one of digits, kathleen, strings, vocoder; did you mean digits?"),
        ("checkpoints/Vocodr", "did you mean vocoder?"),
        ("quite/other/name", "one of digits, kathleen, strings, vocoder"),
    ],
)
def test_the_error_names_the_known_checkpoints(name, words):
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(name)
    assert str(error.value).endswith(words)


def test_the_error_names_the_checkpoint_inside_a_run():
    make_folder(Path("runs/a/checkpoint"))
    with pytest.raises(CheckpointError, match=r"its checkpoint is runs/a/checkpoint$"):
        checkpoint.load("runs/a")


def test_the_studio_uses_the_same_folders(tmp_path):
    assert default_root() == SHIPPED
    (tmp_path / "work/checkpoints").mkdir()
    assert default_root() == tmp_path / "work/checkpoints"


@pytest.mark.parametrize("has_working_folder", [True, False])
def test_the_studio_lists_the_models_of_the_command_line(has_working_folder):
    own = checkpoints_folder()
    for name in ("digits", "mine"):
        make_folder(own / name)
    if has_working_folder:
        make_folder(Path("checkpoints/strings"))
    root = default_root()
    assert root == (Path("checkpoints").absolute() if has_working_folder else SHIPPED)
    expected = {name: path.absolute() for name, path in list_known().items()}
    assert list_in_studio(root) == expected
    assert list(expected) == ["digits", "kathleen", "mine", "strings", "vocoder"]


def test_a_studio_with_another_folder_lists_only_its_models(tmp_path):
    make_folder(Path("checkpoints/strings"))
    make_folder(tmp_path / "others/brass")
    assert list_in_studio(tmp_path / "others") == {"brass": tmp_path / "others/brass"}


def test_members_of_a_comparison_are_named_by_their_folder(tmp_path):
    """They are not among the other models."""
    gru = make_folder(tmp_path / "others/compare/gru")
    brass = make_folder(tmp_path / "others/brass")
    assert list_in_studio(tmp_path / "others") == {"brass": brass}
    assert list_members(tmp_path / "others") == {"compare/gru": gru}
    assert [studio_name(path) for path in (gru, brass)] == ["compare/gru", "brass"]
    shipped = list_members(SHIPPED)
    assert shipped["compare/transformer"] == SHIPPED / "compare/transformer"
    own = make_folder(Path("checkpoints/compare/gru")).absolute()
    assert list_members(Path("checkpoints").absolute()) == shipped | {"compare/gru": own}


def test_the_shipped_checkpoints_are_found_from_a_deleted_folder(tmp_path):
    (tmp_path / "gone").mkdir()
    os.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert resolve_checkpoint("digits") == SHIPPED / "digits"
    assert default_root() == SHIPPED
    assert list(list_in_studio(SHIPPED)) == ["digits", "kathleen", "strings", "vocoder"]
