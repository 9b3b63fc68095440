"""The pronunciations of about 126,000 English words.

The data is the CMU Pronouncing Dictionary, in `cmudict.gz`, with its licence in
`cmudict_licence.txt`: one word and its phones per line; further pronunciations are those of
`word(2)`. Reading the file takes about 0.1 s, once per process. Called by `pronunciation.py` and by
the training of the letter-to-sound model.
"""

import gzip
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DATA_FILE = Path(__file__).parent / "cmudict.gz"
# Phones that the data has in a few words, but whose words do not say so: names of symbols.
_MAX_VARIANTS = 9


class PronouncingDictionary:
    """Words and their pronunciations, as lines that are parsed when a word is looked up."""

    def __init__(self, text: str):
        """Read the lines of a dictionary: a word, a space, its phones, possibly a comment."""
        lines = (line.partition(" ") for line in text.splitlines())
        self._phones = {word: phones for word, _, phones in lines if word}

    def __contains__(self, word: str) -> bool:
        """Return whether a word, in lower case, is known."""
        return word in self._phones

    def look_up(self, word: str) -> list[tuple[str, ...]]:
        """Return the pronunciations of a word in lower case, the first one first; none if unknown.

        The symbols are those of `phones.SYMBOLS`.
        """
        keys = [word, *(f"{word}({i})" for i in range(2, _MAX_VARIANTS + 1))]
        found = []
        for key in keys:
            if key not in self._phones:
                break
            found.append(tuple(self._phones[key].partition("#")[0].split()))
        return found

    def words(self) -> Iterator[str]:
        """Yield all words, without the keys of further pronunciations."""
        return (word for word in self._phones if not word.endswith(")"))


@cache
def load_dictionary() -> PronouncingDictionary:
    """Return the dictionary; its file is read at the first call."""
    with gzip.open(DATA_FILE, "rt", encoding="utf-8") as file:
        return PronouncingDictionary(file.read())
