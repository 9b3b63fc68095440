"""The phones of words, from the best source that knows them.

In this order: the user's dictionary, heteronyms, the pronouncing dictionary, rules for endings and
compounds of known words, and letter-to-sound. A single capital is the name of a letter. Called by
`text_to_phones.py`.
"""

import enum
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from wavenet.errors import ConditionError
from wavenet.speech.heteronyms import choose_pronunciation
from wavenet.speech.letter_to_sound import pronounce_letters
from wavenet.speech.phones import parse_phones, phone_of, without_stress
from wavenet.speech.pronouncing_dictionary import load_dictionary

Phones = tuple[str, ...]
_LETTER_NAMES = {
    "A": "EY1",
    "B": "B IY1",
    "C": "S IY1",
    "D": "D IY1",
    "E": "IY1",
    "F": "EH1 F",
    "G": "JH IY1",
    "H": "EY1 CH",
    "I": "AY1",
    "J": "JH EY1",
    "K": "K EY1",
    "L": "EH1 L",
    "M": "EH1 M",
    "N": "EH1 N",
    "O": "OW1",
    "P": "P IY1",
    "Q": "K Y UW1",
    "R": "AA1 R",
    "S": "EH1 S",
    "T": "T IY1",
    "U": "Y UW1",
    "V": "V IY1",
    "W": "D AH1 B AH0 L Y UW0",
    "X": "EH1 K S",
    "Y": "W AY1",
    "Z": "Z IY1",
}
_SIBILANTS = frozenset(["S", "Z", "SH", "ZH", "CH", "JH"])
_USER_WORD = re.compile(r"[^\W_]+(?:['.+&-]*[^\W_]+)*")
# ending, endings that may stand in its place in the base, and phones; None: by the last phone
_ENDINGS: list[tuple[str, tuple[str, ...], str | None]] = [
    ("ies", ("y",), "Z"),
    ("ied", ("y",), "D"),
    ("ier", ("y",), "ER0"),
    ("iest", ("y",), "AH0 S T"),
    ("ily", ("y",), "L IY0"),
    ("iness", ("y",), "N AH0 S"),
    ("es", ("", "e"), None),
    ("s", ("",), None),
    ("ed", ("", "e"), None),
    ("ing", ("", "e"), "IH0 NG"),
    ("ings", ("", "e"), "IH0 NG Z"),
    ("er", ("", "e"), "ER0"),
    ("ers", ("", "e"), "ER0 Z"),
    ("est", ("", "e"), "AH0 S T"),
    ("ly", ("",), "L IY0"),
    ("ness", ("",), "N AH0 S"),
    ("less", ("",), "L AH0 S"),
    ("ful", ("",), "F AH0 L"),
    ("ment", ("",), "M AH0 N T"),
    ("able", ("", "e"), "AH0 B AH0 L"),
    ("like", ("",), "L AY2 K"),
    ("ish", ("", "e"), "IH0 SH"),
]
_PREFIXES = {
    "un": "AH0 N",
    "re": "R IY0",
    "non": "N AA2 N",
    "pre": "P R IY0",
    "anti": "AE2 N T IY0",
    "over": "OW2 V ER0",
    "under": "AH2 N D ER0",
    "mis": "M IH0 S",
    "super": "S UW2 P ER0",
    "inter": "IH2 N T ER0",
    "multi": "M AH2 L T IY0",
    "micro": "M AY2 K R OW0",
    "auto": "AO2 T OW0",
    "semi": "S EH2 M IY0",
}
_SHORTEST_BASE = 3  # letters
_SHORTEST_PART = 4  # letters of a part of a compound


class PhoneSource(enum.StrEnum):
    """Where a pronunciation comes from."""

    USER = "user"
    DICTIONARY = "dictionary"
    RULE = "rule"
    LETTERS = "letters"


def check_pronunciations(pronunciations: Mapping[str, str | Sequence[str]]) -> dict[str, Phones]:
    """Return the dictionary of a user with words in lower case.

    Args:
        pronunciations: words and their phones, such as {"GIF": "JH IH1 F"}.
    Raises:
        ConditionError: a word with spaces, or a phone that is unknown.
    """
    checked = {}
    for word, phones in pronunciations.items():
        key = word.strip().lower().replace("’", "'")
        if not _USER_WORD.fullmatch(key):
            raise ConditionError(
                f"the pronunciation of {word!r} cannot be used; write one word of letters and "
                "digits, and its phones like HH AH0 L OW1"
            )
        checked[key] = parse_phones(phones, f"the pronunciation of {word!r}")
    return checked


