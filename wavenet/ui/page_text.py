"""Text and HTML blocks that the tabs share: error sentences, notes, lists of facts, progress bars.

Input: errors, names and numbers. Output: plain sentences or escaped HTML. Called by all tabs and
the public API.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape

import gradio as gr

from audio_utils.errors import AudioError
from wavenet.errors import WaveNetError
from wavenet.terminal import escape_controls, shorten_values
from wavenet.ui.templates import render

_MAX_SENTENCE = 1000  # characters

_OPTION = re.compile(r"(?<![\w-])--[a-z]")


@contextlib.contextmanager
def convert_user_errors() -> Iterator[None]:
    """Convert errors that a user can cause to `gr.Error` with one sentence; all others are bugs."""
    try:
        yield
    except (WaveNetError, AudioError) as error:
        raise gr.Error(error_sentence(error), print_exception=False) from None


def error_sentence(error: Exception) -> str:
    """Return the message of an error as a sentence, with a capital letter and a full stop.

    Advice that only the command line can follow is omitted. Control characters are escaped, long
    values and a long message are shortened: a message may contain any input.
    """
    text = without_options(str(error).strip().rstrip("."))
    text = escape_controls(shorten_values(text))
    if len(text) > _MAX_SENTENCE:
        text = f"{text[:_MAX_SENTENCE]} …"
    # If the message begins with the name of a file or a setting, its spelling is kept.
    first = text.split(maxsplit=1)[0] if text else ""
    return (text[:1].upper() + text[1:] if first.rstrip(":").isalpha() else text) + "."


def without_options(text: str) -> str:
    """Omit the advice of a message that names options, because a page and the API have none.

    Advice follows a semicolon, and its alternatives are separated by ", or".
    """
    found, *advice = text.split("; ")
    ways = ([w for w in clause.split(", or ") if not _OPTION.search(w)] for clause in advice)
    return "; ".join([found, *(", or ".join(way) for way in ways if way)])


def status_note(text: str) -> str:
    """Return HTML of a short note; screen readers announce its changes."""
    return f"<p class='note' role='status'>{escape(text)}</p>"


def error_note(error: Exception | str) -> str:
    """Return HTML of an error message: the sentence of an error, or an unchanged text."""
    text = error if isinstance(error, str) else error_sentence(error)
    return f"<p class='note' role='alert'>{escape(text)}</p>"


def facts_html(facts: Mapping[str, str], notes: Iterable[str] = ()) -> str:
    """Return HTML of names with their values, and of notes below them."""
    return render("templates/facts.html", facts=facts, notes=notes)


def format_duration(seconds: float) -> str:
    """Return a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
