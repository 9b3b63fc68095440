"""The text of a command: an argument, a file, or stdin; and the user's own pronunciations.

Input: options of the command line. Output: the text in parts, and pronunciations by word. Called by
`phones_command`, `speak_command` and `data_align_command`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from wavenet.errors import ConditionError, ConfigError, DataError

_BLOCK = 50_000  # characters that are read at once

TextArgument = Annotated[
    str | None, typer.Argument(help="English text in quotes; - is stdin.", show_default=False)
]
TextFileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", help="Read the text from a file in UTF-8; - is stdin."),
]
PronunciationsOption = Annotated[
    Path | None,
    typer.Option(
        "--pronunciations",
        help="A file with a word and its phones per line, such as GIF JH IH1 F.",
    ),
]


def choose_text(text: str | None, file: Path | None) -> Path | None:
    """Return the file to read, "-" for stdin; None if the text itself is given.

    Raises:
        ConfigError: there is no text, or there are two.
    """
    if (text is None) == (file is None):
        found = "nothing" if text is None else "both"
        raise ConfigError(f"expected a text in quotes or --file, found {found}; - is stdin")
    return Path("-") if text == "-" else file


@contextmanager
def open_text(path: Path | None) -> Iterator[Iterator[str]]:
    """Yield the parts of a file, or of stdin for "-"; no parts without a path.

    Raises:
        DataError: the file cannot be read, or is not UTF-8.
    """
    if path is None:
        yield iter(())
        return
    name = "stdin" if str(path) == "-" else str(path)
    if name == "stdin" and sys.stdin is None:
        raise DataError("stdin is closed; write the text in quotes, or name a file with --file")
    with _open(path, name) as file:
        yield _read_parts(file, name)


def _open(path: Path, name: str) -> BinaryIO:
    with _reading(name):
        if name == "stdin":
            return open(sys.stdin.fileno(), "rb", closefd=False)
        return open(path, "rb")


def _read_parts(file: BinaryIO, name: str) -> Iterator[str]:
    """Yield lines; a longer one in parts."""
    # newline="" keeps line ends, so that the places of words are those of the file
    with TextIOWrapper(file, encoding="utf-8-sig", newline="") as lines:
        while True:
            with _reading(name):
                part = lines.readline(_BLOCK)
            if not part:
                return
            yield part


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Convert the errors of reading, and no others, to a `DataError`."""
    try:
        yield
    except UnicodeDecodeError:
        raise DataError(f"{name} is not text in UTF-8; save it as UTF-8") from None
    except OSError as error:
        from audio_utils.atomic_files import os_error_reason

        raise DataError(f"{name} cannot be read: {os_error_reason(error)}") from None


def read_pronunciations(path: Path) -> dict[str, str]:
    """Return the words of a file and their phones.

    Args:
        path: of a file in UTF-8, with a word, a space and its phones per line; lines that begin
            with # and empty lines are left out.
    Raises:
        DataError: the file cannot be read, or is not UTF-8.
        ConditionError: a line has no phones, or an unknown one.
    """
    from wavenet.speech.pronunciation import check_pronunciations

    found: dict[str, str] = {}
    with open_text(path) as parts:
        for number, line in enumerate(parts, 1):
            word, _, symbols = line.strip().partition(" ")
            if not word or word.startswith("#"):
                continue
            try:
                check_pronunciations({word: symbols})
            except ConditionError as error:
                raise ConditionError(f"{path}, line {number}: {error}") from None
            found[word] = symbols
    return found
