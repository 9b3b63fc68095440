"""Print lines to stdout and stderr; all code of the package that prints uses this module.

A label, a file name or a message can come from a file of another person. If it were printed
unchanged, a control character could control the terminal, and a line end could forge a line. Input:
text, or a document. Output: one line, in which such characters are escapes: ESC is printed as
\\x1b. Called by the command line and by all code that prints.
"""

import json
import logging
import re
import sys
import traceback
import unicodedata
import warnings
from contextlib import suppress
from types import TracebackType
from typing import Any

# Control, format, surrogate, line separator and paragraph separator: all are invisible, and some
# (ESC, line ends, bidirectional overrides) change how the other text is displayed.
_ESCAPED_CATEGORIES = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# The joiners are format characters too, but several scripts need them to spell words.
_JOINERS = "\u200c\u200d"
SHOWN_LENGTH = 80  # characters of a long value
MAX_MESSAGE_LENGTH = 3000  # characters
# In quotes, as by repr, or without spaces and slashes. An apostrophe within a word opens no quotes.
_LONG_VALUE = re.compile(
    r"""(?<!\w)(?:(')(?:[^'\\]|\\.){201,}'|(")(?:[^"\\]|\\.){201,}")|[^\s/'"]{256,}""", re.DOTALL
)


def escape_controls(text: str) -> str:
    """Return a text in one line, with control characters and lone surrogates as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c.encode("unicode_escape").decode()
        if unicodedata.category(c) in _ESCAPED_CATEGORIES and c not in _JOINERS
        else c
        for c in text
    )


def shorten_values(text: str) -> str:
    """Return a message with every long value shortened to `SHOWN_LENGTH`, its length behind it.

    A value is long if it is in quotes and has more than 200 characters, or if it is a word that no
    file system allows as a name. Of any other long text, the beginning and the end are kept.
    """
    if len(text) > 200:
        text = _LONG_VALUE.sub(_shorten_match, text)
    if len(text) <= MAX_MESSAGE_LENGTH:
        return text
    half = MAX_MESSAGE_LENGTH // 2
    return f"{text[:half]}.. ({len(text) - 2 * half:,} more characters) ..{text[-half:]}"


def _shorten_match(match: re.Match[str]) -> str:
    quote = match[1] or match[2] or ""
    value = match[0].strip(quote) if quote else match[0]
    return f"{quote}{value[:SHOWN_LENGTH]}..{quote} ({len(value):,} characters)"


def print_line(*cells: object) -> None:
    """Print one line of data on stdout; several cells are separated by tabs."""
    print("\t".join(escape_controls(str(cell)) for cell in cells), flush=True)


def print_json(document: Any) -> None:
    """Print a document as one line of JSON on stdout, in ASCII.

    A byte of a file name that is not UTF-8 is a lone surrogate, as Python reads it: "\\udcff".
    """
    print(json.dumps(document), flush=True)


def print_message(text: object) -> None:
    """Print a message for the user, one line, on stderr; do nothing if stderr cannot be written.

    Long values are shortened.
    """
    if sys.stderr is not None:
        with suppress(OSError):
            print(escape_controls(shorten_values(str(text))), file=sys.stderr, flush=True)


def print_over_line(text: str) -> None:
    """Print text over the current line of a terminal, on stderr; the empty text ends the line."""
    line = f"\r{escape_controls(text)} " if text else "\n"
    print(line, end="", file=sys.stderr, flush=True)


def print_above_bar(console: Any, text: str) -> None:
    """Print a message, one line, above the progress bar of a rich console."""
    console.print(escape_controls(text), highlight=False, soft_wrap=True, markup=False)


def protect_streams() -> None:
    """Make stdout accept any text; escape warnings, log messages and tracebacks, too."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # Otherwise a letter that the locale cannot encode ends the command.
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    warnings.formatwarning = _format_warning
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_EscapingFormatter())
    sys.excepthook = _print_traceback


class _EscapingFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return escape_controls(super().format(record))


def _format_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: Any = None
) -> str:
    return escape_controls(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"


def _print_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    for line in "".join(traceback.format_exception(kind, error, trace)).splitlines():
        print_message(line)
