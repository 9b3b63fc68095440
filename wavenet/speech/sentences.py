"""Split a text into sentences, as a generator: a long text needs little memory.

A sentence ends with a point, an exclamation or question mark or an ellipsis before white space, or
before a blank line. The points of abbreviations, initials and ordinals such as "Dr.", "e.g.",
"U.S.", "J. R. R." end no sentence, unless the next word usually begins one. A sentence that is
longer than `MAX_SENTENCE` is cut behind a comma, else behind a word.

Input: a text, or its parts in order. Output: sentences with their place in the text. Called by
`text_to_phones.py`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from wavenet.speech.abbreviations import (
    BEFORE_NUMBERS,
    DATES,
    NEVER_LAST,
    OTHERS,
    STARTERS,
    STREET_READINGS,
    TITLES,
)
from wavenet.speech.phones import Pause

MAX_SENTENCE = 1000  # characters
_LOOKAHEAD = 100  # characters behind a sentence that may decide where it ends
_PART = 50_000  # characters of a text that are read at once
_END = re.compile(
    r"(?P<mark>[.!?…]+)[\"'”’»)\]]*(?=\s|$)|(?P<blank>[^\S\n]*\n[^\S\n]*\n)|(?P<other>[\u2029\f\v])"
)
_NEXT_WORD = re.compile(r"\s*[\"'“‘«(\[]*(\w+)")
_LAST_TOKEN = re.compile(r"[^\s\"'“‘«(\[\]]*$")
_DOTTED = re.compile(r"(?:[A-Za-z]{1,2}\.)+[A-Za-z]")  # U.S, Ph.D
_BLANK_LINE = re.compile(r"\s*?(\n[^\S\n]*\n|\u2029|\f)")
_COMMA = re.compile(r"[,;:–—](?=\s)")
_SPACE = re.compile(r"\s")


@dataclass(frozen=True)
class WrittenSentence:
    """A sentence as written.

    Attributes:
        text: without white space around it.
        start: characters of the whole text before it.
        pause: after it.
    """

    text: str
    start: int
    pause: Pause


def split_sentences(text: str | Iterable[str]) -> Iterator[WrittenSentence]:
    """Yield the sentences of a text in order.

    Args:
        text: the text, or its parts, such as the lines or the blocks of a file.
    """
    parts = _parts_of(text) if isinstance(text, str) else iter(text)
    buffer, position, offset, is_complete = "", 0, 0, False
    while True:
        while position < len(buffer) and buffer[position].isspace():
            position += 1
        if position == len(buffer) and is_complete:
            return
        end, pause = _find_end(buffer, position)
        if is_complete or _is_decided(buffer, position, end):
            yield WrittenSentence(buffer[position:end].rstrip(), offset + position, pause)
            position = end
            continue
        part = next(parts, None)
        is_complete = part is None
        offset, buffer, position = offset + position, buffer[position:] + (part or ""), 0


def _is_decided(text: str, start: int, end: int) -> bool:
    """Return whether a sentence ends at `end` whatever follows the text."""
    if len(text) - start > MAX_SENTENCE + _LOOKAHEAD:
        return True
    return len(text[end:].lstrip()) >= _LOOKAHEAD


def _parts_of(text: str) -> Iterator[str]:
    return (text[i : i + _PART] for i in range(0, len(text), _PART))


def _find_end(text: str, start: int) -> tuple[int, Pause]:
    """Return the index behind the sentence that begins at `start`, and the pause after it."""
    limit = min(len(text), start + MAX_SENTENCE)
    scanned = min(len(text), limit + _LOOKAHEAD)
    for match in _END.finditer(text, start, scanned):
        if match.end() > limit:
            break
        if not match["mark"]:
            return match.end(), Pause.PARAGRAPH
        if _is_end(text, start, match):
            blank = _BLANK_LINE.match(text, match.end(), scanned)
            return match.end(), Pause.PARAGRAPH if blank else Pause.SENTENCE
    if limit == len(text):
        return limit, Pause.SENTENCE
    for pattern, pause in ((_COMMA, Pause.COMMA), (_SPACE, Pause.NONE)):
        cuts = [match.end() for match in pattern.finditer(text, start + 1, limit)]
        if cuts:
            return cuts[-1], pause
    return limit, Pause.NONE


def _is_end(text: str, start: int, match: re.Match[str]) -> bool:
    """Return whether a mark ends the sentence that begins at `start`."""
    following = _NEXT_WORD.match(text, match.end())
    rest = text[match.end() : match.end() + _LOOKAHEAD].lstrip()
    after = following[1] if following else rest[:1]  # a symbol: "Mr. & Mrs."
    if not after:
        return True
    if after[0].islower():
        return False
    if match["mark"] != ".":
        return True
    before = text[max(start, match.start() - 40) : match.start()]
    found = _LAST_TOKEN.search(before)
    token = found[0] if found else ""
    is_first = len(token) == match.start() - start
    if is_first and (token.isdecimal() or len(token) == 1):
        return False  # the number of an item, or an initial
    return not _is_abbreviation(token, after)


def _is_abbreviation(token: str, after: str) -> bool:
    """Return whether the point behind a token belongs to it only.

    Args:
        token: the word before the point, as written.
        after: the next word, which begins with no small letter.
    """
    lowered = token.lower()
    is_starter = after.lower() in STARTERS
    if lowered in NEVER_LAST:
        return True
    if lowered in BEFORE_NUMBERS:
        return after[0].isdecimal()
    if lowered in STREET_READINGS:
        return not is_starter
    if lowered in TITLES:
        return token[0].isupper()
    is_initial = len(token) == 1 and token.isupper() and token != "I"
    is_date = lowered in DATES and token[0].isupper()
    is_short = is_initial or is_date or lowered in OTHERS or bool(_DOTTED.fullmatch(token))
    return is_short and not is_starter
