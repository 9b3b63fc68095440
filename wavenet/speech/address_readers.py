"""E-mail addresses, URLs, hashtags and names with @, read part by part.

"info@example.org" is "info at example dot org". Called by `normalisation.py`.
"""

import re

from wavenet.speech.abbreviations import SPELLED
from wavenet.speech.number_words import integer
from wavenet.speech.pronouncing_dictionary import load_dictionary

_DOMAINS = "com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|eu|de|fr|ch|at|nl|it|es|ca|au|jp|tv|me"
EMAIL = re.compile(r"[A-Za-z0-9][\w.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
URL = re.compile(
    r"(?:https?|ftp)://[^\s<>\"]+|www\.[^\s<>\"]+"
    rf"|[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.(?:{_DOMAINS})(?:/[^\s<>\"]*)?(?![\w-])"
)
TAGGED = re.compile(r"(?P<mark>[#@])(?P<name>[^\W\d_]\w*)")
_SCHEME = re.compile(r"^(?:https?|ftp)://")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\w\s]|_")
_SYMBOLS = {
    ".": "dot",
    "/": "slash",
    "-": "dash",
    "_": "underscore",
    "@": "at",
    "?": "question mark",
    "=": "equals",
    "&": "and",
    "#": "hash",
    ":": "colon",
    "%": "percent",
    "+": "plus",
    "~": "tilde",
}
_LONGEST_SPELLED = 3
_VOWEL = re.compile(r"[aeiouy]")


def trim_url(url: str) -> str:
    """Return a URL without the punctuation of the sentence behind it."""
    return url.rstrip(".,;:!?'’”)]}…")


def read_address(text: str) -> list[str]:
    """Return the words of an e-mail address or a URL; the scheme, such as https, is not read."""
    return _read_parts(_SCHEME.sub("", text).rstrip("/"))


def read_tagged(mark: str, name: str) -> list[str]:
    """Return the words of a hashtag, or of a name with @: #OpenAudio is "hashtag open audio"."""
    return ["hashtag" if mark == "#" else "at", *_read_parts(name.replace("_", " "))]


def _read_parts(text: str) -> list[str]:
    words: list[str] = []
    for part in _PART.findall(text):
        if part.isdecimal():
            words += integer(part)
        elif part[0].isalpha():
            words += name_words(part)
        else:
            words += _SYMBOLS.get(part, "").split()
    return words


def name_words(part: str) -> list[str]:
    """Return a run of letters as one word, or as letters if it can hardly be a word."""
    lowered = part.lower()
    is_known = lowered in load_dictionary() and lowered not in SPELLED
    is_speakable = len(part) > _LONGEST_SPELLED and _VOWEL.search(lowered)
    if len(part) > 1 and (is_known or is_speakable):
        return [lowered]
    return list(part.upper())
