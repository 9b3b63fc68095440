"""Find the known name that a user probably meant by an unknown name.

Input: a name from a table, a pattern, a recipe, an option or a link, and the known names. Output:
the known name, or None. Called wherever names come from a person.
"""

import difflib
import re
from collections.abc import Iterable

# Of difflib's ratio. It accepts one wrong, missing or extra letter in a word of five or more.
_MIN_SIMILARITY = 0.8


def normalise_name(name: str) -> str:
    """Return a name in the form in which case and separators do not matter.

    "Speaker ID", "speaker-id" and "speakerId" all become "speaker_id".
    """
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name)
    return re.sub(r"[\s._-]+", "_", words.strip()).strip("_").casefold()


def find_equal_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that differs at most in case and separators, or None.

    An identical name comes first. If several others are equal, the name is ambiguous: return None.
    """
    names = list(dict.fromkeys(known))
    if name in names:
        return name
    equal = [other for other in names if normalise_name(other) == normalise_name(name)]
    return equal[0] if len(equal) == 1 else None


def find_close_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name with the most similar spelling, or None if no name is similar."""
    by_form = {normalise_name(other): other for other in known}
    close = difflib.get_close_matches(normalise_name(name), by_form, 1, _MIN_SIMILARITY)
    return by_form[close[0]] if close else None
