"""Subtitles of spoken sentences: SubRip (.srt) and WebVTT (.vtt).

Input: sentences with their times. Output: the lines of a file. A long sentence is shown in parts,
because two lines of text fit on a screen. Called by `wavenet speak`.

Source: W3C "WebVTT: The Web Video Text Tracks Format", section 4.
"""

import re
from collections.abc import Iterator

from wavenet.speech.spoken_times import TimedSentence

SUFFIXES = (".srt", ".vtt")
LONGEST_TEXT = 84  # characters of a cue, two lines of 42
_ARROW = re.compile("-{2,}>")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def subtitle_header(suffix: str) -> str:
    """Return the beginning of a file of subtitles."""
    return "WEBVTT\n\n" if suffix == ".vtt" else ""


def split_cues(sentence: TimedSentence) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and text of the parts of a sentence that are shown one after the other.

    A part begins at its first word, and ends where the next part begins.
    """
    start, first = sentence.start, 0
    for before, word in zip(sentence.words, sentence.words[1:], strict=False):
        end = word.position + len(word.text) - sentence.position
        if end - first > LONGEST_TEXT:
            cut = word.position - sentence.position
            yield start, before.end, sentence.text[first:cut]
            start, first = word.start, cut
    yield start, sentence.end, sentence.text[first:]


def format_cue(suffix: str, number: int, start: float, end: float, text: str) -> str:
    """Return one cue.

    Args:
        suffix: one of `SUFFIXES`.
        number: counted from 1.
        start, end: seconds.
        text: control characters and line breaks become spaces, and an arrow, which would be read as
            times, is changed.
    """
    shown = _ARROW.sub("->", " ".join(_CONTROLS.sub(" ", text).split()))
    if suffix == ".vtt":
        shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    times = f"{format_time(start, suffix)} --> {format_time(end, suffix)}"
    return f"{number}\n{times}\n{shown}\n\n"


def format_time(seconds: float, suffix: str) -> str:
    """Return a time such as 00:01:02,345 (.srt) or 00:01:02.345 (.vtt)."""
    mark = "." if suffix == ".vtt" else ","
    rest, milliseconds = divmod(round(1000 * seconds), 1000)
    minutes, whole = divmod(rest, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{whole:02}{mark}{milliseconds:03}"
