"""~ in paths that no shell has expanded."""

from pathlib import Path

import pytest

from wavenet.cli.main import expand_home_arguments
from wavenet.user_input.user_paths import expand_home


@pytest.fixture(autouse=True)
def home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")


@pytest.mark.parametrize(
    "text, path",
    [
        ("~", "/home/ada"),
        ("~/a b.toml", "/home/ada/a b.toml"),
        ("~no-such-user/x", "~no-such-user/x"),
        ("a/~/x", "a/~/x"),
        ("/x", "/x"),
    ],
)
def test_a_leading_tilde_is_the_home_folder(text, path):
    assert expand_home(text) == Path(path)


@pytest.mark.parametrize(
    "argument, expanded",
    [
        ("--data=~/x", "--data=/home/ada/x"),
        ("--out=~", "--out=/home/ada"),
        ("~/x.wav", "/home/ada/x.wav"),
        ("--set=speaker=~/x", "--set=speaker=~/x"),  # a label, not a path
        ("~x", "~x"),
        ("--pattern={a}~/{b}", "--pattern={a}~/{b}"),
        ("", ""),
    ],
)
def test_the_home_folder_is_expanded_in_arguments(argument, expanded):
    assert expand_home_arguments([argument]) == [expanded]
