"""Commands in blocks that no test runs: the command and its options exist.

Such blocks have no language or `text`; they are for commands that need recordings or a GPU.
"""

import shlex
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.fenced_blocks import read_blocks
from tests.docs.test_links import FILES, ROOT
from wavenet.cli.main import app

PREFIXES = ("wavenet ", "$ wavenet ", "python -m wavenet ", "torchrun ")
OPERATORS = {"|", "&&", "||", ";", "&", ">", ">>", "<"}  # of a shell
COMMANDS = typer.main.get_command(app)


def shown_commands(text: str) -> Iterator[str]:
    """Yield the commands of wavenet in blocks that are not run, without comments."""
    for block in read_blocks(text):
        if block.language in ("", "text") or block.not_run:
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith(PREFIXES):
                    yield line.partition(" # ")[0]


def find_problem(line: str) -> str | None:
    """Return the unknown command or option of a line, or None."""
    words = list(takewhile(lambda word: word not in OPERATORS, shlex.split(line)))
    words = words[words.index("wavenet") + 1 :] if "wavenet" in words else []
    command: Any = COMMANDS
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return words[0]
        command = command.commands[words.pop(0)]
    known = {"-h", "--help", "-"}
    for parameter in command.params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    options = [word.partition("=")[0] for word in words if word.startswith("-")]
    return next((o for o in options if o not in known and not o[1:].isdigit()), None)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_of_pages_have_known_options(path: Path):
    lines = list(shown_commands(path.read_text(encoding="utf-8")))
    assert {line: found for line in lines if (found := find_problem(line))} == {}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```\nwavenet generate --seed -1 -s digit=7  # --wrong\n```\n", None),
        ("```\nwavenet models --json | sort -r\n```\n", None),
        ("```text\nwavenet generate --sed 1\n```\n", "--sed"),
        ("```\ntorchrun --nproc-per-node 2 -m wavenet train x \\\n  --wrong\n```\n", "--wrong"),
        ("```\nwavenet evaluate digit x\n```\n", "digit"),
        ("<!-- not run: GPU -->\n```console\n$ wavenet wrong\n```\n", "wrong"),
    ],
)
def test_an_unknown_command_or_option_is_found(text, problem):
    (line,) = shown_commands(text)
    assert find_problem(line) == problem
