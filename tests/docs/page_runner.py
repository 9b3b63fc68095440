"""Run the code blocks of a page in one folder and compare their output with the page.

    ```python            runs in the namespace of the page
    ```output            the output of the Python block before it
    ```console           lines `$ COMMAND`, each followed by its output
    ```console exit=3    the exit code of the last command is 3; that of the others is 0
    ```output exact      (or `console exact`) numbers, paths and spaces must be equal too

Commands of wavenet run in this process; other commands, and those with pipes or redirections, run
in a shell. A page with the mark `<!-- with a studio -->` runs beside a studio of its own, whose
address replaces STUDIO in all blocks. Called by the tests.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.docs.fenced_blocks import Block, needs_studio, read_blocks
from tests.docs.shown_output import clean_output, find_difference
from tests.ui.studio_process import studio_process
from wavenet.cli.main import run

ROOT = Path(__file__).parents[2]
# Shown in pages instead of the folders of this machine.
HOME = "/home/me"
USER_FOLDERS = {"XDG_DATA_HOME": ".local/share", "XDG_CONFIG_HOME": ".config"}
STUDIO = "http://127.0.0.1:7860"  # as a page shows it
RUN = ("python", "console", "output")
SHELL = re.compile(r"[|<>;&$`]")


class PageError(AssertionError):
    """A block failed, or its output is not the output of the page."""


@dataclass
class PageRun:
    """The state of a page that runs.

    Attributes:
        folder: in which all blocks run; the caller makes it the working folder.
        rewrite: collect new contents instead of raising an error for an unexpected output.
        contents: those new contents, by the line of the block.
        printed: by the last Python block.
        last: the last block that was run.
        studio: address of the studio that runs for this page.
    """

    folder: Path
    rewrite: bool = False
    namespace: dict[str, Any] = field(default_factory=lambda: {"__name__": "__page__"})
    contents: dict[int, str] = field(default_factory=dict)
    printed: str = ""
    last: Block | None = None
    studio: str = STUDIO

    def clean(self, text: str) -> str:
        """Return output with the folders that a page shows."""
        folders = {str(self.folder): f"{HOME}/audio", str(ROOT): f"{HOME}/wavenet-studio"}
        for name, shown in USER_FOLDERS.items():
            if name in os.environ:
                folders[os.environ[name]] = f"{HOME}/{shown}"
        return clean_output(text.replace(self.studio, STUDIO), folders)

    def with_address(self, text: str) -> str:
        """Return code with the address of the studio."""
        return text.replace(STUDIO, self.studio)


def run_page(text: str, folder: Path, rewrite: bool = False) -> dict[int, str]:
    """Run all blocks of a page.

    Args:
        text: of the page.
        folder: working folder, empty.
        rewrite: do not raise an error for an unexpected output.
    Returns:
        the contents of the blocks whose output is unexpected, as they should be, by their line;
        empty without `rewrite`.
    Raises:
        PageError: with the line of the block.
    """
    page = PageRun(folder, rewrite)
    with start_studio(text) as page.studio:
        for block in read_blocks(text):
            if block.language in RUN and block.not_run is None:
                _RUNNERS[block.language](page, block)
                page.last = block
    return page.contents


@contextmanager
def start_studio(text: str) -> Iterator[str]:
    """Run a studio if a page needs one, in a folder of its own.

    Yields:
        its address, or STUDIO if the page needs none.
    """
    if not needs_studio(text):
        yield STUDIO
        return
    with tempfile.TemporaryDirectory() as folder, studio_process(Path(folder)) as address:
        yield address


def _run_python(page: PageRun, block: Block) -> None:
    # empty lines before the code, so that a traceback has the line of the page
    code = compile("\n" * block.line + page.with_address(block.text), "page", "exec")
    with capture_output() as read:
        try:
            exec(code, page.namespace)
        except Exception as error:
            raise PageError(f"line {block.line}: {type(error).__name__}: {error}") from error
        finally:
            page.printed = page.clean(read())


def _check_output(page: PageRun, block: Block) -> None:
    if page.last is None or page.last.language != "python":
        raise PageError(f"line {block.line}: no Python block before this output was run")
    difference = find_difference(block.text, page.printed, "exact" in block.options)
    if difference and not page.rewrite:
        raise PageError(f"line {block.line}:\n{difference}")
    if difference:
        page.contents[block.line] = page.printed


def _run_console(page: PageRun, block: Block) -> None:
    commands = split_commands(block)
    codes = [int(o.removeprefix("exit=")) for o in block.options if o.startswith("exit=")]
    lines, is_as_shown = [], True
    for number, (command, shown) in enumerate(commands, start=1):
        code, printed = run_command(page.with_address(command.replace("\\\n", " ")), page.folder)
        found = page.clean(printed)
        expected = codes[0] if codes and number == len(commands) else 0
        if code != expected:
            raise PageError(f"line {block.line}: `{command}`: exit code {code}\n{found}")
        difference = find_difference(shown, found, "exact" in block.options)
        if difference and not page.rewrite:
            raise PageError(f"line {block.line}: `{command}`:\n{difference}")
        is_as_shown &= not difference
        continued = command.replace("\n", "\n> ")
        lines.append(f"$ {continued}\n" + (found if difference else shown))
    if not is_as_shown:
        page.contents[block.line] = "".join(lines)


_RUNNERS = {"python": _run_python, "output": _check_output, "console": _run_console}


def split_commands(block: Block) -> list[tuple[str, str]]:
    """Return each command of a console block with the output below it.

    A command that ends in a backslash continues on the next line, after `> `.

    Raises:
        PageError: the block begins with something else.
    """
    commands: list[tuple[str, str]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            commands.append((line[2:], ""))
        elif not commands:
            raise PageError(f"line {block.line}: a console block begins with `$ COMMAND`")
        else:
            command, shown = commands[-1]
            if command.endswith("\\") and not shown:
                commands[-1] = (f"{command}\n{line.removeprefix('> ')}", "")
            else:
                commands[-1] = (command, f"{shown}{line}\n")
    return commands


def run_command(command: str, folder: Path) -> tuple[int, str]:
    """Run a command; return its exit code, and its stdout and stderr together."""
    if command.startswith("wavenet ") and not SHELL.search(command):
        with capture_output() as read:
            code = run(shlex.split(command)[1:])
            return code, read()
    programs = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
    )
    return done.returncode, done.stdout


@contextmanager
def capture_output() -> Iterator[Any]:
    """Capture stdout and stderr of this process and of its children, in their order.

    Yields:
        a function that returns the output so far.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", buffering=1) as file:

        def read() -> str:
            file.flush()
            file.seek(0)
            text = file.read()
            file.seek(0, os.SEEK_END)
            return text

        saved = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(file.fileno(), number)
            with redirect_stdout(file), redirect_stderr(file):
                yield read
        finally:
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