def pronounce(
    words: Sequence[str], index: int, user: Mapping[str, Phones]
) -> tuple[Phones, PhoneSource]:
    """Return the phones of one word of a sentence, and their source.

    Args:
        words: as read, in lower case; single capitals are letters.
        index: of the word.
        user: checked pronunciations of the user.
    """
    word = words[index]
    if word.lower() in user:
        return user[word.lower()], PhoneSource.USER
    letter, _, ending = word.partition("'")
    if letter in _LETTER_NAMES:
        phones = tuple(_LETTER_NAMES[letter].split())
        return (add_s(phones) if ending else phones), PhoneSource.DICTIONARY
    chosen = choose_pronunciation(words, index)
    if chosen:
        return chosen, PhoneSource.DICTIONARY
    if word == "the":
        following = _first_phone(words, index + 1)
        vowel = bool(following) and phone_of(following).is_vowel
        return ("DH", "IY0" if vowel else "AH0"), PhoneSource.DICTIONARY
    if word.endswith("'s") and word[:-2] in user:
        return add_s(user[word[:-2]]), PhoneSource.USER
    return pronounce_word(word)


def _first_phone(words: Sequence[str], index: int) -> str:
    """Return the first phone of a word, "" behind the last one."""
    if index >= len(words):
        return ""
    name = _LETTER_NAMES.get(words[index][:1])
    phones = name.split() if name else pronounce_word(words[index])[0]
    return phones[0] if phones else ""


@lru_cache(maxsize=20_000)
def pronounce_word(word: str) -> tuple[Phones, PhoneSource]:
    """Return the phones of a word in lower case without its neighbours, and their source.

    Words without any letter have no phones.
    """
    found = load_dictionary().look_up(word)
    if found:
        return found[0], PhoneSource.DICTIONARY
    if word.endswith("'s"):
        base, source = pronounce_word(word[:-2])
        return add_s(base), PhoneSource.RULE if source is PhoneSource.DICTIONARY else source
    derived = _derive(word)
    if derived:
        return derived, PhoneSource.RULE
    phones = pronounce_letters(word) or _spell(word)
    return phones, PhoneSource.LETTERS


def _spell(word: str) -> Phones:
    """Return the names of the letters of a word, for words whose letters are all silent."""
    names = [_LETTER_NAMES.get(letter, "").split() for letter in word.upper()]
    return tuple(phone for name in names for phone in name)


def _derive(word: str) -> Phones | None:
    """Return the phones of a word that consists of known parts, or None."""
    if "'" in word.strip("'"):
        return None
    word = word.strip("'")
    return _known(word) or _derive_ending(word) or _derive_prefix(word) or _derive_compound(word)


def _known(word: str) -> Phones | None:
    found = load_dictionary().look_up(word)
    return found[0] if found else None


def _derive_ending(word: str) -> Phones | None:
    for ending, replacements, phones in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem == word or len(stem) < _SHORTEST_BASE:
            continue
        bases = [stem + replacement for replacement in replacements]
        if len(stem) > _SHORTEST_BASE and stem[-1] == stem[-2] and ending[0] in "ei":
            bases.append(stem[:-1])  # "stopped" from "stop"
        for base in bases:
            known = _known(base) if len(base) >= _SHORTEST_BASE else None
            if known:
                return _add_ending(known, ending, phones)
    return None


def _add_ending(base: Phones, ending: str, phones: str | None) -> Phones:
    if ending in ("s", "es"):
        return add_s(base)
    if ending == "ed":
        return add_ed(base)
    added = tuple((phones or "").split())
    if added[0] == base[-1]:  # "really": one L
        added = added[1:]
    return base + added


def _derive_prefix(word: str) -> Phones | None:
    for prefix, phones in _PREFIXES.items():
        rest = word.removeprefix(prefix)
        if rest != word and len(rest) >= _SHORTEST_PART:
            base = _known(rest) or _derive_ending(rest)
            if base:
                return tuple(phones.split()) + base
    return None


def _derive_compound(word: str) -> Phones | None:
    """Return the phones of two known words side by side; the second has secondary stress."""
    for at in range(len(word) - _SHORTEST_PART, _SHORTEST_PART - 1, -1):
        first = _known(word[:at])
        second = first and (_known(word[at:]) or _derive_ending(word[at:]))
        if first and second:
            return first + tuple(s[:-1] + "2" if s.endswith("1") else s for s in second)
    return None


def add_s(phones: Phones) -> Phones:
    """Return the phones with the ending of a plural or possessive: S, Z, or AH0 Z."""
    if not phones:
        return ()
    last = without_stress(phones[-1])
    if last in _SIBILANTS:
        return (*phones, "AH0", "Z")
    return (*phones, "Z" if phone_of(last).is_voiced else "S")


def add_ed(phones: Phones) -> Phones:
    """Return the phones with the ending of the past: T, D, or AH0 D."""
    last = without_stress(phones[-1])
    if last in ("T", "D"):
        return (*phones, "AH0", "D")
    return (*phones, "D" if phone_of(last).is_voiced else "T")
