"""The help text of every command, compared with the files in tests/golden/help.

After an intended change, `make golden` writes the files again; review them before the commit.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from wavenet.cli.main import app

FOLDER = Path(__file__).parents[1] / "golden" / "help"
WIDTH = 100  # columns
REWRITE = bool(os.environ.get("REWRITE_GOLDEN"))


def walk(command: Any, names: tuple[str, ...] = ("wavenet",)) -> Iterator[tuple[str, Any]]:
    """Yield every command and group of a command tree, with its full name."""
    yield " ".join(names), command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*names, name))


COMMANDS = dict(walk(typer.main.get_command(app)))


def golden_file(name: str) -> Path:
    """Return the file of a command: `wavenet data report` is in data-report.txt."""
    return FOLDER / f"{'-'.join(name.split()[1:]) or 'wavenet'}.txt"


def render_help(name: str) -> str:
    """Render the help of a command as plain text, at a fixed width and without colours."""
    command = COMMANDS[name]
    command.rich_markup_mode = None
    settings = COMMANDS["wavenet"].context_settings  # which all commands inherit
    context = command.context_class(command, info_name=name, terminal_width=WIDTH, **settings)
    text = command.get_help(context)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE).rstrip() + "\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_equals_its_golden_file(name):
    text, path = render_help(name), golden_file(name)
    if REWRITE:
        path.write_text(text, encoding="utf-8")
    assert path.is_file(), "run `make golden`"
    assert text == path.read_text(encoding="utf-8"), "run `make golden` if the change is intended"


def test_every_golden_file_belongs_to_a_command():
    assert {path.name for path in FOLDER.iterdir()} == {golden_file(n).name for n in COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name):
    command = COMMANDS[name]
    assert command.help
    parameters = [p for p in command.params if p.name != "help"]
    options = [o for p in parameters for o in (*p.opts, *p.secondary_opts)]
    assert len(options) == len(set(options))
    assert [p.name for p in parameters if not getattr(p, "help", None)] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_short_forms_are_the_same_in_every_command(name):
    """Those of the README: a command that has the long option has the short one."""
    short = {"--checkpoint": "-c", "--set": "-s", "--seconds": "-t", "--count": "-n"}
    short |= {"--out": "-o", "--out-dir": "-o", "--quiet": "-q", "--port": "-p"}
    for option in COMMANDS[name].params:
        for long in set(option.opts) & set(short):
            assert short[long] in option.opts, f"{name} {long}"
